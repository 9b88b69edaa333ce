//! Files that say what the folder around them is.

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io;

use crate::status::Status;

/// A file that marks the folder it lies in, by its name and first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its name in the folder.
    pub file_name: String,
    /// What it begins with, at most 4096 bytes. If empty, a file of that name is enough; give a
    /// signature wherever a stranger's file must not be able to hide a folder from the backup.
    pub signature: Vec<u8>,
}

/// The tag of folders that hold what can be made again
/// (Cache Directory Tagging Specification, <https://bford.info/cachedir/>).
pub(crate) fn cache_tag() -> Marker {
    Marker {
        file_name: "CACHEDIR.TAG".to_owned(),
        signature: b"Signature: 8a477f597d28d172789f06886806bc55".to_vec(),
    }
}

impl Marker {
    /// Whether the file of this marker's name in `folder` is a regular one that begins rightly.
    /// What cannot be read marks nothing.
    pub(crate) fn marks(&self, folder: impl AsFd) -> bool {
        self.begins_rightly(folder).unwrap_or(false)
    }

    fn begins_rightly(&self, folder: impl AsFd) -> io::Result<bool> {
        let name = self.file_name.as_bytes();
        if !Status::of(&folder, name)?.kind.is_file() {
            return Ok(false);
        }
        if self.signature.is_empty() {
            return Ok(true);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(folder, name, flags, Mode::empty())?;
        let mut start = vec![0; self.signature.len()];
        let length = io::pread(file, start.as_mut_slice(), 0)?;
        Ok(length == start.len() && start == self.signature)
    }
}
