//! Hard links to files restored before.

use std::sync::Arc;

use custody_entries::{Entry, EntryKind, EntryName};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat};
use rustix::io::{self, Errno};

use crate::error::reason;
use crate::folder::Folder;
use crate::restoration::Restoration;
use crate::status::Status;
use crate::temporary;

/// A file restored before, found again.
pub(crate) struct Found {
    folder: Arc<OwnedFd>,
    name: EntryName,
    pub(crate) place: (u64, u64),
}

/// Finds the file at `earlier` below the top, one step at a time and through no link, and makes
/// sure that it is the file `entry` speaks of: under the policy another one may have been kept.
pub(crate) fn find(top: &Arc<Folder>, earlier: &[u8], entry: &Entry) -> Result<Found, String> {
    let mut names = Vec::new();
    for name in earlier.split(|byte| *byte == b'/') {
        names.push(EntryName::new(name).map_err(|_| "the path leads elsewhere".to_owned())?);
    }
    let name = names.pop().ok_or("the path is empty")?;
    let found = || -> io::Result<(Arc<OwnedFd>, Status)> {
        let mut folder = top.descriptor()?;
        for name in names {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Arc::new(openat(&*folder, name.as_bytes(), flags, Mode::empty())?);
        }
        let status = Status::of(&*folder, name.as_bytes())?;
        Ok((folder, status))
    };
    let (folder, status) = found().map_err(reason)?;
    if !is_meant(&status, entry) {
        return Err("another file stands there".to_owned());
    }
    Ok(Found { folder, name, place: status.place() })
}

fn is_meant(status: &Status, entry: &Entry) -> bool {
    let is_right_kind = match entry.kind {
        EntryKind::File { size } => status.kind.is_file() && status.size_bytes == size,
        _ => !status.kind.is_dir() && !status.kind.is_file(),
    };
    is_right_kind && status.modified == entry.metadata.modified
}

impl Found {
    /// Links it under the name of `entry`.
    pub(crate) fn link(
        &self,
        restoration: &Restoration,
        folder: impl AsFd,
        entry: &Entry,
        replace: bool,
    ) -> io::Result<()> {
        let link = |name: &[u8]| {
            linkat(&*self.folder, self.name.as_bytes(), &folder, name, AtFlags::empty())
        };
        let name = entry.name.as_bytes();
        if !replace {
            return link(name);
        }
        let (temporary, ()) = temporary::make(restoration, link)?;
        temporary::place(&folder, &temporary, name, true)
            .inspect_err(|_: &Errno| temporary::remove(&folder, &temporary))
    }
}
