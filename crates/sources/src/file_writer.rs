//! Writing one file: under a temporary name, with its holes, in place only when complete. What of
//! it is on this machine already (half written by an interrupted restore, or in the file that it
//! replaces) is made use of as far as it is right.

use std::sync::Arc;

use custody_entries::{Entry, FileWriter, Judge, TargetError, Warning};
use rustix::fd::OwnedFd;
use rustix::fs::ftruncate;
use rustix::io::{self, Errno};

use crate::dress::dress;
use crate::error::{ends_restore, reason, target_code};
use crate::handle::Handle;
use crate::reading::{self, Reader};
use crate::restoration::Restoration;
use crate::site::Site;
use crate::temporary;

/// A file of this length or more is gone on with if a restore is interrupted; a shorter one is
/// written again. In bytes.
pub(crate) const LARGE_BYTES_MIN: u64 = 16 << 20;
/// A file of this length or more is compared with the one that it replaces, in bytes.
const BASE_BYTES_MIN: u64 = 1 << 20;
/// Parts of the replaced file that may be wrong, beyond those that were right, until no more of it
/// is read.
const BASE_MISSES_MAX: i32 = 32;

/// A regular file being restored.
pub(crate) struct RestoredFile {
    restoration: Arc<Restoration>,
    /// Taken only when dropped.
    site: Option<Arc<Site>>,
    entry: Entry,
    size_bytes: u64,
    descriptor: OwnedFd,
    temporary: Vec<u8>,
    replace: bool,
    written_end: u64,
    /// An interrupted restore wrote some of it.
    is_resumed: bool,
    base: Option<Base>,
    fate: Fate,
}

/// What becomes of what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes: the file is not complete.
    Gone,
    /// It stands under its own name.
    Placed,
    /// It is kept for a restore that goes on with it.
    Kept,
}

/// The file that is replaced.
struct Base {
    reader: Reader,
    /// Parts that were right, less those that were wrong.
    balance: i32,
}

impl RestoredFile {
    /// Begins `entry`, a file of `size_bytes`, in a folder.
    pub(crate) fn begin(
        restoration: &Arc<Restoration>,
        site: &Arc<Site>,
        entry: &Entry,
        size_bytes: u64,
        replace: bool,
    ) -> io::Result<Self> {
        let folder = site.folder.descriptor()?;
        let begun = if size_bytes >= LARGE_BYTES_MIN { large(&folder, entry) } else { None };
        let (temporary, descriptor, is_resumed) = if let Some(begun) = begun {
            begun
        } else {
            let (temporary, descriptor) =
                temporary::make(restoration, |name| temporary::make_file(&*folder, name))?;
            (temporary, descriptor, false)
        };
        let base = (replace && size_bytes >= BASE_BYTES_MIN)
            .then(|| Reader::open(&folder, entry.name.as_bytes()).ok())
            .flatten()
            .map(|reader| Base { reader, balance: BASE_MISSES_MAX });
        Ok(Self {
            restoration: Arc::clone(restoration),
            site: Some(Arc::clone(site)),
            entry: entry.clone(),
            size_bytes,
            descriptor,
            temporary,
            replace,
            written_end: 0,
            is_resumed,
            base,
            fate: Fate::Gone,
        })
    }

    fn path(&self) -> Vec<u8> {
        self.site.as_ref().map(|site| site.path_of(&self.entry.name)).unwrap_or_default()
    }

    fn set_length(&self) -> io::Result<()> {
        if self.written_end == self.size_bytes && !self.is_resumed {
            return Ok(());
        }
        ftruncate(&self.descriptor, self.size_bytes)
    }

    fn place(&mut self) -> io::Result<()> {
        let site = self.site.as_ref().ok_or(Errno::BADF)?;
        let folder = site.folder.descriptor()?;
        temporary::place(&*folder, &self.temporary, self.entry.name.as_bytes(), self.replace)?;
        self.fate = Fate::Placed;
        Ok(())
    }

