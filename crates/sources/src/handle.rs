//! One way to set metadata, for what is open and for what can only be pointed at.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    flistxattr, fremovexattr, fsetxattr, futimens, listxattr, removexattr, setxattr, utimensat,
};
use rustix::io;

use crate::proc_path;
use crate::status::Status;

/// Longest list of attribute names, in bytes (`XATTR_LIST_MAX`).
const LIST_BYTES_MAX: usize = 64 * 1024;

/// Something whose metadata is set. It is held by a descriptor, so no name can be swapped under it.
pub(crate) enum Handle<'a> {
    /// A file or folder that is open.
    Open(BorrowedFd<'a>),
    /// A link or special file held by an `O_PATH` descriptor, and its path under `/proc`.
    Pointed(BorrowedFd<'a>, Vec<u8>),
}

impl<'a> Handle<'a> {
    pub(crate) fn open(descriptor: &'a impl AsFd) -> Self {
        Self::Open(descriptor.as_fd())
    }

    pub(crate) fn pointed(descriptor: &'a impl AsFd) -> Self {
        Self::Pointed(descriptor.as_fd(), proc_path::of(descriptor))
    }

    pub(crate) fn status(&self) -> io::Result<Status> {
        match self {
            Self::Open(descriptor) | Self::Pointed(descriptor, _) => Status::of_open(descriptor),
        }
    }

    pub(crate) fn set_owner(&self, user: Option<Uid>, group: Option<Gid>) -> io::Result<()> {
        match self {
            Self::Open(descriptor) => fchown(descriptor, user, group),
            Self::Pointed(_, path) => chownat(CWD, path, user, group, AtFlags::empty()),
        }
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_retain(mode);
        match self {
            Self::Open(descriptor) => fchmod(descriptor, mode),
            Self::Pointed(_, path) => chmodat(CWD, path, mode, AtFlags::empty()),
        }
    }

    pub(crate) fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        match self {
            Self::Open(descriptor) => futimens(descriptor, times),
            Self::Pointed(_, path) => utimensat(CWD, path, times, AtFlags::empty()),
        }
    }

    /// The names of its attributes, each followed by NUL.
    pub(crate) fn xattr_names(&self) -> io::Result<Vec<u8>> {
        let nothing: &mut [u8] = &mut [];
        let length = match self {
            Self::Open(descriptor) => flistxattr(descriptor, nothing)?,
            Self::Pointed(_, path) => listxattr(path, nothing)?,
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut names = vec![0; LIST_BYTES_MAX];
        let length = match self {
            Self::Open(descriptor) => flistxattr(descriptor, names.as_mut_slice())?,
            Self::Pointed(_, path) => listxattr(path, names.as_mut_slice())?,
        };
        names.truncate(length);
        Ok(names)
    }

    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(descriptor) => fsetxattr(descriptor, name, value, XattrFlags::empty()),
            Self::Pointed(_, path) => setxattr(path, name, value, XattrFlags::empty()),
        }
    }

    pub(crate) fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(descriptor) => fremovexattr(descriptor, name),
            Self::Pointed(_, path) => removexattr(path, name),
        }
    }
}
