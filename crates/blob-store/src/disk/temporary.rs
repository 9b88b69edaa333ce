//! Files on their way to becoming objects.
//!
//! Each is locked (`flock`) by its writer as long as it lives, and the lock ends with the process
//! however it ends: a temporary file whose lock is free is dead, and any opener may remove it.

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::failure::failed;
use super::files::{Files, Place, uninterrupted};
use super::{DiskStore, Kernel};
use crate::{Creation, StoreError};

/// Where temporary files stand: a name no object can have.
const TEMPORARY_FOLDER: &str = ".tmp";

/// How many temporary names are tried; only a process of the same number in another process name
/// space, or a sweeper in the very moment of creation, ever takes one.
const NAME_ATTEMPTS_MAX: u32 = 1_000;

/// A whole, synced file without a name that counts. Removed when dropped.
pub(super) struct Temporary<'s, F: Files = Kernel> {
    store: &'s DiskStore<F>,
    folder: F::Folder,
    name: String,
    /// Holds the lock.
    file: F::File,
    moved: bool,
}

impl<F: Files> DiskStore<F> {
    /// Writes and syncs `bytes` under a temporary name.
    pub(super) fn write_temporary(
        &self,
        object: &str,
        bytes: &[u8],
    ) -> Result<Temporary<'_, F>, StoreError> {
        let temporary = self.start_temporary(object)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let wrote = uninterrupted(|| self.files.write(&temporary.file, rest));
            match wrote.map_err(|errno| failed("write", object, errno))? {
                // A device that takes nothing and does not say why.
                0 => return Err(failed("write", object, Errno::IO)),
                wrote => rest = rest.get(wrote..).unwrap_or_default(),
            }
        }
        self.synced(object, self.files.sync_file(&temporary.file))?;
        Ok(temporary)
    }

    pub(super) fn make_temporary_folder(&self) -> Result<(), StoreError> {
        match uninterrupted(|| self.files.make_folder(&self.root, TEMPORARY_FOLDER)) {
            Ok(()) => self.sync_folder(&self.root, TEMPORARY_FOLDER),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("make", TEMPORARY_FOLDER, errno)),
        }
    }

    /// Removes temporary files of dead writers. What cannot be removed (a read-only store, another
    /// user's file) does no harm and stays.
    pub(super) fn sweep(&self) {
        let Ok(folder) = self.files.open_folder(&self.root, TEMPORARY_FOLDER) else { return };
        let Ok(names) = self.files.names(&folder) else { return };
        for name in names.flatten().filter(|name| !name.starts_with('.')) {
            let Ok(file) = self.files.open_file(&folder, &name) else { continue };
            if self.files.lock(&file).is_ok() {
                let _ = self.files.unlink(&folder, &name);
            }
        }
    }

    /// Tries on this very file system that of two creations only the first wins.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let first = self.write_temporary("probe", b"")?;
        let second = self.write_temporary("probe", b"")?;
        let folder = uninterrupted(|| self.files.reopen(&first.folder))
            .map_err(|errno| failed("open", "probe", errno))?;
        let leaf = format!("probe-{}", first.name);
        let answers = (first.place(&folder, &leaf, "probe"), second.place(&folder, &leaf, "probe"));
        let _ = self.files.unlink(&folder, &leaf);
        match answers {
            (Ok(Creation::Created), Ok(Creation::Exists)) => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Err(StoreError::Refused(
                "this file system does not keep two callers from creating one object".to_owned(),
            )),
        }
    }

    fn open_temporary_folder(&self) -> Result<F::Folder, Errno> {
        uninterrupted(|| self.files.open_folder(&self.root, TEMPORARY_FOLDER))
    }

    fn start_temporary(&self, object: &str) -> Result<Temporary<'_, F>, StoreError> {
        let folder = match self.open_temporary_folder() {
            Err(Errno::NOENT) => {
                self.make_temporary_folder()?;
                self.open_temporary_folder()
            }
            opened => opened,
        }
        .map_err(|errno| failed("open", TEMPORARY_FOLDER, errno))?;
        for _ in 0..NAME_ATTEMPTS_MAX {
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let file = match self.files.create_file(&folder, &name) {
                Ok(file) => file,
                Err(Errno::EXIST | Errno::INTR) => continue,
                Err(errno) => return Err(failed("create", object, errno)),
            };
            // A sweeper may have come between creation and lock: then the file is lost to it.
            // Where locks are not supported, sweepers cannot lock either and leave it alone.
            let swept = self.files.lock(&file) == Err(Errno::WOULDBLOCK)
                || self.files.look_at(&file).is_ok_and(|found| found.links == 0);
            if !swept {
                return Ok(Temporary { store: self, folder, name, file, moved: false });
            }
        }
        Err(StoreError::Unavailable(format!("no temporary name is free for {object}")))
    }
}

