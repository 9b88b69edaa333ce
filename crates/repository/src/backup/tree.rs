//! The folders whose entries are still being read.

use std::sync::{Arc, Mutex};

use custody_entries::Entry;

use crate::listing::Node;
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
    nodes: Vec<Option<Node>>,
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
        state.nodes.push(None);
        state.open += 1;
        state.nodes.len() - 1
    }

    /// Adds an entry that is complete.
    pub(super) fn add(&self, node: Node) {
        locked(&self.state).nodes.push(Some(node));
    }

    /// Fills a place in, with nothing if the entry is left out. True if the folder is complete.
    pub(super) fn fill(&self, place: usize, node: Option<Node>) -> bool {
        let mut state = locked(&self.state);
        if let Some(slot) = state.nodes.get_mut(place) {
            *slot = node;
        }
        state.close_one()
    }

    /// The walk leaves the folder. True if it is complete.
    pub(super) fn leave(&self) -> bool {
        locked(&self.state).close_one()
    }

    /// The entries of a complete folder, in the order that the format asks for.
    pub(super) fn take_nodes(&self) -> Vec<Node> {
        let slots = std::mem::take(&mut locked(&self.state).nodes);
        let mut nodes: Vec<Node> = slots.into_iter().flatten().collect();
        nodes.sort_by(|one, other| one.entry.name.cmp(&other.entry.name));
        nodes.dedup_by(|later, first| later.entry.name == first.entry.name);
        nodes
    }
}

impl State {
    fn new() -> Mutex<Self> {
        Mutex::new(Self { nodes: Vec::new(), open: 1 })
    }

    fn close_one(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }
}
