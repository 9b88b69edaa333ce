//! A block device read as one file: its bytes in order, with what is zero left out as holes.
//!
//! A device knows no holes, but blocks of zeros say the same: they are found in memory, which costs
//! less than naming them, and a restore to a file need not write them.

use std::path::Path;

use custody_entries::{ChangedBlocks, Content, ContentReader, Segment, Settlement, SourceError};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::{self, Errno};

use crate::error::entry_error;
use crate::reading::fill;
use crate::status::Status;

/// Zeros are left out in whole blocks of this size that lie at its multiples, in bytes: the size of
/// the blocks that images are cut in.
const BLOCK_BYTES: usize = 64 << 10;

/// A block device that the operator named.
pub(crate) struct DeviceContent {
    path: std::path::PathBuf,
    /// Its name in the point, for warnings.
    name: Vec<u8>,
    device_number: custody_entries::DeviceNumber,
    size_bytes: u64,
    changed: Option<ChangedBlocks>,
}

impl DeviceContent {
    /// Looks at the device at `path`. The second value says that it is in use: mounted, or part of
    /// something that is.
    pub(crate) fn look_at(
        path: &Path,
        name: &[u8],
        changed: Option<ChangedBlocks>,
    ) -> io::Result<(Self, bool)> {
        let (descriptor, is_in_use) = match open(path, OFlags::EXCL) {
            Err(Errno::BUSY) => (open(path, OFlags::empty())?, true),
            opened => (opened?, false),
        };
        let status = Status::of_open(&descriptor)?;
        if status.kind != FileType::BlockDevice {
            return Err(Errno::STALE);
        }
        let size_bytes = seek(&descriptor, SeekFrom::End(0))?;
        let device_number = status.device_number;
        let (path, name) = (path.to_owned(), name.to_vec());
        Ok((Self { path, name, device_number, size_bytes, changed }, is_in_use))
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn open_reader(&self) -> io::Result<Reader> {
        let descriptor = open(&self.path, OFlags::empty())?;
        let status = Status::of_open(&descriptor)?;
        if status.kind != FileType::BlockDevice || status.device_number != self.device_number {
            return Err(Errno::STALE);
        }
        Ok(Reader::over(descriptor, self.size_bytes, self.name.clone()))
    }
}

fn open(path: &Path, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    openat(CWD, path, flags, Mode::empty())
}

impl Content for DeviceContent {
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError> {
        match self.open_reader() {
            Ok(reader) => Ok(Box::new(reader)),
            Err(errno) => Err(entry_error(&self.name, errno)),
        }
    }

    fn path(&self) -> &[u8] {
        &self.name
    }

    fn is_device(&self) -> bool {
        true
    }

    fn changed(&self) -> Option<&ChangedBlocks> {
        self.changed.as_ref()
    }
}

struct Reader {
    descriptor: OwnedFd,
    size_bytes: u64,
    position: u64,
    name: Vec<u8>,
}

impl Reader {
    fn over(descriptor: OwnedFd, size_bytes: u64, name: Vec<u8>) -> Self {
        Self { descriptor, size_bytes, position: 0, name }
    }
}

impl ContentReader for Reader {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError> {
        let left = self.size_bytes.saturating_sub(self.position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..wanted).filter(|room| !room.is_empty()) else {
            return Ok(Segment::End);
        };
        let length = fill(&self.descriptor, self.position, room);
        if length == 0 {
            return Err(entry_error(&self.name, Errno::IO));
        }
        let filled = room.get(..length).unwrap_or_default();
        let zeros = leading_zero_blocks(filled, self.position, self.size_bytes);
        if zeros > 0 {
            self.position += zeros as u64;
            return Ok(Segment::Hole(zeros as u64));
        }
        let data = until_zero_block(filled, self.position);
        self.position += data as u64;
        Ok(Segment::Data(data))
    }

