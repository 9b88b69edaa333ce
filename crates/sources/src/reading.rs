//! Reading back what stands in a target, writing it, and making parts of it zero.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom, fallocate, openat, seek};
use rustix::io::{self, Errno};

use crate::status::Status;

/// How much is looked through for zeros at once, in bytes.
const ZERO_BYTES: usize = 256 << 10;
/// Zeros written at once where a hole cannot be made.
const ZEROS: &[u8] = &[0; 64 << 10];

/// A regular file that stands in a target, open for reading.
pub(crate) struct Reader {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

impl Reader {
    /// Opens `name` in a folder; never through a link, and nothing but a regular file.
    pub(crate) fn open(folder: &OwnedFd, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty())?;
        if !Status::of_open(&descriptor)?.kind.is_file() {
            return Err(Errno::STALE);
        }
        Ok(Self { descriptor, buffer: Vec::new() })
    }

    /// Exactly `length` bytes at `offset`, if they are there and can be read.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Option<&[u8]> {
        self.buffer.resize(length, 0);
        (fill(&self.descriptor, offset, &mut self.buffer) == length).then_some(&self.buffer)
    }

    /// Whether `length` bytes at `offset` are there and all zero. Holes are not read.
    pub(crate) fn is_zero(&mut self, offset: u64, length: u64) -> bool {
        let (mut at, end) = (offset, offset.saturating_add(length));
        while at < end {
            match seek(&self.descriptor, SeekFrom::Data(at)) {
                Ok(data) => at = data.max(at),
                // Nothing but a hole up to the end, wherever that is: the length is looked at too.
                Err(Errno::NXIO) => return true,
                Err(_) => {}
            }
            let part = end.saturating_sub(at).min(ZERO_BYTES as u64);
            let Ok(part) = usize::try_from(part) else { return false };
            match self.read(at, part) {
                Some(bytes) if bytes.iter().all(|byte| *byte == 0) => at += part as u64,
                _ => return false,
            }
        }
        true
    }
}

/// Fills `buffer` from `offset` on; how much of it there was.
pub(crate) fn fill(file: impl AsFd, offset: u64, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match io::pread(&file, room, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    filled
}

/// Writes all of `bytes` from `offset` on.
pub(crate) fn write_all(file: impl AsFd, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        match io::pwrite(&file, rest, at) {
            // No system does this, and asking for ever would not help.
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                at = at.saturating_add(length as u64);
                rest = rest.get(length..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Makes a part of a file or device zero: a hole where that can be made.
pub(crate) fn clear(file: impl AsFd, offset: u64, length: u64) -> io::Result<()> {
    let has_data = match seek(&file, SeekFrom::Data(offset)) {
        Ok(data) => data < offset.saturating_add(length),
        Err(errno) => errno != Errno::NXIO,
    };
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if !has_data || fallocate(&file, flags, offset, length).is_ok() {
        return Ok(());
    }
    let (mut at, end) = (offset, offset.saturating_add(length));
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
        write_all(&file, at, ZEROS.get(..left).unwrap_or_default())?;
        at += left as u64;
    }
    Ok(())
}
