//! Reading extended attributes, POSIX ACLs and capabilities included.

use custody_entries::Xattr;
use rustix::fd::AsFd;
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::{self, Errno};

use crate::proc_path;

/// Longest list of names and longest value that Linux knows (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`),
/// in bytes.
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Reads attributes without opening the file: one call for a file that has none.
pub(crate) struct XattrReader {
    path: Vec<u8>,
    buffer: Vec<u8>,
}

impl XattrReader {
    pub(crate) fn new() -> Self {
        Self { path: Vec::new(), buffer: vec![0; XATTR_BYTES_MAX] }
    }

    /// The attributes of `name` in a folder (of the folder itself if `name` is `.`), sorted by
    /// name. `refused` is told each one that exists but cannot be read.
    pub(crate) fn read(
        &mut self,
        folder: impl AsFd,
        name: &[u8],
        mut refused: impl FnMut(&[u8], Errno),
    ) -> io::Result<Vec<Xattr>> {
        proc_path::write(&mut self.path, folder, name);
        let length = match llistxattr(&self.path, self.buffer.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno),
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        let names = self.buffer.get(..length).unwrap_or_default().to_vec();
        let mut xattrs = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match lgetxattr(&self.path, name, self.buffer.as_mut_slice()) {
                Ok(length) => {
                    let value = self.buffer.get(..length).unwrap_or_default().to_vec();
                    xattrs.push(Xattr { name: name.to_vec(), value });
                }
                Err(Errno::NODATA) => {} // removed meanwhile
                Err(errno) => refused(name, errno),
            }
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }
}
