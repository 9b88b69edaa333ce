//! What the ledger asks of the file system when room may run out: a port, so that tests can have
//! a small disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// The part of a file system that can be full.
pub(crate) trait Disk: Send + Sync {
    /// Writes `bytes` at `offset`, ends the file there and returns when all is on the device.
    fn write_tail(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives the file real blocks for `length_bytes`.
    fn allocate(&self, file: &File, length_bytes: u64) -> io::Result<()>;

    /// How much room is left for us, in bytes.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// The machine's file system.
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn write_tail(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)?;
        file.set_len(offset + bytes.len() as u64)?;
        file.sync_data()
    }

    fn allocate(&self, file: &File, length_bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length_bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; 64 << 10];
                for offset in (0..length_bytes).step_by(zeros.len()) {
                    file.write_all_at(&zeros, offset)?;
                }
            }
            outcome => outcome?,
        }
        file.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let free = rustix::fs::statvfs(folder)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}

/// Whether this error means that no room is left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
