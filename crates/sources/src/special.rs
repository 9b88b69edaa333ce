//! Symbolic links, pipes, sockets and device nodes: made, never opened.

use custody_entries::{Entry, EntryKind, Warning};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat, openat, readlinkat, symlinkat};
use rustix::io::{self, Errno};

use crate::dress::dress;
use crate::handle::Handle;
use crate::restoration::Restoration;
use crate::site::Site;
use crate::status::Status;
use crate::temporary;

/// Whether what stands there is what would be made.
pub(crate) fn is_same(folder: &OwnedFd, entry: &Entry, there: &Status) -> bool {
    let is_kind = Some(there.kind) == file_type(&entry.kind);
    is_kind
        && match &entry.kind {
            EntryKind::Symlink { target } => readlinkat(folder, entry.name.as_bytes(), Vec::new())
                .is_ok_and(|there| there.as_bytes() == target),
            EntryKind::BlockDevice(number) | EntryKind::CharDevice(number) => {
                there.device_number == *number
            }
            _ => true,
        }
}

/// Whether what stands there has the mode, owner and time of the entry as well.
pub(crate) fn has_same_metadata(entry: &Entry, there: &Status) -> bool {
    let metadata = &entry.metadata;
    let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
    (is_link || there.mode == metadata.mode & 0o7777)
        && (there.uid, there.gid) == (metadata.uid, metadata.gid)
        && there.modified == metadata.modified
}

/// Makes it under a temporary name, sets its metadata and puts it in place.
pub(crate) fn make(
    restoration: &Restoration,
    site: &Site,
    entry: &Entry,
    replace: bool,
) -> io::Result<Vec<Warning>> {
    let folder = site.folder.descriptor()?;
    let (temporary, ()) = temporary::make(restoration, |name| create(&*folder, name, entry))?;
    let dress_and_place = || -> io::Result<Vec<Warning>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pointed = openat(&*folder, &temporary, flags, Mode::empty())?;
        if Some(Status::of_open(&pointed)?.kind) != file_type(&entry.kind) {
            return Err(Errno::STALE); // someone swapped it
        }
        let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
        let handle = Handle::pointed(&pointed);
        let path = || site.path_of(&entry.name);
        let warnings = dress(restoration, &handle, &entry.metadata, is_link, &path);
        temporary::place(&*folder, &temporary, entry.name.as_bytes(), replace)?;
        Ok(warnings)
    };
    dress_and_place().inspect_err(|_| temporary::remove(&*folder, &temporary))
}

fn create(folder: impl AsFd, name: &[u8], entry: &Entry) -> io::Result<()> {
    let node = |kind, device| mknodat(&folder, name, kind, Mode::RUSR | Mode::WUSR, device);
    match &entry.kind {
        EntryKind::Symlink { target } => symlinkat(target, &folder, name),
        EntryKind::Fifo => node(FileType::Fifo, 0),
        EntryKind::Socket => node(FileType::Socket, 0),
        EntryKind::BlockDevice(number) => {
            node(FileType::BlockDevice, makedev(number.major, number.minor))
        }
        EntryKind::CharDevice(number) => {
            node(FileType::CharacterDevice, makedev(number.major, number.minor))
        }
        EntryKind::File { .. } | EntryKind::Folder => Err(Errno::INVAL),
    }
}

fn file_type(kind: &EntryKind) -> Option<FileType> {
    match kind {
        EntryKind::Symlink { .. } => Some(FileType::Symlink),
        EntryKind::Fifo => Some(FileType::Fifo),
        EntryKind::Socket => Some(FileType::Socket),
        EntryKind::BlockDevice(_) => Some(FileType::BlockDevice),
        EntryKind::CharDevice(_) => Some(FileType::CharacterDevice),
        EntryKind::File { .. } | EntryKind::Folder => None,
    }
}
