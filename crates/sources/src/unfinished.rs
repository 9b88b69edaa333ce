//! The mark of a restore that is not complete, in the top that it goes to.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io;

use crate::dress::only_modified;
use crate::handle::Handle;
use crate::status::Status;
use crate::temporary;

/// Its name.
const NAME: &str = ".custody-restore-unfinished";
/// What it says of a top that was made, or stood empty, for the restore.
const OWN: &str = "top own\n";
/// What stands before the boot of the machine that it was written in.
const BOOT: &str = "boot ";
/// Longest mark, in bytes.
const BYTES_MAX: usize = 256;
/// Where Linux tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an earlier restore left in a top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// The top was made, or stood empty, for that restore.
    pub(crate) owns_top: bool,
    /// The machine was started anew since: what was written then may never have reached the disk,
    /// although its length and time did.
    pub(crate) is_of_earlier_boot: bool,
}

impl Unfinished {
    /// Reads the mark in a top, if there is one. One that says nothing was written by a version of
    /// custody that marked its own tops alone.
    pub(crate) fn of(top: impl AsFd) -> Option<Self> {
        if !Status::of(&top, NAME.as_bytes()).is_ok_and(|status| status.kind.is_file()) {
            return None;
        }
        let text = read(&top, NAME).unwrap_or_default();
        let boot = text.lines().find_map(|line| line.strip_prefix(BOOT)).map(str::to_owned);
        let is_of_this_boot = boot.is_some() && boot == boot_id();
        Some(Self {
            owns_top: text.is_empty() || text.contains(OWN),
            is_of_earlier_boot: !is_of_this_boot,
        })
    }
}

/// Says in a top that the restore into it is not complete. The mark only helps a later restore, so
/// failing to set it is no failure.
pub(crate) fn mark(top: impl AsFd, owns_top: bool) {
    let write = || -> io::Result<()> {
        let own = if owns_top { OWN } else { "" };
        let text = format!("{own}{BOOT}{}\n", boot_id().unwrap_or_default());
        // What stands there may be a link to something else: it is never written to.
        temporary::remove(&top, NAME.as_bytes());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(&top, NAME, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        io::write(file, text.as_bytes()).map(drop)
    };
    quietly(&top, || {
        let _ = write();
    });
}

/// Removes the mark.
pub(crate) fn unmark(top: impl AsFd) {
    quietly(&top, || temporary::remove(&top, NAME.as_bytes()));
}

/// Does something in a top that leaves its time as it was, where that may be set.
fn quietly(top: impl AsFd, act: impl FnOnce()) {
    let before = Status::of_open(&top);
    act();
    if let Ok(before) = before {
        let _ = Handle::open(&top).set_times(&only_modified(before.modified));
    }
}

/// Whether this is the mark's name.
pub(crate) fn is_mark(name: &[u8]) -> bool {
    name == NAME.as_bytes()
}

fn boot_id() -> Option<String> {
    let text = read(CWD, BOOT_ID).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The beginning of a short text.
fn read(folder: impl AsFd, name: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: OwnedFd = openat(folder, name, flags, Mode::empty())?;
    let mut bytes = vec![0; BYTES_MAX];
    let length = io::read(file, bytes.as_mut_slice())?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}
