//! Temporary names: an entry appears under its own name only when it is complete.
//!
//! A temporary file is locked (`flock`) by the restore that writes it, so one that nobody holds
//! was left by a restore that was killed, and is removed when a later one enters the folder. A large
//! file has a name that a later restore finds again: what is right of it need not be written again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use custody_entries::{Entry, Metadata};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, linkat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::{self, Errno};
use rustix::process::geteuid;

use crate::folder::OPEN_FOLDER;
use crate::listing::Listing;
use crate::restoration::Restoration;
use crate::status::Status;
use crate::unfinished;

const PREFIX: &str = ".custody-restore-";
const SUFFIX: &str = ".part";
const LARGE: &str = ".custody-restore-large-";
const DIGITS: usize = 16;
/// The mode of what is not complete: nobody else opens it.
const OWN_MODE: u32 = 0o600;

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

/// What a killed restore left in a folder.
pub(crate) struct Remains {
    /// Nothing else lies in the folder.
    pub(crate) is_empty: bool,
    /// Large files, half written, that this restore may go on with.
    pub(crate) has_large: bool,
}

/// Removes what a killed restore left in a folder, but for what may be gone on with.
pub(crate) fn sweep(folder: impl AsFd) -> io::Result<Remains> {
    let (listing, outcome) = Listing::read(&folder);
    outcome?;
    let mut remains = Remains { is_empty: true, has_large: false };
    for name in listing.iter() {
        if is_temporary(name) && is_abandoned(&folder, name).unwrap_or(false) {
            remove(&folder, name);
        } else if is_large(name) {
            remains.has_large = true;
        } else {
            remains.is_empty &= unfinished::is_mark(name);
        }
    }
    Ok(remains)
}

/// Removes large files, half written, that the restore which has just ended did not go on with.
pub(crate) fn sweep_large(folder: impl AsFd) {
    // Opened anew: what was read of a folder through a descriptor is not read through it again.
    let Ok(again) = openat(&folder, ".", OPEN_FOLDER, Mode::empty()) else { return };
    let (listing, _) = Listing::read(again);
    for name in listing.iter().filter(|name| is_large(name)) {
        if is_abandoned(&folder, name).unwrap_or(false) {
            remove(&folder, name);
        }
    }
}

/// The name under which a large file is written: the same for the same file, so that another
/// restore finds what one that was interrupted left.
pub(crate) fn large_name(entry: &Entry) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    entry.name.as_bytes().hash(&mut hasher);
    let Metadata { modified, identity, .. } = &entry.metadata;
    (format!("{:?}", entry.kind), modified, identity).hash(&mut hasher);
    format!("{LARGE}{:016x}{SUFFIX}", hasher.finish()).into_bytes()
}

/// Opens what an interrupted restore left under `name`, for this one alone. What somebody else can
/// have written to, or still writes to, is not taken.
pub(crate) fn adopt(folder: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&folder, name, flags, Mode::empty())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let found = Status::of_open(&file)?;
    let is_own = found.kind.is_file()
        && found.mode == OWN_MODE
        && found.uid == geteuid().as_raw()
        && found.identity.links == 1
        && Status::of(&folder, name)?.place() == found.place();
    if is_own { Ok(file) } else { Err(Errno::STALE) }
}

fn is_temporary(name: &[u8]) -> bool {
    is_numbered(name, PREFIX)
}

fn is_large(name: &[u8]) -> bool {
    is_numbered(name, LARGE)
}

fn is_numbered(name: &[u8], prefix: &str) -> bool {
    name.strip_prefix(prefix.as_bytes())
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
        check(b".custody-restore-large-00000000000000ff.part", false);
    }
}
