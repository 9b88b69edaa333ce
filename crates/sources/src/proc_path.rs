//! Paths under `/proc/self/fd`: the way to calls that take only a path.
//!
//! Such a path leads straight to what is open, whatever was renamed or swapped meanwhile. With a
//! name behind it, the last step is an ordinary one beneath an open folder, which the `l` variants
//! of calls do not follow if it is a link.

use std::io::Write as _;

use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// The path of what is open.
pub(crate) fn of(descriptor: impl AsFd) -> Vec<u8> {
    let mut path = Vec::new();
    write(&mut path, descriptor, b"");
    path
}

/// Puts the path of `name` in an open folder into `path`.
pub(crate) fn write(path: &mut Vec<u8>, folder: impl AsFd, name: &[u8]) {
    path.clear();
    // Writing to a Vec cannot fail.
    let _ = write!(path, "/proc/self/fd/{}", folder.as_fd().as_raw_fd());
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
}

/// Whether `/proc` is mounted and shows this process.
pub(crate) fn works(descriptor: impl AsFd) -> bool {
    statx(CWD, of(descriptor), AtFlags::empty(), StatxFlags::INO).is_ok()
}
