//! Folders: opened without following links, made and synced so that they outlive a crash.

use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use super::failure::{failed, failed_io, failed_sync};
use crate::{BlobName, StoreError};

/// Who may enter the store's folders: its owner alone.
pub(super) const FOLDER_MODE: Mode = Mode::RWXU;

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    Object,
    /// A folder, a link or a special file: nothing of the store's making.
    Other,
}

pub(super) fn standing(
    parent: &OwnedFd,
    leaf: &str,
    name: &BlobName,
) -> Result<Standing, StoreError> {
    match rustix::fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {
            Ok(Standing::Object)
        }
        Ok(_) => Ok(Standing::Other),
        Err(Errno::NOENT) => Ok(Standing::Nothing),
        Err(errno) => Err(failed("look for", name, errno)),
    }
}

/// Opens what `leaf` names in `parent` itself, never where a link leads.
pub(super) fn open_beneath(
    parent: &OwnedFd,
    leaf: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(parent, leaf, flags, Mode::empty()))
}

/// Opens the store's own folder; the owner chose this path, so links in it are followed.
pub(super) fn open_folder(folder: &Path) -> Result<OwnedFd, StoreError> {
    let wrong = |e| match failed_io("open", folder.display(), &e) {
        StoreError::Unavailable(text) if e.kind() == std::io::ErrorKind::NotFound => {
            StoreError::Refused(text)
        }
        error => error,
    };
    let directory = OFlags::DIRECTORY.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(directory).open(folder);
    Ok(opened.map_err(wrong)?.into())
}

/// Makes `folder` and what leads to it; each new one is synced into its parent.
pub(super) fn make_durably(folder: &Path) -> Result<(), StoreError> {
    let wrong = |e| failed_io("make", folder.display(), &e);
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let make = || DirBuilder::new().mode(FOLDER_MODE.bits()).create(folder);
    match make() {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && parent != folder => {
            make_durably(parent)?;
            make().map_err(wrong)?;
        }
        Err(e) => return Err(wrong(e)),
    }
    sync_folder(&open_folder(parent)?, parent.display())
}

pub(super) fn sync_folder(folder: &OwnedFd, what: impl Display) -> Result<(), StoreError> {
    rustix::fs::fsync(folder).map_err(|errno| failed_sync(what, &errno.into()))
}
