//! Chunks that a restore wants again, read back from the files that it has put in place: copies of a
//! file lie anywhere in a tree, and what is kept of them in memory must not grow with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use custody_entries::PlacedFiles;

use crate::chunk::ChunkName;
use crate::read::locked;

/// Most chunks whose place is remembered, some 40 bytes each.
pub(super) const CHUNKS_MAX: usize = 1 << 18;
/// Most bytes of paths remembered.
const PATH_BYTES_MAX: usize = 8 << 20;

/// Where chunks that are wanted again stand.
pub(super) struct Placed {
    /// None if the target cannot be read.
    files: Option<Arc<dyn PlacedFiles>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    paths: Vec<Box<[u8]>>,
    path_bytes: usize,
    /// Path and offset, by what a chunk's name begins with.
    places: HashMap<u64, (u32, u64)>,
}

impl Placed {
    pub(super) fn new(files: Option<Arc<dyn PlacedFiles>>) -> Self {
        Self { files, known: Mutex::default() }
    }

    /// Whether it is of use to note where chunks are written.
    pub(super) fn can_be_read(&self) -> bool {
        self.files.is_some()
    }

    /// A file stands at `path`, with these chunks at these offsets. What there is no room for is
    /// read from its pack again.
    pub(super) fn add(&self, path: &[u8], chunks: &[(ChunkName, u64)]) {
        let mut known = locked(&self.known);
        let known = &mut *known;
        let Ok(number) = u32::try_from(known.paths.len()) else { return };
        if chunks.is_empty() || known.path_bytes + path.len() > PATH_BYTES_MAX {
            return;
        }
        let mut is_new = false;
        for (name, offset) in chunks {
            if known.places.len() < CHUNKS_MAX
                && let Entry::Vacant(place) = known.places.entry(name.begin())
            {
                place.insert((number, *offset));
                is_new = true;
            }
        }
        if is_new {
            known.path_bytes += path.len();
            known.paths.push(path.into());
        }
    }

    /// What stands where the chunk was written, which may be something else by now.
    pub(super) fn read(&self, name: &ChunkName, length: u64) -> Option<Vec<u8>> {
        let files = self.files.as_ref()?;
        let (path, offset) = {
            let known = locked(&self.known);
            let (number, offset) = *known.places.get(&name.begin())?;
            (known.paths.get(number as usize)?.clone(), offset)
        };
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        files.read(&path, offset, &mut bytes).then_some(bytes)
    }
}
