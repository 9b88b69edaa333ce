//! The names in a folder, in byte order.

use std::ops::Range;

use rustix::fd::AsFd;
use rustix::fs::{FileType, RawDir};
use rustix::io;

/// How much one `getdents` call may bring, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The names in a folder, sorted. It costs the names' bytes and 16 bytes each: a folder of a
/// million entries takes some 40 MB until it is left.
#[derive(Default)]
pub(crate) struct Listing {
    bytes: Vec<u8>,
    names: Vec<Name>,
}

struct Name {
    bytes: Range<usize>,
    /// Whether the folder says that this is a folder; not every file system does.
    is_folder: bool,
}

impl Listing {
    /// Reads and sorts all names. What was read before an error is kept with it.
    pub(crate) fn read(folder: impl AsFd) -> (Self, io::Result<()>) {
        let mut listing = Self::default();
        let outcome = listing.fill(folder);
        let bytes = &listing.bytes;
        let of = |name: &Name| bytes.get(name.bytes.clone());
        listing.names.sort_unstable_by(|a, b| of(a).cmp(&of(b)));
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
                let is_folder = entry.file_type() == FileType::Directory;
                self.names.push(Name { bytes: start..self.bytes.len(), is_folder });
            }
        }
        Ok(())
    }

    /// The name at `position`.
    pub(crate) fn name(&self, position: usize) -> Option<&[u8]> {
        self.bytes.get(self.names.get(position)?.bytes.clone())
    }

    /// Whether the folder says that the name at `position` is a folder's. None if there is none.
    pub(crate) fn is_folder(&self, position: usize) -> Option<bool> {
        self.names.get(position).map(|name| name.is_folder)
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the folder holds `name`.
    pub(crate) fn holds(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|it| self.bytes.get(it.bytes.clone()).cmp(&Some(name))).is_ok()
    }

    /// Every name, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().filter_map(|name| self.bytes.get(name.bytes.clone()))
    }

    /// Forgets every name but `name`.
    pub(crate) fn keep_only(&mut self, name: &[u8]) {
        let bytes = &self.bytes;
        self.names.retain(|kept| bytes.get(kept.bytes.clone()) == Some(name));
    }
}
