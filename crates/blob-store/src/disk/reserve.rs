//! Room kept back on the disk, so that what frees room can be done when there is none: forgetting
//! and pruning write to the log before anything is deleted.

use rustix::io::Errno;

use super::DiskStore;
use super::failure::failed;
use super::files::{Files, uninterrupted};
use crate::StoreError;

/// The file that holds the room: a name no object can have.
const RESERVE: &str = ".reserve";

/// How much, in bytes: log entries that doom some fifty thousand packs.
const RESERVE_BYTES: u64 = 4 << 20;

impl<F: Files> DiskStore<F> {
    /// Keeps room back if none is and the disk has any and can.
    pub(super) fn make_reserve(&self) {
        let Ok(file) = self.files.create_file(&self.root, RESERVE) else { return };
        let reserved = uninterrupted(|| self.files.reserve(&file, RESERVE_BYTES));
        if reserved.is_err() {
            let _ = self.files.unlink(&self.root, RESERVE);
        }
    }

    /// Gives the room free; whether there was any.
    pub(super) fn give_reserve(&self) -> Result<bool, StoreError> {
        match uninterrupted(|| self.files.unlink(&self.root, RESERVE)) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed("delete", RESERVE, errno)),
        }
    }
}
