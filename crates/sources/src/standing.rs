//! Files that stand in the target already and look like the ones restored.

use std::sync::Arc;

use custody_entries::{Entry, FileWriter, Judge, StandingFile, TargetError, Warning};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io;

use crate::dress;
use crate::error::{ends_restore, target_code};
use crate::file_writer::RestoredFile;
use crate::handle::Handle;
use crate::reading::Reader;
use crate::restoration::Restoration;
use crate::site::Site;
use crate::status::Status;
use crate::xattrs::XattrReader;

/// A file that stands there and is compared.
pub(crate) struct Standing {
    pub(crate) restoration: Arc<Restoration>,
    /// Taken only when dropped.
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) entry: Entry,
    pub(crate) size_bytes: u64,
    /// None if it cannot be read, so that nothing of it is right.
    pub(crate) reader: Option<Reader>,
}

impl StandingFile for Standing {
    fn holds(&mut self, offset: u64, length: usize, is_right: &mut Judge<'_>) -> bool {
        self.reader.as_mut().and_then(|reader| reader.read(offset, length)).is_some_and(is_right)
    }

    fn is_hollow(&mut self, offset: u64, length: u64) -> bool {
        self.reader.as_mut().is_some_and(|reader| reader.is_zero(offset, length))
    }

    fn keep(mut self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        let Some(site) = self.site.take() else { return Ok(Vec::new()) };
        let warnings = if self.restoration.may_mend() {
            let mended = site
                .folder
                .descriptor()
                .and_then(|folder| mend(&self.restoration, &site, &folder, &self.entry));
            mended.unwrap_or_default()
        } else {
            Vec::new()
        };
        Site::release(site, &self.restoration);
        Ok(warnings)
    }

    fn replace(mut self: Box<Self>) -> Result<Option<Box<dyn FileWriter>>, TargetError> {
        let Some(site) = self.site.take() else { return Ok(None) };
        let path = || site.path_of(&self.entry.name);
        let begun = if self.restoration.may_mend() {
            RestoredFile::begin(&self.restoration, &site, &self.entry, self.size_bytes, true)
                .map(Some)
        } else {
            let message = "its size and time are right, its content is not; it was kept";
            self.warn(target_code::EXISTS, path(), message.to_owned());
            Ok(None)
        };
        let writer = match begun {
            Ok(writer) => writer,
            Err(errno) => {
                ends_restore(errno, &path())?;
                let message = format!("it was not restored: {}", crate::error::reason(errno));
                self.warn(target_code::ENTRY_REFUSED, path(), message);
                None
            }
        };
        Site::release(site, &self.restoration);
        Ok(writer.map(|writer| Box::new(writer) as Box<dyn FileWriter>))
    }
}

impl Standing {
    fn warn(&self, code: &'static str, path: Vec<u8>, message: String) {
        let tally = &self.restoration.tally;
        tally.keep(tally.note(code, || path, message));
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(site) = self.site.take() {
            Site::release(site, &self.restoration);
        }
    }
}

/// Gives a file that stands there already the metadata restored, if it has others and no other
/// name: what a name elsewhere shows is not this restore's to change.
pub(crate) fn mend(
    restoration: &Restoration,
    site: &Site,
    folder: &OwnedFd,
    entry: &Entry,
) -> io::Result<Vec<Warning>> {
    let name = entry.name.as_bytes();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pointed = openat(folder, name, flags, Mode::empty())?;
    let found = Status::of_open(&pointed)?;
    let xattrs = XattrReader::new().read(folder, name, |_, _| {})?;
    let is_right = dress::is_worn(restoration, &entry.metadata, &found, &xattrs);
    if is_right || !found.kind.is_file() || found.identity.links != 1 {
        return Ok(Vec::new());
    }
    let path = || site.path_of(&entry.name);
    let handle = Handle::pointed(&pointed);
    Ok(dress::dress(restoration, &handle, &entry.metadata, false, &path))
}
