//! The folders whose entries are still being read.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use custody_entries::Entry;

use crate::RepositoryError;
use crate::listing::{self, Node};
use crate::read::locked;

/// A folder being read. Its entries are filled in by many threads in any order; whoever fills in
/// the last one, after the walk left it, stores its listing.
pub(super) struct Folder {
    /// The folder it lies in and its place there; none for the point's root.
    pub(super) up: Option<(Arc<Folder>, usize)>,
    /// The folder itself; none for the point's root, which is no entry.
    pub(super) entry: Option<Entry>,
    state: Mutex<State>,
}

struct State {
    /// The entries that are filled in, encoded: a folder may have very many.
    bytes: Vec<u8>,
    /// Where each is; none if it is not filled in, or left out.
    places: Vec<Option<Range<usize>>>,
    /// Places not filled in yet, plus one while the walk is in the folder.
    open: usize,
}

impl Folder {
    pub(super) fn root() -> Arc<Self> {
        Arc::new(Self { up: None, entry: None, state: State::new() })
    }

    /// A folder within `up`, where it takes a place.
    pub(super) fn within(up: &Arc<Self>, entry: Entry) -> Arc<Self> {
        let place = up.reserve();
        Arc::new(Self {
            up: Some((Arc::clone(up), place)),
            entry: Some(entry),
            state: State::new(),
        })
    }

    /// Its path in the point.
    pub(super) fn path(&self) -> Vec<u8> {
        let (mut names, mut at) = (Vec::new(), Some(self));
        while let Some(folder) = at {
            names.extend(folder.entry.as_ref().map(|entry| entry.name.as_bytes()));
            at = folder.up.as_ref().map(|(up, _)| &**up);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Takes a place that is filled in later.
    pub(super) fn reserve(&self) -> usize {
        let mut state = locked(&self.state);
        state.places.push(None);
        state.open += 1;
        state.places.len() - 1
    }

    /// Adds an entry that is complete.
    pub(super) fn add(&self, node: &Node) -> Result<(), RepositoryError> {
        let mut state = locked(&self.state);
        let place = state.encode(node)?;
        state.places.push(Some(place));
        Ok(())
    }

    /// Fills a place in, with nothing if the entry is left out. True if the folder is complete.
    pub(super) fn fill(&self, place: usize, node: Option<&Node>) -> Result<bool, RepositoryError> {
        let mut state = locked(&self.state);
        let encoded = node.map(|node| state.encode(node)).transpose()?;
        if let Some(slot) = state.places.get_mut(place) {
            *slot = encoded;
        }
        Ok(state.close_one())
    }

    /// The walk leaves the folder. True if it is complete.
    pub(super) fn leave(&self) -> bool {
        locked(&self.state).close_one()
    }

    /// The listing of a complete folder, and how many entries it has. Of entries with one name the
    /// first counts.
    pub(super) fn take_listing(&self) -> Result<(Vec<u8>, usize), RepositoryError> {
        let (bytes, places) = {
            let mut state = locked(&self.state);
            (std::mem::take(&mut state.bytes), std::mem::take(&mut state.places))
        };
        let mut entries = Vec::with_capacity(places.len());
        for place in places.into_iter().flatten() {
            let entry = bytes.get(place).unwrap_or_default();
            entries.push((listing::name_in(entry)?, entry));
        }
        entries.sort_by_key(|(name, _)| *name);
        entries.dedup_by_key(|(name, _)| *name);
        let count = entries.len();
        let sorted: Vec<&[u8]> = entries.into_iter().map(|(_, entry)| entry).collect();
        Ok((sorted.concat(), count))
    }
}

impl State {
    fn new() -> Mutex<Self> {
        Mutex::new(Self { bytes: Vec::new(), places: Vec::new(), open: 1 })
    }

    fn encode(&mut self, node: &Node) -> Result<Range<usize>, RepositoryError> {
        let start = self.bytes.len();
        listing::encode_node(node, &mut self.bytes)?;
        Ok(start..self.bytes.len())
    }

    fn close_one(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }
}
