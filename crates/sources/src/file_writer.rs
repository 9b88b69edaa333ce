//! Writing one file: under a temporary name, with its holes, in place only when complete.

use std::sync::Arc;

use custody_entries::{Entry, FileWriter, TargetError, Warning};
use rustix::fd::OwnedFd;
use rustix::fs::ftruncate;
use rustix::io::{self, Errno};

use crate::dress::dress;
use crate::error::{ends_restore, reason, target_code};
use crate::handle::Handle;
use crate::restoration::Restoration;
use crate::site::Site;
use crate::temporary;

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
    is_placed: bool,
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
        let (temporary, descriptor) =
            temporary::make(restoration, |name| temporary::make_file(&*folder, name))?;
        Ok(Self {
            restoration: Arc::clone(restoration),
            site: Some(Arc::clone(site)),
            entry: entry.clone(),
            size_bytes,
            descriptor,
            temporary,
            replace,
            written_end: 0,
            is_placed: false,
        })
    }

    fn path(&self) -> Vec<u8> {
        self.site.as_ref().map(|site| site.path_of(&self.entry.name)).unwrap_or_default()
    }

    fn set_length(&self) -> io::Result<()> {
        if self.written_end == self.size_bytes {
            return Ok(());
        }
        ftruncate(&self.descriptor, self.size_bytes)
    }

    fn place(&mut self) -> io::Result<()> {
        let site = self.site.as_ref().ok_or(Errno::BADF)?;
        let folder = site.folder.descriptor()?;
        temporary::place(&*folder, &self.temporary, self.entry.name.as_bytes(), self.replace)?;
        self.is_placed = true;
        Ok(())
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
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            match io::pwrite(&self.descriptor, rest, at) {
                Ok(length) => {
                    at += length as u64;
                    rest = rest.get(length..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let path = self.path();
                    ends_restore(errno, &path)?;
                    return Err(failed(errno, &path));
                }
            }
        }
        self.written_end = self.written_end.max(at);
        Ok(())
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
        if !self.is_placed
            && let Ok(folder) = site.folder.descriptor()
        {
            temporary::remove(&*folder, &self.temporary);
        }
        Site::release(site, &self.restoration);
    }
}

fn failed(errno: Errno, path: &[u8]) -> TargetError {
    let path = custody_entries::display_path(path);
    let message = format!("cannot write {path}: {}", reason(errno));
    TargetError { code: target_code::FAILED, message }
}