    fn seek(&mut self, offset: u64) -> bool {
        self.position = offset;
        true
    }

    fn settle(&mut self) -> Result<Settlement, SourceError> {
        let end = seek(&self.descriptor, SeekFrom::End(0));
        let end = end.map_err(|errno| entry_error(&self.name, errno))?;
        Ok(if end == self.size_bytes { Settlement::Steady } else { Settlement::Changed })
    }
}

/// How many bytes of whole blocks at the front are zero; the device's last block may be shorter.
fn leading_zero_blocks(bytes: &[u8], position: u64, size: u64) -> usize {
    if !position.is_multiple_of(BLOCK_BYTES as u64) {
        return 0;
    }
    let mut zeros = 0;
    for block in bytes.chunks(BLOCK_BYTES) {
        let end = position + (zeros + block.len()) as u64;
        if !is_zero(block) || (block.len() < BLOCK_BYTES && end < size) {
            break;
        }
        zeros += block.len();
    }
    zeros
}

/// How many bytes there are before the first whole block of zeros.
fn until_zero_block(bytes: &[u8], position: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    let to_boundary = usize::try_from((block - position % block) % block).unwrap_or(0);
    let mut at = to_boundary.min(bytes.len());
    for block in bytes.get(at..).unwrap_or_default().chunks(BLOCK_BYTES) {
        if at > 0 && block.len() == BLOCK_BYTES && is_zero(block) {
            return at;
        }
        at += block.len();
    }
    at
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    /// What a device of these bytes gives through a buffer of this size: data, and holes as (offset,
    /// length).
    fn read(bytes: &[u8], buffer: usize) -> (Vec<u8>, Vec<(u64, u64)>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let size = bytes.len() as u64;
        let mut reader = Reader::over(File::into(file), size, b"sdx".to_vec());
        let (mut given, mut holes) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; buffer];
        loop {
            match reader.next(&mut buffer).unwrap() {
                Segment::Data(length) => given.extend_from_slice(&buffer[..length]),
                Segment::Hole(length) => {
                    holes.push((given.len() as u64, length));
                    given.resize(given.len() + usize::try_from(length).unwrap(), 0);
                }
                Segment::End => break,
            }
        }
        assert_eq!(reader.settle().unwrap(), Settlement::Steady);
        (given, holes)
    }

    #[test]
    fn blocks_of_zeros_are_holes_and_nothing_else_is() {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let check = |blocks: &[u8], tail: &[u8], expected: &[(u64, u64)]| {
            let mut bytes: Vec<u8> =
                blocks.iter().flat_map(|byte| vec![*byte; BLOCK_BYTES]).collect();
            bytes.extend_from_slice(tail);
            for buffer in [BLOCK_BYTES, 100_000, 1 << 20] {
                let (given, holes) = read(&bytes, buffer);
                assert!(given == bytes, "{blocks:?} through {buffer}");
                let mut joined: Vec<(u64, u64)> = Vec::new();
                for (at, length) in holes {
                    match joined.last_mut() {
                        Some((start, long)) if *start + *long == at => *long += length,
                        _ => joined.push((at, length)),
                    }
                }
                let long = |(at, length): &(u64, u64)| (at * BLOCK, *length);
                let expected: Vec<_> = expected.iter().map(long).collect();
                if buffer % BLOCK_BYTES == 0 {
                    assert_eq!(joined, expected, "{blocks:?} through {buffer}");
                }
            }
        };
        check(&[], b"", &[]);
        check(&[], b"short", &[]);
        check(&[], &[0; 100], &[(0, 100)]);
        check(&[0, 0, 0], b"", &[(0, 3 * BLOCK)]);
        check(&[1, 0, 2], b"", &[(1, BLOCK)]);
        check(&[0, 1, 1, 0], &[0; 512], &[(0, BLOCK), (3, BLOCK + 512)]);
        check(&[7, 7], &[0, 0, 1], &[]);
    }
}
