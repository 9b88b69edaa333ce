//! The store's own folder: opened and made by path, so that it outlives a crash.

use std::fs::{DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::failure::{failed_io, failed_sync};
use super::kernel::FOLDER_MODE;
use crate::StoreError;

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
    rustix::fs::fsync(open_folder(parent)?).map_err(|errno| failed_sync(parent.display(), errno))
}
