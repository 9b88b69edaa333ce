//! The names in a folder, in byte order.

use std::ops::Range;

use rustix::fd::AsFd;
use rustix::fs::RawDir;
use rustix::io;

/// How much one `getdents` call may bring, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The names in a folder, sorted. It costs the names' bytes and 16 bytes each: a folder of a
/// million entries takes some 40 MB until it is left.
pub(crate) struct Listing {
    bytes: Vec<u8>,
    names: Vec<Range<usize>>,
}

impl Listing {
    /// Reads and sorts all names. What was read before an error is kept with it.
    pub(crate) fn read(folder: impl AsFd) -> (Self, io::Result<()>) {
        let mut listing = Self { bytes: Vec::new(), names: Vec::new() };
        let outcome = listing.fill(folder);
        let bytes = &listing.bytes;
        listing.names.sort_unstable_by(|a, b| bytes.get(a.clone()).cmp(&bytes.get(b.clone())));
        (listing, outcome)
    }

    fn fill(&mut self, folder: impl AsFd) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(name);
                self.names.push(start..self.bytes.len());
            }
        }
        Ok(())
    }

    /// The name at `position`.
    pub(crate) fn name(&self, position: usize) -> Option<&[u8]> {
        self.bytes.get(self.names.get(position)?.clone())
    }

    /// Whether the folder holds `name`.
    pub(crate) fn holds(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|range| self.bytes.get(range.clone()).cmp(&Some(name))).is_ok()
    }

    /// Every name, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    /// Forgets every name but `name`.
    pub(crate) fn keep_only(&mut self, name: &[u8]) {
        let bytes = &self.bytes;
        self.names.retain(|range| bytes.get(range.clone()) == Some(name));
    }
}
