//! Objects as files beneath one folder of a local disk.
//!
//! An object is written to `.tmp/` under a name of its own, synced, and only then moved to its
//! name in a way that cannot replace anything; the folder is synced before the call returns. No
//! object's name can begin with a dot, so `.tmp` never meets one. Every step goes through open
//! folders and refuses symbolic links: a link planted in the store leads nowhere.

mod failure;
mod folder;
mod temporary;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;

use crate::{BLOB_BYTES_MAX, BlobName, BlobStore, Creation, StoreError};
use failure::{failed, failed_io};
use folder::{Standing, open_beneath, open_folder, standing, sync_folder};

/// A [`BlobStore`] in a folder. Any number of processes may use one folder at once.
#[derive(Debug)]
pub struct DiskStore {
    root: OwnedFd,
    /// Folders of which this process knows that they outlive a crash.
    settled: Mutex<HashSet<String>>,
    /// Number of the next temporary file of this process.
    next_temporary: AtomicU64,
}

impl DiskStore {
    /// Opens the store in `folder`, which must be there, and removes temporary files of writers
    /// that died. A store on a read-only file system opens too.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let root = open_folder(folder)?;
        let store = Self { root, settled: Mutex::default(), next_temporary: AtomicU64::default() };
        store.sweep();
        Ok(store)
    }

    /// Makes `folder` and what leads to it where absent, and opens the store in it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the file system can neither rename without replacing nor
    /// link: `create` could not promise exactly one winner there.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        folder::make_durably(folder)?;
        let store = Self::open(folder)?;
        store.make_temporary_folder()?;
        store.probe()?;
        Ok(store)
    }

    /// The open folder that holds `name`, and the name's last segment. With `make`, missing
    /// folders are made and known to outlive a crash when this returns.
    fn parent<'n>(
        &self,
        name: &'n BlobName,
        make: bool,
    ) -> Result<Option<(OwnedFd, &'n str)>, StoreError> {
        let (path, leaf) = name.as_str().rsplit_once('/').unwrap_or(("", name.as_str()));
        let mut folder = self.root.try_clone().map_err(|e| failed_io("open", name, &e))?;
        let mut walked = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            walked.push_str(segment);
            walked.push('/');
            if make {
                self.settle(&folder, segment, &walked)?;
            }
            folder = match open_beneath(&folder, segment, OFlags::DIRECTORY | OFlags::RDONLY) {
                Ok(next) => next,
                Err(Errno::NOENT | Errno::NOTDIR) if !make => return Ok(None),
                Err(errno) => return Err(failed("open", &walked, errno)),
            };
        }
        Ok(Some((folder, leaf)))
    }

    /// Sees to it that the folder `segment` in `parent` is there and outlives a crash. One that
    /// was there already may be another writer's, not yet synced: its parent is synced once.
    fn settle(&self, parent: &OwnedFd, segment: &str, walked: &str) -> Result<(), StoreError> {
        let made = match rustix::fs::mkdirat(parent, segment, folder::FOLDER_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(failed("make", walked, errno)),
        };
        if made || !self.settled().contains(walked) {
            sync_folder(parent, walked)?;
            self.settled().insert(walked.to_owned());
        }
        Ok(())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`Self::parent`] with missing folders made.
    fn parent_made<'n>(&self, name: &'n BlobName) -> Result<(OwnedFd, &'n str), StoreError> {
        self.parent(name, true)?
            .ok_or_else(|| StoreError::Unavailable(format!("the folder of {name} vanished")))
    }

    /// The object's open file and its length, or `None` if there is none.
    fn file(&self, name: &BlobName) -> Result<Option<(File, u64)>, StoreError> {
        let Some((parent, leaf)) = self.parent(name, false)? else { return Ok(None) };
        // NONBLOCK: a pipe planted under the name must not stop the reader.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match open_beneath(&parent, leaf, flags) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", name, errno)),
        };
        let metadata = file.metadata().map_err(|e| failed_io("open", name, &e))?;
        if metadata.is_dir() {
            return Ok(None);
        }
        if !metadata.is_file() {
            return Err(StoreError::Refused(format!("{name} is no regular file")));
        }
        Ok(Some((file, metadata.len())))
    }
}

impl BlobStore for DiskStore {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        refuse_oversize(name, bytes.len() as u64)?;
        let (parent, leaf) = self.parent_made(name)?;
        let creation = if standing(&parent, leaf, name)? == Standing::Nothing {
            self.write_temporary(name.as_str(), bytes)?.place(&parent, leaf, name.as_str())?
        } else {
            Creation::Exists
        };
        if creation == Creation::Exists && standing(&parent, leaf, name)? == Standing::Other {
            return Err(StoreError::Refused(format!("{name} is taken by what is no object")));
        }
        // For one that exists too: its writer may not have synced the folder yet, and this
        // caller is about to rely on it.
        sync_folder(&parent, name)?;
        Ok(creation)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        refuse_oversize(name, bytes.len() as u64)?;
        let (parent, leaf) = self.parent_made(name)?;
        self.write_temporary(name.as_str(), bytes)?.place_over(&parent, leaf, name.as_str())?;
        sync_folder(&parent, name)
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((file, length)) = self.file(name)? else { return Ok(None) };
        refuse_oversize(name, length)?;
        read_exactly(&file, name, 0, usize::try_from(length).unwrap_or(BLOB_BYTES_MAX), length)
            .map(Some)
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
        read_exactly(&file, name, offset, length, size).map(Some)
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        Ok(self.file(name)?.map(|(_, length)| length))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        let root = self.root.try_clone().map_err(|e| failed_io("list", prefix, &e))?;
        list_folder(&root, "", prefix, visit)
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        let Some((parent, leaf)) = self.parent(name, false)? else { return Ok(()) };
        match rustix::fs::unlinkat(&parent, leaf, AtFlags::empty()) {
            // A folder is no object; to the contract there is nothing there.
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => sync_folder(&parent, name),
            Err(errno) => Err(failed("delete", name, errno)),
        }
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

fn read_exactly(
    file: &File,
    name: &BlobName,
    offset: u64,
    length: usize,
    size: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(StoreError::Short { name: name.clone(), length: size })
        }
        Err(e) => Err(failed_io("read", name, &e)),
    }
}

/// Visits the objects in `folder`, whose path is `path` (empty or ending in a slash), and in the
/// folders beneath it that may hold names beginning with `prefix`.
fn list_folder(
    folder: &OwnedFd,
    path: &str,
    prefix: &str,
    visit: &mut dyn FnMut(BlobName, u64),
) -> Result<(), StoreError> {
    let wrong = |errno| failed("list", path, errno);
    for entry in Dir::read_from(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        // What cannot name an object (`.tmp`, `.`, `..`, a stranger's file) is none.
        let Ok(Ok(name)) = entry.file_name().to_str().map(|leaf| format!("{path}{leaf}").parse())
        else {
            continue;
        };
        let name: BlobName = name;
        let beneath = format!("{name}/");
        let leads_there = beneath.starts_with(prefix) || prefix.starts_with(&beneath);
        if !leads_there && !name.as_str().starts_with(prefix) {
            continue;
        }
        let Ok(found) = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
        else {
            continue; // deleted since it was listed
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile if name.as_str().starts_with(prefix) => {
                visit(name, u64::try_from(found.st_size).unwrap_or_default());
            }
            FileType::Directory if leads_there => {
                let inner =
                    open_beneath(folder, entry.file_name(), OFlags::DIRECTORY).map_err(wrong)?;
                list_folder(&inner, &beneath, prefix, visit)?;
            }
            _ => {}
        }
    }
    Ok(())
}
