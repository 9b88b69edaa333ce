//! What the operating system's error numbers mean to a caller of the store.

use std::fmt::Display;
use std::io;

use rustix::io::Errno;

use crate::StoreError;

pub(super) fn failed(doing: &str, what: impl Display, errno: Errno) -> StoreError {
    let text = format!("cannot {doing} {what}: {errno}");
    match errno {
        Errno::NOSPC | Errno::DQUOT => StoreError::Full(text),
        Errno::IO => StoreError::Device(text),
        Errno::ACCESS
        | Errno::PERM
        | Errno::ROFS
        | Errno::LOOP
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::NAMETOOLONG
        | Errno::FBIG => StoreError::Refused(text),
        _ => StoreError::Unavailable(text),
    }
}

pub(super) fn failed_io(doing: &str, what: impl Display, error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(errno) => failed(doing, what, errno),
        None => StoreError::Unavailable(format!("cannot {doing} {what}: {error}")),
    }
}

/// A sync that failed says that bytes were lost, whatever the number: the kernel reports it once
/// and then forgets, so the object must never be trusted.
pub(super) fn failed_sync(what: impl Display, errno: Errno) -> StoreError {
    match failed("sync", what, errno) {
        StoreError::Full(text) => StoreError::Full(text),
        StoreError::Refused(text) | StoreError::Unavailable(text) | StoreError::Device(text) => {
            StoreError::Device(text)
        }
        other @ (StoreError::Short { .. } | StoreError::Throttled { .. }) => other,
    }
}
