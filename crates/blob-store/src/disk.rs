//! Objects as files beneath one folder of a local disk.
//!
//! An object is written to `.tmp/` under a name of its own, synced, and only then moved to its
//! name in a way that cannot replace anything; the folder is synced before the call returns. No
//! object's name can begin with a dot, so `.tmp` never meets one. Every step goes through open
//! folders and refuses symbolic links: a link planted in the store leads nowhere.
//!
//! After a sync that failed the store takes nothing more until it is opened again: the kernel tells
//! of lost writes once, so a second sync that succeeds proves nothing.

mod failure;
mod files;
mod folder;
mod kernel;
mod reserve;
mod temporary;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{BLOB_BYTES_MAX, BlobName, BlobStore, Creation, StoreError};
use failure::{failed, failed_sync};
use files::uninterrupted;
pub use files::{Files, Found, FoundKind, Place};
pub use kernel::Kernel;
pub use rustix::io::Errno;

/// A [`BlobStore`] in a folder. Any number of processes may use one folder at once.
#[derive(Debug)]
pub struct DiskStore<F: Files = Kernel> {
    files: F,
    root: F::Folder,
    /// Folders of which this process knows that they outlive a crash.
    settled: Mutex<HashSet<String>>,
    /// Number of the next temporary file of this process.
    next_temporary: AtomicU64,
    /// What the first sync that failed said.
    unsynced: OnceLock<StoreError>,
}

impl DiskStore {
    /// Opens the store in `folder`, which must be there, and removes temporary files of writers
    /// that died. A store on a read-only file system opens too.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self::open_in(Kernel, folder::open_folder(folder)?))
    }

    /// Makes `folder` and what leads to it where absent, and opens the store in it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the file system can neither rename without replacing nor
    /// link: `create` could not promise exactly one winner there.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        folder::make_durably(folder)?;
        Self::create_in(Kernel, folder::open_folder(folder)?)
    }
}

impl<F: Files> DiskStore<F> {
    /// Like [`DiskStore::open`], in a folder of any file system.
    pub fn open_in(files: F, root: F::Folder) -> Self {
        let store = Self {
            files,
            root,
            settled: Mutex::default(),
            next_temporary: AtomicU64::default(),
            unsynced: OnceLock::new(),
        };
        store.sweep();
        store
    }

    /// Like [`DiskStore::create`], in a folder of any file system.
    ///
    /// # Errors
    /// Those of [`DiskStore::create`].
    pub fn create_in(files: F, root: F::Folder) -> Result<Self, StoreError> {
        let store = Self::open_in(files, root);
        store.make_temporary_folder()?;
        store.probe()?;
        store.make_reserve();
        Ok(store)
    }

