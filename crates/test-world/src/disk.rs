//! A disk in memory, under a store's files: it records what is done to it, tells which states a
//! power loss may leave, fills up, and fails when told to.

mod calls;
mod crash;
mod fault;
mod image;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_blob_store::disk::{Errno, Found, FoundKind};

pub use crash::{CrashStates, Recording};
pub use fault::{Call, DiskFault, Trouble};
pub use image::Image;

use image::{Content, Node};

/// Number of the inode of the top folder.
const TOP: usize = 0;

/// A disk. Copies are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    recorded: Option<Recording>,
    /// Every call so far.
    calls: Vec<Call>,
    fault: Option<DiskFault>,
    /// Bytes that all files may take together.
    capacity: Option<u64>,
}

impl Default for State {
    fn default() -> Self {
        let inodes = vec![Inode::folder()];
        Self { inodes, recorded: None, calls: Vec::new(), fault: None, capacity: None }
    }
}

#[derive(Clone, Debug)]
struct Inode {
    /// A folder has none.
    bytes: Option<Vec<u8>>,
    names: BTreeMap<String, usize>,
    links: u64,
    is_locked: bool,
    /// Room kept for it beyond its bytes.
    reserved: u64,
}

impl Inode {
    fn folder() -> Self {
        Self { bytes: None, names: BTreeMap::new(), links: 1, is_locked: false, reserved: 0 }
    }

    fn file(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes), ..Self::folder() }
    }
}

/// A change, as the disk was told of it.
#[derive(Clone, Debug)]
enum Step {
    /// A new file.
    File(usize),
    /// A new folder.
    Folder(usize),
    /// A name now leads to an inode, or to nothing.
    Name {
        folder: usize,
        leaf: String,
        to: Option<usize>,
    },
    Write {
        file: usize,
        bytes: Vec<u8>,
    },
    SyncFile(usize),
    SyncFolder(usize),
    /// A sync that failed: what it was about is lost with the next crash, whatever later syncs say.
    Lost(usize),
    /// A word of the test's own, between two changes.
    Mark(String),
}

/// An open folder.
#[derive(Debug)]
pub struct OpenFolder(usize);

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    disk: SimulatedDisk,
    inode: usize,
    holds_lock: Mutex<bool>,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let holds_lock = *self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if holds_lock && let Some(inode) = self.disk.state().inodes.get_mut(self.inode) {
            inode.is_locked = false;
        }
    }
}

impl SimulatedDisk {
    /// A disk that holds what an image does, all of it durable.
    pub fn of(image: &Image) -> Self {
        let disk = Self::default();
        for (path, node) in image.nodes() {
            disk.state().put(path, node);
        }
        disk
    }

    /// The top folder.
    pub fn top(&self) -> OpenFolder {
        OpenFolder(TOP)
    }

    /// All that stands on it now.
    pub fn image(&self) -> Image {
        let state = self.state();
        let mut image = Image::default();
        let mut folders = vec![(String::new(), TOP)];
        while let Some((path, folder)) = folders.pop() {
            let names = state.inodes.get(folder).map(|inode| &inode.names);
            for (leaf, inode) in names.into_iter().flatten() {
                let path = format!("{path}{leaf}");
                let bytes = state.inodes.get(*inode).and_then(|inode| inode.bytes.as_ref());
                if let Some(bytes) = bytes {
                    image.put(path, Node::File(Content::new(bytes.clone())));
                } else {
                    folders.push((format!("{path}/"), *inode));
                    image.put(path, Node::Folder);
                }
            }
        }
        image
    }

    /// From now on every change is recorded; what stands now counts as durable.
    pub fn record(&self) {
        let mut state = self.state();
        state.recorded = Some(Recording::of(state.inodes.clone()));
    }

    /// Puts a word between the changes that are recorded.
    pub fn mark(&self, word: impl Into<String>) {
        self.state().take_down(Step::Mark(word.into()));
    }

    /// Ends the recording.
    pub fn recording(&self) -> Recording {
        self.state().recorded.take().unwrap_or_default()
    }

    /// Plans a fault in place of any planned before; its call is counted from now.
    pub fn plan(&self, fault: DiskFault) {
        let mut state = self.state();
        state.calls.clear();
        state.fault = Some(fault);
    }

    /// Everything goes well again.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// The calls made since the last plan, or since ever.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Bytes that all files take now.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// How many bytes all files may take together from now on; `None` for any.
    pub fn limit(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, inode: usize) -> OpenFile {
        OpenFile { disk: self.clone(), inode, holds_lock: Mutex::new(false) }
    }
}

impl State {
    fn take_down(&mut self, step: Step) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(step);
        }
    }

    fn put(&mut self, path: &str, node: &Node) {
        let mut folder = TOP;
        let (parents, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        for segment in parents.split('/').filter(|segment| !segment.is_empty()) {
            folder = match self.inode(folder, segment) {
                Ok(inode) => inode,
                Err(_) => self.add(folder, segment, Inode::folder()),
            };
        }
        match (node, self.inode(folder, leaf)) {
            (Node::Folder, Ok(_)) => {}
            (Node::Folder, Err(_)) => drop(self.add(folder, leaf, Inode::folder())),
            (Node::File(content), _) => {
                self.add(folder, leaf, Inode::file(content.bytes().to_vec()));
            }
        }
    }

    fn add(&mut self, folder: usize, leaf: &str, inode: Inode) -> usize {
        let number = self.inodes.len();
        self.inodes.push(inode);
        if let Some(parent) = self.inodes.get_mut(folder) {
            parent.names.insert(leaf.to_owned(), number);
        }
        number
    }

    fn inode(&self, folder: usize, leaf: &str) -> Result<usize, Errno> {
        let names = self.inodes.get(folder).map(|inode| &inode.names).ok_or(Errno::STALE)?;
        names.get(leaf).copied().ok_or(Errno::NOENT)
    }

    fn found(&self, inode: usize) -> Result<Found, Errno> {
        let inode = self.inodes.get(inode).ok_or(Errno::STALE)?;
        let kind = if inode.bytes.is_some() { FoundKind::File } else { FoundKind::Folder };
        let length = inode.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(Found { kind, length, links: inode.links })
    }

    /// Makes a name lead to an inode or to nothing, and tells of it.
    fn name(&mut self, folder: usize, leaf: &str, to: Option<usize>) {
        let before = self.inode(folder, leaf).ok();
        if let Some(names) = self.inodes.get_mut(folder).map(|inode| &mut inode.names) {
            match to {
                Some(to) => drop(names.insert(leaf.to_owned(), to)),
                None => drop(names.remove(leaf)),
            }
        }
        if let Some(inode) = before.and_then(|inode| self.inodes.get_mut(inode)) {
            inode.links = inode.links.saturating_sub(1);
        }
        self.take_down(Step::Name { folder, leaf: leaf.to_owned(), to });
    }

    /// Bytes of all files that still have a name.
    fn used(&self) -> u64 {
        let living = self.inodes.iter().filter(|inode| inode.links > 0);
        let bytes = |inode: &Inode| inode.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        living.map(|inode| bytes(inode) + inode.reserved).sum()
    }

    /// How many of `wanted` bytes there is room for.
    fn room(&self, wanted: usize) -> usize {
        let left = self.capacity.map_or(u64::MAX, |all| all.saturating_sub(self.used()));
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }

    /// Takes down a call and says what is wrong with it.
    fn call(&mut self, call: Call) -> Result<bool, Errno> {
        let number = self.calls.len();
        self.calls.push(call);
        self.fault.as_ref().map_or(Ok(false), |fault| fault.strike(number, call))
    }
}
