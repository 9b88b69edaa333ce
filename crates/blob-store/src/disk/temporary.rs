//! Files on their way to becoming objects.
//!
//! Each is locked (`flock`) by its writer as long as it lives, and the lock ends with the process
//! however it ends: a temporary file whose lock is free is dead, and any opener may remove it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::DiskStore;
use super::failure::{failed, failed_io, failed_sync};
use super::folder::{FOLDER_MODE, open_beneath, sync_folder};
use crate::{Creation, StoreError};

/// Where temporary files stand: a name no object can have.
const TEMPORARY_FOLDER: &str = ".tmp";

/// How many temporary names are tried; only a process of the same number in another process name
/// space, or a sweeper in the very moment of creation, ever takes one.
const NAME_ATTEMPTS_MAX: u32 = 1_000;

/// A whole, synced file without a name that counts. Removed when dropped.
pub(super) struct Temporary {
    folder: OwnedFd,
    name: String,
    /// Holds the lock.
    file: File,
    moved: bool,
}

impl DiskStore {
    /// Writes and syncs `bytes` under a temporary name.
    pub(super) fn write_temporary(
        &self,
        object: &str,
        bytes: &[u8],
    ) -> Result<Temporary, StoreError> {
        let mut temporary = self.start_temporary(object)?;
        temporary.file.write_all(bytes).map_err(|e| failed_io("write", object, &e))?;
        temporary.file.sync_all().map_err(|e| failed_sync(object, &e))?;
        Ok(temporary)
    }

    pub(super) fn make_temporary_folder(&self) -> Result<(), StoreError> {
        match rustix::fs::mkdirat(&self.root, TEMPORARY_FOLDER, FOLDER_MODE) {
            Ok(()) => sync_folder(&self.root, TEMPORARY_FOLDER),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("make", TEMPORARY_FOLDER, errno)),
        }
    }

    /// Removes temporary files of dead writers. What cannot be removed (a read-only store, another
    /// user's file) does no harm and stays.
    pub(super) fn sweep(&self) {
        let Ok(folder) = open_beneath(&self.root, TEMPORARY_FOLDER, OFlags::DIRECTORY) else {
            return;
        };
        let Ok(entries) = Dir::read_from(&folder) else { return };
        for entry in entries.flatten() {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let Ok(file) = open_beneath(&folder, entry.file_name(), flags) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty());
            }
        }
    }

    /// Tries on this very file system that of two creations only the first wins.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let first = self.write_temporary("probe", b"")?;
        let second = self.write_temporary("probe", b"")?;
        let folder = first.folder.try_clone().map_err(|e| failed_io("open", "probe", &e))?;
        let leaf = format!("probe-{}", first.name);
        let answers = (first.place(&folder, &leaf, "probe"), second.place(&folder, &leaf, "probe"));
        let _ = rustix::fs::unlinkat(&folder, leaf.as_str(), AtFlags::empty());
        match answers {
            (Ok(Creation::Created), Ok(Creation::Exists)) => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Err(StoreError::Refused(
                "this file system does not keep two callers from creating one object".to_owned(),
            )),
        }
    }

    fn start_temporary(&self, object: &str) -> Result<Temporary, StoreError> {
        let folder = match open_beneath(&self.root, TEMPORARY_FOLDER, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                self.make_temporary_folder()?;
                open_beneath(&self.root, TEMPORARY_FOLDER, OFlags::DIRECTORY)
            }
            opened => opened,
        }
        .map_err(|errno| failed("open", TEMPORARY_FOLDER, errno))?;
        for _ in 0..NAME_ATTEMPTS_MAX {
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let file = match rustix::fs::openat(&folder, name.as_str(), flags, mode) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST | Errno::INTR) => continue,
                Err(errno) => return Err(failed("create", object, errno)),
            };
            // A sweeper may have come between creation and lock: then the file is lost to it.
            // Where locks are not supported, sweepers cannot lock either and leave it alone.
            let swept = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
                == Err(Errno::WOULDBLOCK)
                || rustix::fs::fstat(&file).is_ok_and(|found| found.st_nlink == 0);
            if !swept {
                return Ok(Temporary { folder, name, file, moved: false });
            }
        }
        Err(StoreError::Unavailable(format!("no temporary name is free for {object}")))
    }
}

impl Temporary {
    /// Moves the file to `leaf` in `parent` if nothing stands there.
    pub(super) fn place(
        mut self,
        parent: &OwnedFd,
        leaf: &str,
        object: &str,
    ) -> Result<Creation, StoreError> {
        let name = self.name.as_str();
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.folder, name, parent, leaf, flags) {
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
        parent: &OwnedFd,
        leaf: &str,
        object: &str,
    ) -> Result<(), StoreError> {
        rustix::fs::renameat(&self.folder, self.name.as_str(), parent, leaf)
            .map_err(|errno| failed("name", object, errno))?;
        self.moved = true;
        Ok(())
    }

    /// The second way to exactly one winner, for file systems without `RENAME_NOREPLACE` (NFS).
    fn link(&self, parent: &OwnedFd, leaf: &str, object: &str) -> Result<Creation, StoreError> {
        let linked =
            rustix::fs::linkat(&self.folder, self.name.as_str(), parent, leaf, AtFlags::empty());
        match linked {
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

    fn is_linked_twice(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|found| found.st_nlink > 1)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            // Left behind, it is swept by the next opener.
            let _ = rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty());
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
