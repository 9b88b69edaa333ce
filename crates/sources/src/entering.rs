//! Making or entering a folder in the target.

use custody_entries::Entry;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, fchmod, mkdirat, openat, unlinkat};
use rustix::io::{self, Errno};

use crate::folder::OPEN_FOLDER;
use crate::proc_path;
use crate::site::Site;
use crate::status::Status;
use crate::temporary;

/// What the restoring user needs in a folder while it is restored; nobody else gets anything.
const WORKING: u32 = 0o700;

/// What became of a folder that is needed.
pub(crate) enum Entered {
    /// It is open; `is_fresh` if it was made just now.
    Folder { descriptor: OwnedFd, place: (u64, u64), is_fresh: bool, has_remains: bool },
    /// A symbolic link stands there.
    Link,
    /// Something else stands there.
    Other,
}

/// Makes or enters the folder `entry`. With `may_replace`, something else that stands there is
/// removed, but never a link: who planted it may expect it to be.
pub(crate) fn enter(site: &Site, entry: &Entry, may_replace: bool) -> io::Result<Entered> {
    let parent = site.folder.descriptor()?;
    let name = entry.name.as_bytes();
    let mut is_fresh = make(&*parent, name)?;
    if !is_fresh {
        let existing = Status::of(&*parent, name)?.kind;
        if existing.is_symlink() {
            return Ok(Entered::Link);
        }
        if !existing.is_dir() && !may_replace {
            return Ok(Entered::Other);
        }
        if !existing.is_dir() {
            unlinkat(&*parent, name, AtFlags::empty())?;
            is_fresh = make(&*parent, name)?;
        }
    }
    let descriptor = open(&*parent, name)?;
    let status = Status::of_open(&descriptor)?;
    let mut has_remains = false;
    if !is_fresh {
        if status.mode & WORKING != WORKING {
            // If it is somebody else's, the first entry in it will say that it is refused.
            let _ = fchmod(&descriptor, Mode::from_bits_retain(status.mode | WORKING));
        }
        has_remains = temporary::sweep(&descriptor)?.has_large;
    }
    Ok(Entered::Folder { descriptor, place: status.place(), is_fresh, has_remains })
}

/// Makes a folder; false if something stands there.
fn make(parent: impl AsFd, name: &[u8]) -> io::Result<bool> {
    match mkdirat(parent, name, Mode::from_bits_retain(WORKING)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a folder. One that its owner may not read, restored so by an earlier run, is opened to
/// its owner first.
fn open(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    match openat(&parent, name, OPEN_FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pointed = openat(&parent, name, flags, Mode::empty())?;
            let mode = Mode::from_bits_retain(WORKING);
            chmodat(CWD, proc_path::of(&pointed), mode, AtFlags::empty())?;
            openat(&parent, name, OPEN_FOLDER, Mode::empty())
        }
        outcome => outcome,
    }
}
