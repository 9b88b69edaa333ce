//! What becomes of the place of an entry.

use std::sync::Arc;

use custody_entries::{Entry, EntryKind, FilePlace, Landing, TargetError};
use rustix::fd::OwnedFd;
use rustix::io::{self, Errno};

use super::{FolderTarget, TargetOptions};
use crate::error::{ends_restore, reason, target_code};
use crate::file_writer::RestoredFile;
use crate::policy::{Decision, Overwrite, decide, is_same_file};
use crate::reading::Reader;
use crate::site::Site;
use crate::standing::{self, Standing};
use crate::status::Status;

/// What became of the place of an entry: free to be taken, or settled already.
pub(super) enum Place {
    Free {
        replace: bool,
    },
    /// What would be restored stands there.
    Same,
    Settled(Landing),
}

impl FolderTarget {
    /// Keeps a warning about an entry.
    pub(super) fn warn(
        &self,
        site: &Site,
        entry: &Entry,
        code: &'static str,
        message: String,
    ) -> Landing {
        let path = || site.path_of(&entry.name);
        self.restoration.tally.keep(self.restoration.tally.note(code, path, message));
        Landing::Skipped
    }

    /// Ends the restore, or skips the entry with a warning.
    pub(super) fn refuse(
        &self,
        site: &Site,
        entry: &Entry,
        errno: Errno,
    ) -> Result<Landing, TargetError> {
        ends_restore(errno, &site.path_of(&entry.name))?;
        let (code, message) = match (errno, &entry.kind) {
            (Errno::EXIST | Errno::ISDIR | Errno::NOTDIR, _) => return Ok(self.keep(site, entry)),
            (Errno::PERM, EntryKind::BlockDevice(_) | EntryKind::CharDevice(_)) => {
                (target_code::DEVICE_NOT_MADE, "device nodes take a privilege".to_owned())
            }
            _ => (target_code::ENTRY_REFUSED, format!("it was not restored: {}", reason(errno))),
        };
        Ok(self.warn(site, entry, code, message))
    }

    pub(super) fn keep(&self, site: &Site, entry: &Entry) -> Landing {
        let message = "something else stands there and was kept".to_owned();
        self.warn(site, entry, target_code::EXISTS, message);
        Landing::Kept
    }

    /// Looks at what stands where a file belongs and begins it if it is to be written.
    pub(super) fn file_place(
        &mut self,
        site: &Arc<Site>,
        file: &Entry,
        size: u64,
    ) -> io::Result<FilePlace> {
        let TargetOptions { overwrite, compare, .. } = self.restoration.options;
        let is_same = |_: &OwnedFd, there: &Status| {
            is_same_file(overwrite, there, &file.kind, &file.metadata)
        };
        let place = self.place_for(site, file, is_same)?;
        if matches!(place, Place::Free { .. }) || compare {
            self.begin();
        }
        let restoration = &self.restoration;
        match place {
            Place::Settled(_) => Ok(FilePlace::Kept),
            Place::Same if compare => {
                let folder = site.folder.descriptor()?;
                Ok(FilePlace::Standing(Box::new(Standing {
                    restoration: Arc::clone(restoration),
                    site: Some(Arc::clone(site)),
                    entry: file.clone(),
                    size_bytes: size,
                    reader: Reader::open(&folder, file.name.as_bytes()).ok(),
                })))
            }
            Place::Same => {
                if overwrite == Overwrite::Always {
                    let folder = site.folder.descriptor()?;
                    restoration.tally.keep(standing::mend(restoration, site, &folder, file)?);
                }
                Ok(FilePlace::TakenOver)
            }
            Place::Free { replace } => {
                let writer = RestoredFile::begin(restoration, site, file, size, replace)?;
                let writer = Box::new(writer);
                Ok(if replace { FilePlace::Replaced(writer) } else { FilePlace::Free(writer) })
            }
        }
    }

    /// Looks at what stands where an entry belongs and decides by the policy.
    pub(super) fn place_for(
        &self,
        site: &Site,
        entry: &Entry,
        is_same: impl FnOnce(&OwnedFd, &Status) -> bool,
    ) -> io::Result<Place> {
        let overwrite = self.restoration.options.overwrite;
        if site.is_fresh {
            return Ok(Place::Free { replace: false });
        }
        let folder = site.folder.descriptor()?;
        let existing = match Status::of(&*folder, entry.name.as_bytes()) {
            Ok(existing) => existing,
            Err(Errno::NOENT) => return Ok(Place::Free { replace: false }),
            Err(errno) => return Err(errno),
        };
        let is_same = is_same(&folder, &existing);
        Ok(match decide(overwrite, &existing, entry.metadata.modified, is_same) {
            Decision::Replace => Place::Free { replace: true },
            Decision::Same => Place::Same,
            Decision::Keep => Place::Settled(Landing::Kept),
            Decision::KeepDifferent => Place::Settled(self.keep(site, entry)),
        })
    }
}