    /// Whether `length` bytes at `offset` of the replaced file are right; they are written then.
    fn take_from_base(
        &mut self,
        offset: u64,
        length: usize,
        is_right: &mut Judge<'_>,
    ) -> Result<bool, TargetError> {
        let Some(base) = &mut self.base else { return Ok(false) };
        let found = base.reader.read(offset, length).filter(|bytes| is_right(bytes));
        base.balance += if found.is_some() { 1 } else { -1 };
        let Some(bytes) = found.map(<[u8]>::to_vec) else {
            self.base = self.base.take().filter(|base| base.balance > 0);
            return Ok(false);
        };
        self.write_at(offset, &bytes).map(|()| true)
    }

    /// Why it cannot be written.
    fn failed(&self, errno: Errno) -> TargetError {
        let path = self.path();
        ends_restore(errno, &path).err().unwrap_or_else(|| failed(errno, &path))
    }

    /// An error that ends the restore, or a warning about this file alone.
    fn refused(&self, errno: Errno) -> Result<Option<Warning>, TargetError> {
        let path = self.path();
        ends_restore(errno, &path)?;
        let (code, message) = match errno {
            Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY => {
                (target_code::EXISTS, "something else stands there and was kept".to_owned())
            }
            _ => (target_code::ENTRY_REFUSED, format!("it was not restored: {}", reason(errno))),
        };
        Ok(self.restoration.tally.note(code, || path, message))
    }
}

impl FileWriter for RestoredFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        reading::write_all(&self.descriptor, offset, bytes).map_err(|errno| self.failed(errno))?;
        self.written_end = self.written_end.max(offset.saturating_add(bytes.len() as u64));
        Ok(())
    }

    fn take_over(
        &mut self,
        offset: u64,
        length: usize,
        is_right: &mut Judge<'_>,
    ) -> Result<bool, TargetError> {
        if self.is_resumed {
            let mut bytes = vec![0; length];
            let has_all = reading::fill(&self.descriptor, offset, &mut bytes) == length;
            if has_all && is_right(&bytes) {
                self.written_end = self.written_end.max(offset.saturating_add(length as u64));
                return Ok(true);
            }
        }
        self.take_from_base(offset, length, is_right)
    }

    fn hole(&mut self, offset: u64, length: u64) -> Result<(), TargetError> {
        if !self.is_resumed {
            return Ok(());
        }
        reading::clear(&self.descriptor, offset, length).map_err(|errno| self.failed(errno))
    }

    fn suspend(mut self: Box<Self>) {
        if self.size_bytes >= LARGE_BYTES_MIN {
            self.fate = Fate::Kept;
        }
        self.restoration.suspend();
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        if let Err(errno) = self.set_length() {
            return Ok(self.refused(errno)?.into_iter().collect());
        }
        let handle = Handle::open(&self.descriptor);
        let path = || self.path();
        let mut warnings = dress(&self.restoration, &handle, &self.entry.metadata, false, &path);
        if let Err(errno) = self.place() {
            warnings.extend(self.refused(errno)?);
        }
        Ok(warnings)
    }
}

impl Drop for RestoredFile {
    fn drop(&mut self) {
        let Some(site) = self.site.take() else { return };
        if self.fate == Fate::Gone
            && let Ok(folder) = site.folder.descriptor()
        {
            temporary::remove(&*folder, &self.temporary);
        }
        Site::release(site, &self.restoration);
    }
}

/// A large file's place to write to: what an interrupted restore left, if that can be gone on with
/// (the last of the three says so). None if another restore is writing it.
fn large(folder: &OwnedFd, entry: &Entry) -> Option<(Vec<u8>, OwnedFd, bool)> {
    let name = temporary::large_name(entry);
    match temporary::adopt(folder, &name) {
        Ok(found) => return Some((name, found, true)),
        // It was put in place, or somebody else may have written to it.
        Err(Errno::STALE | Errno::LOOP | Errno::ISDIR) => temporary::remove(folder, &name),
        Err(_) => {}
    }
    let made = temporary::make_file(folder, &name).ok()?;
    Some((name, made, false))
}

fn failed(errno: Errno, path: &[u8]) -> TargetError {
    let path = custody_entries::display_path(path);
    let message = format!("cannot write {path}: {}", reason(errno));
    TargetError { code: target_code::FAILED, message }
}
