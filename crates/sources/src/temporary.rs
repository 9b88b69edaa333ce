//! Temporary names: an entry appears under its own name only when it is complete.
//!
//! A temporary file is locked (`flock`) by the restore that writes it, so one that nobody holds
//! was left by a restore that was killed, and is removed when a later one enters the folder.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, linkat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::{self, Errno};

use crate::listing::Listing;
use crate::restoration::Restoration;
use crate::status::Status;

const PREFIX: &str = ".custody-restore-";
const SUFFIX: &str = ".part";
const UNFINISHED: &str = ".custody-restore-unfinished";
const DIGITS: usize = 16;

/// How many names are tried before giving up: another restore into the same folder may hold some.
const ATTEMPTS_MAX: usize = 10_000;

/// Makes something under a temporary name that nothing has yet.
pub(crate) fn make<T>(
    restoration: &Restoration,
    mut make: impl FnMut(&[u8]) -> io::Result<T>,
) -> io::Result<(Vec<u8>, T)> {
    for _ in 0..ATTEMPTS_MAX {
        let name = format!("{PREFIX}{:016x}{SUFFIX}", restoration.next_temporary()).into_bytes();
        match make(&name) {
            Err(Errno::EXIST) => {}
            outcome => return outcome.map(|made| (name, made)),
        }
    }
    Err(Errno::EXIST)
}

/// Makes an empty file that only the restoring user can open until it is complete.
pub(crate) fn make_file(folder: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    // A file system without locks only loses the tidying up after a kill.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok(file)
}

/// Gives what stands under a temporary name its own, in one step. Without `replace`, nothing that
/// stands there is touched: [`Errno::EXIST`].
pub(crate) fn place(
    folder: impl AsFd,
    temporary: &[u8],
    name: &[u8],
    replace: bool,
) -> io::Result<()> {
    if replace {
        return renameat(&folder, temporary, &folder, name);
    }
    match renameat_with(&folder, temporary, &folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(&folder, temporary, &folder, name, AtFlags::empty())?;
            remove(&folder, temporary);
            Ok(())
        }
        outcome => outcome,
    }
}

/// Removes something under a temporary name, if it can be.
pub(crate) fn remove(folder: impl AsFd, temporary: &[u8]) {
    let _ = unlinkat(folder, temporary, AtFlags::empty());
}

/// Removes what a killed restore left in a folder. Returns whether the folder is empty then.
pub(crate) fn sweep(folder: impl AsFd) -> io::Result<bool> {
    let (listing, outcome) = Listing::read(&folder);
    outcome?;
    let mut is_empty = true;
    for name in listing.iter() {
        if is_temporary(name) && is_abandoned(&folder, name).unwrap_or(false) {
            remove(&folder, name);
        } else {
            is_empty = false;
        }
    }
    Ok(is_empty)
}

/// Says in a top that was made for a restore that the restore is not complete. The mark only helps
/// a later restore to set the top's own metadata, so failing to set it is no failure.
pub(crate) fn mark_unfinished(top: impl AsFd) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ = openat(top, UNFINISHED, flags, Mode::RUSR | Mode::WUSR);
}

/// Removes the mark.
pub(crate) fn mark_finished(top: impl AsFd) {
    remove(top, UNFINISHED.as_bytes());
}

/// Whether the top bears the mark.
pub(crate) fn is_unfinished(top: impl AsFd) -> bool {
    Status::of(top, UNFINISHED.as_bytes()).is_ok_and(|status| status.kind.is_file())
}

fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()))
        .is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

fn is_abandoned(folder: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let kind = Status::of(&folder, name)?.kind;
    if !kind.is_file() {
        return Ok(!kind.is_dir());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_count_as_temporary() {
        let check = |name: &[u8], expected| assert_eq!(is_temporary(name), expected, "{name:?}");
        check(b".custody-restore-00000000000000ff.part", true);
        check(b".custody-restore-00000000000000fg.part", false);
        check(b".custody-restore-ff.part", false);
        check(b".custody-restore-00000000000000ff.part2", false);
        check(b"custody-restore-00000000000000ff.part", false);
        check(b".custody-restore-unfinished", false);
    }
}
