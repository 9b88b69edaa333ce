//! What lies beside chunks that were found: a source that holds one chunk of a pack mostly holds
//! the next ones too.

use std::collections::{HashMap, VecDeque};

use super::Place;
use crate::chunk::ChunkName;

/// Chunks that are kept, of the packs met last: what fills a table of 65,536 places to the brim.
const CHUNKS_MAX: usize = 7 << 13;
/// What they take: each its place and its share of one that is free, and its name once more.
pub(super) const BYTES_MAX: usize =
    (8 << 13) * (size_of::<(ChunkName, (Place, u32))>() + 1) + CHUNKS_MAX * size_of::<ChunkName>();

/// Packs that are remembered.
const PACKS_MAX: usize = 1_024;

/// The chunks of the packs that were met last.
#[derive(Default)]
pub(super) struct Near {
    /// Each with the number of its pack.
    places: HashMap<ChunkName, (Place, u32)>,
    /// Each pack with its chunks, the one met first at the front.
    packs: VecDeque<(u32, Vec<ChunkName>)>,
}

impl Near {
    /// Where a chunk is, and the number of its pack.
    pub(super) fn find(&self, name: &ChunkName) -> Option<(Place, u32)> {
        self.places.get(name).copied()
    }

    pub(super) fn holds(&self, pack: u32) -> bool {
        self.packs.iter().any(|(known, _)| *known == pack)
    }

    /// Keeps the chunks of a pack; those met first give way. Of a pack of too many chunks it keeps
    /// that it was met alone, so that its long directory is not read for each of them.
    pub(super) fn keep(&mut self, pack: u32, mut places: Vec<Place>) {
        if self.holds(pack) {
            return;
        }
        if places.len() > CHUNKS_MAX {
            places.clear();
        }
        if self.packs.len() >= PACKS_MAX {
            self.forget_first();
        }
        while self.places.len() + places.len() > CHUNKS_MAX {
            if !self.forget_first() {
                break;
            }
        }
        self.packs.push_back((pack, places.iter().map(|place| place.name).collect()));
        self.places.extend(places.into_iter().map(|place| (place.name, (place, pack))));
    }

    /// Whether there was a pack to forget.
    fn forget_first(&mut self) -> bool {
        let Some((_, names)) = self.packs.pop_front() else { return false };
        for name in names {
            self.places.remove(&name);
        }
        true
    }
}
