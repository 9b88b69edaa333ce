//! Blocks kept back, so that what frees space can still be recorded on a full disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::disk::Disk;

/// What is kept back, in bytes: some thousands of records.
pub(crate) const RESERVE_BYTES: u64 = 1 << 20;

/// What is given back at once, in bytes: room for the longest record with its notes.
const STEP_BYTES: u64 = 128 << 10;

/// The reserve is made again when so many of it would fit.
const ROOM_FACTOR: u64 = 4;

/// The file that holds the blocks. All calls are made under the ledger's lock.
pub(crate) struct Reserve {
    folder: PathBuf,
    whole: bool,
}

impl Reserve {
    /// The reserve in this folder, whatever its state.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), whole: false }
    }

    /// Gives some blocks back to the file system; `false` if none are left.
    pub(crate) fn release(&mut self) -> io::Result<bool> {
        self.whole = false;
        let file = self.open()?;
        let length_bytes = file.metadata()?.len();
        file.set_len(length_bytes.saturating_sub(STEP_BYTES))?;
        file.sync_all()?;
        Ok(length_bytes > 0)
    }

    /// Makes the reserve whole if it is not and there is room. That it cannot be is no fault.
    pub(crate) fn refill(&mut self, disk: &dyn Disk) {
        if !self.whole {
            self.whole = self.try_refill(disk).unwrap_or(false);
        }
    }

    fn try_refill(&self, disk: &dyn Disk) -> io::Result<bool> {
        let file = self.open()?;
        if file.metadata()?.len() >= RESERVE_BYTES {
            return Ok(true);
        }
        if disk.free_bytes(&self.folder)? < ROOM_FACTOR * RESERVE_BYTES {
            return Ok(false);
        }
        disk.allocate(&file, RESERVE_BYTES)?;
        Ok(true)
    }

    fn open(&self) -> io::Result<File> {
        let path = self.folder.join("reserve");
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use custody_test_world::FixedClock;
    use serde_json::json;

    use super::*;
    use crate::{Importance, Ledger, LedgerError, Order, verify};

    /// A disk that holds so many bytes for all files of one folder.
    struct SmallDisk {
        folder: PathBuf,
        capacity_bytes: u64,
    }

    impl SmallDisk {
        fn used_bytes(&self) -> u64 {
            let files = fs::read_dir(&self.folder).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
        }
    }

    impl Disk for SmallDisk {
        fn write_tail(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let free = self.free_bytes(&self.folder)?;
            if free < bytes.len() as u64 {
                file.write_all_at(&bytes[..usize::try_from(free).unwrap()], offset)?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.write_all_at(bytes, offset)
        }

        fn allocate(&self, file: &File, length_bytes: u64) -> io::Result<()> {
            file.set_len(length_bytes)
        }

        fn free_bytes(&self, _: &Path) -> io::Result<u64> {
            Ok(self.capacity_bytes - self.used_bytes())
        }
    }

    /// A ledger on a disk on which, once a ballast file is written, 1,500 bytes are left.
    fn nearly_full(folder: &Path) -> Ledger {
        let capacity_bytes = 8 * RESERVE_BYTES;
        let disk = SmallDisk { folder: folder.to_owned(), capacity_bytes };
        let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
        let disk: Box<dyn Disk> = Box::new(disk);
        let ledger = Ledger::open_on(disk, folder, None, clock).unwrap();
        assert_eq!(fs::metadata(folder.join("reserve")).unwrap().len(), RESERVE_BYTES);
        let ballast = File::create(folder.join("ballast")).unwrap();
        ballast.set_len(capacity_bytes - RESERVE_BYTES - 1_500).unwrap();
        ledger
    }

    fn fill(ledger: &Ledger, importance: Importance) -> (u64, LedgerError) {
        let record = json!({ "operation": "prune", "padding": "x".repeat(600) });
        let mut appended = 0;
        loop {
            match ledger.append(&record, importance) {
                Ok(_) => appended += 1,
                Err(error) => return (appended, error),
            }
        }
    }

    #[test]
    fn on_a_full_disk_only_what_is_essential_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = nearly_full(folder.path());

        let (ordinary, error) = fill(&ledger, Importance::Ordinary);
        assert_eq!((ordinary, error.code()), (1, "LedgerFull"));
        let (essential, error) = fill(&ledger, Importance::Essential);
        assert!(essential > 1_000, "the reserve was good for {essential} records");
        assert_eq!(error.code(), "LedgerFull");

        // What failed left nothing behind, and all that was accepted stands.
        let report = verify(folder.path(), None).unwrap();
        assert!(report.passed() && report.unfinished_bytes == 0, "{report:?}");
        let entries = ledger.read(Order::OldestFirst).unwrap().map(Result::unwrap);
        let records = entries.filter(|entry| entry.record().is_some()).count();
        assert_eq!(records as u64, ordinary + essential);
    }

    #[test]
    fn the_reserve_is_made_again_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = nearly_full(folder.path());
        fill(&ledger, Importance::Essential);
        let reserve = || fs::metadata(folder.path().join("reserve")).unwrap().len();
        assert_eq!(reserve(), 0);

        fs::remove_file(folder.path().join("ballast")).unwrap();
        ledger.append(&json!({}), Importance::Ordinary).unwrap();
        assert_eq!(reserve(), RESERVE_BYTES);
    }
}
