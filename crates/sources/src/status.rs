//! What the system says about a file, in types that are the same on every machine.

use custody_entries::{DeviceNumber, FileIdentity, TimeSpec};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, makedev, statx};
use rustix::io;

/// Size of the blocks that `st_blocks` counts, in bytes, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

/// The fields of `statx` that custody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: FileType,
    /// The low 12 bits of the mode.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size_bytes: u64,
    allocated_bytes: u64,
    pub(crate) modified: TimeSpec,
    pub(crate) identity: FileIdentity,
    pub(crate) device_number: DeviceNumber,
}

impl Status {
    /// Of a name in a folder; a symbolic link is not followed.
    pub(crate) fn of(folder: impl AsFd, name: &[u8]) -> io::Result<Self> {
        read(folder, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Of something open.
    pub(crate) fn of_open(descriptor: impl AsFd) -> io::Result<Self> {
        read(descriptor, b"", AtFlags::EMPTY_PATH)
    }

    /// Device and inode.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.identity.device, self.identity.inode)
    }

    /// Whether less is allocated than the length asks for, so that there may be holes.
    pub(crate) fn may_have_holes(&self) -> bool {
        self.allocated_bytes < self.size_bytes
    }

    /// Whether this is still the same file in the same state.
    pub(crate) fn is_steady_since(&self, earlier: &Self) -> bool {
        self.place() == earlier.place()
            && self.size_bytes == earlier.size_bytes
            && self.modified == earlier.modified
            && self.identity.changed == earlier.identity.changed
    }
}

fn read(folder: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Status> {
    let wanted = StatxFlags::BASIC_STATS.difference(StatxFlags::ATIME);
    Ok(convert(&statx(folder, name, flags, wanted)?))
}

fn convert(statx: &Statx) -> Status {
    let mode = u32::from(statx.stx_mode);
    Status {
        kind: FileType::from_raw_mode(mode),
        mode: mode & 0o7777,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        size_bytes: statx.stx_size,
        allocated_bytes: statx.stx_blocks.saturating_mul(BLOCK_BYTES),
        modified: time(statx.stx_mtime),
        identity: FileIdentity {
            device: makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            links: u64::from(statx.stx_nlink),
            changed: time(statx.stx_ctime),
        },
        device_number: DeviceNumber { major: statx.stx_rdev_major, minor: statx.stx_rdev_minor },
    }
}

fn time(stamp: StatxTimestamp) -> TimeSpec {
    TimeSpec { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec }
}
