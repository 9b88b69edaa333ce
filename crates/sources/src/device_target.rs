//! A block device as the target of a restore: one image is written onto it, as far as it differs.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use custody_entries::{
    Entry, EntryKind, FilePlace, FileWriter, Judge, Landing, Target, TargetError, Warning,
    display_path,
};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom, fsync, openat, seek};
use rustix::io::{self, Errno};

use crate::error::{ends_restore, reason, target_code};
use crate::reading::{clear, fill, write_all};
use crate::status::Status;
use crate::tally::Tally;

/// Parts that may be wrong, beyond those that were right, until nothing is compared any more but
/// only written.
const MISSES_MAX: i32 = 256;

/// A block device that a restore writes one image onto. What lies beyond the image's end stays.
pub struct DeviceTarget {
    device: Arc<Device>,
    tally: Tally,
    is_taken: bool,
}

struct Device {
    descriptor: OwnedFd,
    size_bytes: u64,
    path: Vec<u8>,
}

impl DeviceTarget {
    /// Opens the block device at `path` for this restore alone.
    ///
    /// # Errors
    /// `TargetDeviceUnfit` if it is no block device, or is mounted or otherwise in use;
    /// `TargetRefused` if it cannot be written to.
    pub fn open(path: &Path) -> Result<Self, TargetError> {
        let shown = display_path(path.as_os_str().as_bytes());
        let unfit = |why: &str| TargetError {
            code: target_code::DEVICE_UNFIT,
            message: format!("{shown} {why}"),
        };
        let open = || -> io::Result<(OwnedFd, FileType, u64)> {
            let looked_at = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let kind = Status::of_open(&looked_at)?.kind;
            if kind != FileType::BlockDevice {
                return Ok((looked_at, kind, 0));
            }
            let flags = OFlags::RDWR | OFlags::EXCL | OFlags::NOCTTY | OFlags::CLOEXEC;
            let descriptor = openat(CWD, path, flags, Mode::empty())?;
            let kind = Status::of_open(&descriptor)?.kind;
            let size = seek(&descriptor, SeekFrom::End(0))?;
            Ok((descriptor, kind, size))
        };
        match open() {
            Ok((descriptor, FileType::BlockDevice, size)) => {
                Ok(Self::over(descriptor, size, path.as_os_str().as_bytes()))
            }
            Ok(_) => Err(unfit("is no block device")),
            Err(Errno::BUSY) => Err(unfit("is mounted or otherwise in use")),
            Err(errno) => Err(TargetError {
                code: target_code::REFUSED,
                message: format!("cannot restore to {shown}: {}", reason(errno)),
            }),
        }
    }

    fn over(descriptor: OwnedFd, size_bytes: u64, path: &[u8]) -> Self {
        let device = Arc::new(Device { descriptor, size_bytes, path: path.to_vec() });
        Self { device, tally: Tally::default(), is_taken: false }
    }

    /// Waits until everything restored is on the device.
    ///
    /// # Errors
    /// `TargetFull` or `TargetFailed` if the device did not take it.
    pub fn sync(&self) -> Result<(), TargetError> {
        self.device.sync()
    }

    fn refuse(&self, entry: &Entry, message: &str) {
        let path = || entry.name.as_bytes().to_vec();
        self.tally.keep(self.tally.note(target_code::ENTRY_REFUSED, path, message.to_owned()));
    }
}

impl Device {
    fn sync(&self) -> Result<(), TargetError> {
        fsync(&self.descriptor).map_err(|errno| self.failed(errno))
    }

    fn failed(&self, errno: Errno) -> TargetError {
        let message = format!("cannot write {}: {}", display_path(&self.path), reason(errno));
        let failed = TargetError { code: target_code::FAILED, message };
        ends_restore(errno, &self.path).err().unwrap_or(failed)
    }
}

impl Target for DeviceTarget {
    fn folder(&mut self, folder: &Entry) -> Result<Landing, TargetError> {
        self.refuse(folder, "a folder cannot be restored onto a device");
        Ok(Landing::Skipped)
    }

    fn leave(&mut self) -> Result<(), TargetError> {
        Ok(())
    }

    fn file(&mut self, file: &Entry) -> Result<FilePlace, TargetError> {
        let EntryKind::File { size } = file.kind else {
            self.refuse(file, "only a file can be restored onto a device");
            return Ok(FilePlace::Refused);
        };
        if std::mem::replace(&mut self.is_taken, true) {
            let message = "there is more than one file, and one device: name one with --path";
            return Err(TargetError {
                code: target_code::DEVICE_UNFIT,
                message: message.to_owned(),
            });
        }
        if size > self.device.size_bytes {
            let message = format!(
                "the image has {size} bytes and {} only {}",
                display_path(&self.device.path),
                self.device.size_bytes
            );
            return Err(TargetError { code: target_code::DEVICE_UNFIT, message });
        }
        let device = Arc::clone(&self.device);
        let writer = DeviceWriter { device, buffer: Vec::new(), balance: MISSES_MAX };
        Ok(FilePlace::Replaced(Box::new(writer)))
    }

