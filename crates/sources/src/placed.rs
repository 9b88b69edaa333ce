//! Reading back what a restore has put in place.

use std::sync::Arc;

use custody_entries::PlacedFiles;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::reading::fill;
use crate::status::Status;

/// Files below the top of a target.
pub(crate) struct PlacedBelow(pub(crate) Arc<OwnedFd>);

impl PlacedFiles for PlacedBelow {
    /// Follows no link, waits for no pipe and leaves no trace in the access time. A kernel or file
    /// system that cannot do all that reads nothing back.
    fn read(&self, path: &[u8], offset: u64, room: &mut [u8]) -> bool {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOATIME;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = openat2(&*self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), below);
        let Ok(file) = opened else { return false };
        let is_file = Status::of_open(&file).is_ok_and(|status| status.kind.is_file());
        is_file && fill(&file, offset, room) == room.len()
    }
}