    /// The open folder that holds `name`, and the name's last segment. With `make`, missing
    /// folders are made and known to outlive a crash when this returns.
    fn parent<'n>(
        &self,
        name: &'n BlobName,
        make: bool,
    ) -> Result<Option<(F::Folder, &'n str)>, StoreError> {
        let (path, leaf) = name.as_str().rsplit_once('/').unwrap_or(("", name.as_str()));
        let mut folder = uninterrupted(|| self.files.reopen(&self.root))
            .map_err(|errno| failed("open", name, errno))?;
        let mut walked = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            walked.push_str(segment);
            walked.push('/');
            if make {
                self.settle(&folder, segment, &walked)?;
            }
            folder = match uninterrupted(|| self.files.open_folder(&folder, segment)) {
                Ok(next) => next,
                Err(Errno::NOENT | Errno::NOTDIR) if !make => return Ok(None),
                Err(errno) => return Err(failed("open", &walked, errno)),
            };
        }
        Ok(Some((folder, leaf)))
    }

    /// Sees to it that the folder `segment` in `parent` is there and outlives a crash. One that
    /// was there already may be another writer's, not yet synced: its parent is synced once.
    fn settle(&self, parent: &F::Folder, segment: &str, walked: &str) -> Result<(), StoreError> {
        let made = match uninterrupted(|| self.files.make_folder(parent, segment)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(failed("make", walked, errno)),
        };
        if made || !self.settled().contains(walked) {
            self.sync_folder(parent, walked)?;
            self.settled().insert(walked.to_owned());
        }
        Ok(())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`Self::parent`] with missing folders made.
    fn parent_made<'n>(&self, name: &'n BlobName) -> Result<(F::Folder, &'n str), StoreError> {
        self.parent(name, true)?
            .ok_or_else(|| StoreError::Unavailable(format!("the folder of {name} vanished")))
    }

    /// The object's open file and its length, or `None` if there is none.
    fn file(&self, name: &BlobName) -> Result<Option<(F::File, u64)>, StoreError> {
        let at_once = uninterrupted(|| self.files.open_file_beneath(&self.root, name.as_str()));
        let file = match at_once {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            // Where that cannot be asked, and where something is in the way.
            Err(_) => match self.file_by_steps(name)? {
                Some(file) => file,
                None => return Ok(None),
            },
        };
        let found = uninterrupted(|| self.files.look_at(&file))
            .map_err(|errno| failed("open", name, errno))?;
        match found.kind {
            FoundKind::File => Ok(Some((file, found.length))),
            FoundKind::Folder => Ok(None),
            FoundKind::Other => Err(StoreError::Refused(format!("{name} is no regular file"))),
        }
    }

    /// The object's open file, each folder that leads to it opened for itself.
    fn file_by_steps(&self, name: &BlobName) -> Result<Option<F::File>, StoreError> {
        let Some((parent, leaf)) = self.parent(name, false)? else { return Ok(None) };
        match uninterrupted(|| self.files.open_file(&parent, leaf)) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("open", name, errno)),
        }
    }

    fn standing(
        &self,
        parent: &F::Folder,
        leaf: &str,
        name: &BlobName,
    ) -> Result<Standing, StoreError> {
        match uninterrupted(|| self.files.look(parent, leaf)) {
            Ok(found) if found.kind == FoundKind::File => Ok(Standing::Object),
            Ok(_) => Ok(Standing::Other),
            Err(Errno::NOENT) => Ok(Standing::Nothing),
            Err(errno) => Err(failed("look for", name, errno)),
        }
    }

    fn sync_folder(
        &self,
        folder: &F::Folder,
        what: impl std::fmt::Display,
    ) -> Result<(), StoreError> {
        self.synced(what, self.files.sync_folder(folder))
    }

    /// What a sync said; one that failed is remembered.
    fn synced(
        &self,
        what: impl std::fmt::Display,
        done: Result<(), Errno>,
    ) -> Result<(), StoreError> {
        done.map_err(|errno| {
            let error = failed_sync(what, errno);
            self.unsynced.get_or_init(|| error.clone());
            error
        })
    }

    /// Refuses to change anything once a sync has failed.
    fn refuse_unsynced(&self) -> Result<(), StoreError> {
        self.unsynced.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn read_exactly(
        &self,
        file: &F::File,
        name: &BlobName,
        offset: u64,
        size: u64,
        mut rest: &mut [u8],
    ) -> Result<(), StoreError> {
        let mut at = offset;
        while !rest.is_empty() {
            let read = uninterrupted(|| self.files.read(file, rest, at))
                .map_err(|errno| failed("read", name, errno))?;
            if read == 0 {
                return Err(StoreError::Short { name: name.clone(), length: size });
            }
            at += read as u64;
            rest = rest.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Visits the objects in `folder`, whose path is `path` (empty or ending in a slash), and in
    /// the folders beneath it that may hold names beginning with `prefix`.
    fn list_folder(
        &self,
        folder: &F::Folder,
        path: &str,
        prefix: &str,
        visit: &mut dyn FnMut(BlobName, u64),
    ) -> Result<(), StoreError> {
        let wrong = |errno| failed("list", path, errno);
        for leaf in uninterrupted(|| self.files.names(folder)).map_err(wrong)? {
            let leaf = leaf.map_err(wrong)?;
            // What cannot name an object (`.tmp`, `.`, `..`, a stranger's file) is none.
            let Ok(name) = format!("{path}{leaf}").parse::<BlobName>() else { continue };
            let beneath = format!("{name}/");
            let leads_there = beneath.starts_with(prefix) || prefix.starts_with(&beneath);
            if !leads_there && !name.as_str().starts_with(prefix) {
                continue;
            }
            let found = match uninterrupted(|| self.files.look(folder, &leaf)) {
                Ok(found) => found,
                Err(Errno::NOENT) => continue, // deleted since it was listed
                Err(errno) => return Err(wrong(errno)),
            };
            match found.kind {
                FoundKind::File if name.as_str().starts_with(prefix) => visit(name, found.length),
                FoundKind::Folder if leads_there => {
                    let inner = uninterrupted(|| self.files.open_folder(folder, &leaf));
                    self.list_folder(&inner.map_err(wrong)?, &beneath, prefix, visit)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Nothing,
    Object,
    /// A folder, a link or a special file: nothing of the store's making.
    Other,
}

impl<F: Files> BlobStore for DiskStore<F> {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        refuse_oversize(name, bytes.len() as u64)?;
        self.refuse_unsynced()?;
        let (parent, leaf) = self.parent_made(name)?;
        let creation = if self.standing(&parent, leaf, name)? == Standing::Nothing {
            self.write_temporary(name.as_str(), bytes)?.place(&parent, leaf, name.as_str())?
        } else {
            Creation::Exists
        };
        if creation == Creation::Exists && self.standing(&parent, leaf, name)? == Standing::Other {
            return Err(StoreError::Refused(format!("{name} is taken by what is no object")));
        }
        // For one that exists too: its writer may not have synced the folder yet, and this
        // caller is about to rely on it.
        self.sync_folder(&parent, name)?;
        Ok(creation)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        refuse_oversize(name, bytes.len() as u64)?;
        self.refuse_unsynced()?;
        let (parent, leaf) = self.parent_made(name)?;
        self.write_temporary(name.as_str(), bytes)?.place_over(&parent, leaf, name.as_str())?;
        self.sync_folder(&parent, name)
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        let mut bytes = Vec::new();
        Ok(self.read_into(name, &mut bytes)?.then_some(bytes))
    }

    fn read_into(&self, name: &BlobName, room: &mut Vec<u8>) -> Result<bool, StoreError> {
        let Some((file, length)) = self.file(name)? else { return Ok(false) };
        refuse_oversize(name, length)?;
        // What is in it already need not be made zero first.
        room.resize(usize::try_from(length).unwrap_or(BLOB_BYTES_MAX), 0);
        self.read_exactly(&file, name, 0, length, room).map(|()| true)
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((file, size)) = self.file(name)? else { return Ok(None) };
        let ends_inside = offset.checked_add(length as u64).is_some_and(|end| end <= size);
        if !ends_inside {
            return Err(StoreError::Short { name: name.clone(), length: size });
        }
        refuse_oversize(name, length as u64)?;
        let mut bytes = vec![0; length];
        self.read_exactly(&file, name, offset, size, &mut bytes).map(|()| Some(bytes))
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        Ok(self.file(name)?.map(|(_, length)| length))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        let root = uninterrupted(|| self.files.reopen(&self.root))
            .map_err(|errno| failed("list", prefix, errno))?;
        self.list_folder(&root, "", prefix, visit)
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.refuse_unsynced()?;
        let Some((parent, leaf)) = self.parent(name, false)? else { return Ok(()) };
        match uninterrupted(|| self.files.unlink(&parent, leaf)) {
            // A folder is no object; to the contract there is nothing there.
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => self.sync_folder(&parent, name),
            Err(errno) => Err(failed("delete", name, errno)),
        }
    }

    fn spend_reserve(&self) -> Result<bool, StoreError> {
        self.give_reserve()
    }

    fn keep_reserve(&self) {
        self.make_reserve();
    }
}

fn refuse_oversize(name: &BlobName, length: u64) -> Result<(), StoreError> {
    if length <= BLOB_BYTES_MAX as u64 {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "{name}: {length} bytes are more than the {BLOB_BYTES_MAX} of the largest object"
    )))
}