    fn hard_link(&mut self, entry: &Entry, _earlier: &[u8]) -> Result<Landing, TargetError> {
        self.refuse(entry, "a link cannot be restored onto a device");
        Ok(Landing::Skipped)
    }

    fn other(&mut self, entry: &Entry) -> Result<Landing, TargetError> {
        self.refuse(entry, "only a file can be restored onto a device");
        Ok(Landing::Skipped)
    }

    fn take_warnings(&mut self) -> Vec<Warning> {
        self.tally.take()
    }
}

/// An image on its way onto the device. What of it was written stays if the restore ends early.
struct DeviceWriter {
    device: Arc<Device>,
    buffer: Vec<u8>,
    /// Parts that were right, less those that were wrong.
    balance: i32,
}

impl FileWriter for DeviceWriter {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let written = write_all(&self.device.descriptor, offset, bytes);
        written.map_err(|errno| self.device.failed(errno))
    }

    fn take_over(
        &mut self,
        offset: u64,
        length: usize,
        is_right: &mut Judge<'_>,
    ) -> Result<bool, TargetError> {
        if self.balance <= 0 {
            return Ok(false);
        }
        self.buffer.resize(length, 0);
        let has_all = fill(&self.device.descriptor, offset, &mut self.buffer) == length;
        let is_there = has_all && is_right(&self.buffer);
        self.balance = self.balance.saturating_add(if is_there { 1 } else { -1 });
        Ok(is_there)
    }

    fn hole(&mut self, offset: u64, length: u64) -> Result<(), TargetError> {
        clear(&self.device.descriptor, offset, length).map_err(|errno| self.device.failed(errno))
    }

    fn finish(self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        self.device.sync().map(|()| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    use custody_entries::{EntryName, Metadata};

    use super::*;

    fn entry(name: &str, kind: EntryKind) -> Entry {
        Entry { name: EntryName::new(name).unwrap(), kind, metadata: Metadata::default() }
    }

    /// A device of 300,000 bytes that holds what a former owner left.
    fn device() -> (File, DeviceTarget) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0xee; 300_000]).unwrap();
        let descriptor = file.try_clone().unwrap().into();
        (file, DeviceTarget::over(descriptor, 300_000, b"/dev/sdx"))
    }

    #[test]
    fn an_image_is_written_with_its_holes_and_what_lies_beyond_it_stays() {
        let (mut file, mut target) = device();
        let image = entry("sdx", EntryKind::File { size: 200_000 });
        let FilePlace::Replaced(mut writer) = target.file(&image).unwrap() else { panic!() };
        writer.write_at(0, &vec![1; 65_536]).unwrap();
        writer.hole(65_536, 100_000).unwrap();
        writer.write_at(165_536, &vec![2; 34_464]).unwrap();
        assert!(writer.take_over(0, 65_536, &mut |bytes| bytes == vec![1; 65_536]).unwrap());
        assert!(!writer.take_over(0, 65_536, &mut |bytes| bytes == vec![3; 65_536]).unwrap());
        assert_eq!(writer.finish().unwrap(), []);
        target.sync().unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let parts = [vec![1; 65_536], vec![0; 100_000], vec![2; 34_464], vec![0xee; 100_000]];
        assert!(bytes == parts.concat());
    }

    #[test]
    fn only_one_image_that_fits_is_taken() {
        let (_file, mut target) = device();
        let check = |target: &mut DeviceTarget, size, expected| {
            let file = entry("sdx", EntryKind::File { size });
            let code = target.file(&file).err().map(|error| error.code);
            assert_eq!(code, expected, "{size}");
        };
        assert_eq!(target.folder(&entry("a", EntryKind::Folder)).unwrap(), Landing::Skipped);
        assert_eq!(target.other(&entry("b", EntryKind::Fifo)).unwrap(), Landing::Skipped);
        let codes: Vec<_> = target.take_warnings().iter().map(|it| it.code).collect();
        assert_eq!(codes, ["TargetEntryRefused"; 2]);
        check(&mut target, 300_000, None);
        check(&mut target, 1, Some("TargetDeviceUnfit"));
        let (_file, mut target) = device();
        check(&mut target, 300_001, Some("TargetDeviceUnfit"));
        let unfit = DeviceTarget::open(Path::new("/dev/null")).err().unwrap();
        assert_eq!(unfit.code, "TargetDeviceUnfit", "{unfit}");
    }
}