impl<F: Files> Temporary<'_, F> {
    /// Moves the file to `leaf` in `parent` if nothing stands there.
    pub(super) fn place(
        mut self,
        parent: &F::Folder,
        leaf: &str,
        object: &str,
    ) -> Result<Creation, StoreError> {
        let to = || Place { folder: parent, leaf };
        match uninterrupted(|| self.store.files.rename_new(self.own_place(), to())) {
            Ok(()) => {
                self.moved = true;
                Ok(Creation::Created)
            }
            Err(Errno::EXIST) => Ok(Creation::Exists),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(parent, leaf, object),
            Err(errno) => Err(failed("name", object, errno)),
        }
    }

    /// Moves the file to `leaf` in `parent` over whatever stands there.
    pub(super) fn place_over(
        mut self,
        parent: &F::Folder,
        leaf: &str,
        object: &str,
    ) -> Result<(), StoreError> {
        let to = || Place { folder: parent, leaf };
        uninterrupted(|| self.store.files.rename_over(self.own_place(), to()))
            .map_err(|errno| failed("name", object, errno))?;
        self.moved = true;
        Ok(())
    }

    /// The second way to exactly one winner, for file systems without `RENAME_NOREPLACE` (NFS).
    fn link(&self, parent: &F::Folder, leaf: &str, object: &str) -> Result<Creation, StoreError> {
        let to = || Place { folder: parent, leaf };
        match uninterrupted(|| self.store.files.link(self.own_place(), to())) {
            Ok(()) => Ok(Creation::Created),
            // An answer lost and asked for again reports our own link as another's; the number of
            // links does not lie.
            Err(Errno::EXIST) if self.is_linked_twice() => Ok(Creation::Created),
            Err(Errno::EXIST) => Ok(Creation::Exists),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Err(StoreError::Refused(
                "this file system can neither rename without replacing nor link".to_owned(),
            )),
            Err(errno) => Err(failed("link", object, errno)),
        }
    }

    fn own_place(&self) -> Place<'_, F::Folder> {
        Place { folder: &self.folder, leaf: &self.name }
    }

    fn is_linked_twice(&self) -> bool {
        self.store.files.look_at(&self.file).is_ok_and(|found| found.links > 1)
    }
}

impl<F: Files> Drop for Temporary<'_, F> {
    fn drop(&mut self) {
        if !self.moved {
            // Left behind, it is swept by the next opener.
            let _ = self.store.files.unlink(&self.folder, &self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlobStore;

    fn store() -> (tempfile::TempDir, DiskStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::create(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn link_has_one_winner_and_leaves_no_temporary_name() {
        let (folder, store) = store();
        let link = |bytes: &[u8]| {
            store.write_temporary("a", bytes).unwrap().link(&store.root, "a", "a").unwrap()
        };
        assert_eq!(link(b"first"), Creation::Created);
        assert_eq!(link(b"second"), Creation::Exists);
        assert_eq!(store.read(&"a".parse().unwrap()).unwrap().unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path().join(TEMPORARY_FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn link_knows_its_own_after_an_answer_was_lost() {
        let (_folder, store) = store();
        let temporary = store.write_temporary("a", b"mine").unwrap();
        for _ in 0..2 {
            assert_eq!(temporary.link(&store.root, "a", "a").unwrap(), Creation::Created);
        }
    }

    #[test]
    fn sweeping_spares_the_living() {
        let (folder, store) = store();
        let living = store.write_temporary("a", b"alive").unwrap();
        std::fs::write(folder.path().join(TEMPORARY_FOLDER).join("1-dead"), b"dead").unwrap();
        store.sweep();
        let left: Vec<_> = std::fs::read_dir(folder.path().join(TEMPORARY_FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left, std::slice::from_ref(&living.name));
        assert_eq!(living.place(&store.root, "a", "a").unwrap(), Creation::Created);
    }
}
