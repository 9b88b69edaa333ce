//! A tree of files in memory, as a source and as a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use custody_entries::{
    ChangedBlocks, Content, ContentReader, Entry, EntryKind, EntryName, FileIdentity, FilePlace,
    FileWriter, Flow, Landing, Metadata, Segment, Settlement, Sink, Source, SourceError, Target,
    TargetError, TimeSpec, Warning, Xattr,
};

/// A file's bytes: runs of data and holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Data(Vec<u8>),
    Hole(u64),
}

/// What stands under a path.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: EntryKind,
    pub(crate) metadata: Metadata,
    pub(crate) runs: Vec<Run>,
    /// How many readings see the file change.
    pub(crate) restless: Arc<AtomicU32>,
    pub(crate) unreadable: bool,
    /// A list of what has changed.
    pub(crate) changed: Option<ChangedBlocks>,
    pub(crate) is_device: bool,
}

/// Paths without leading slash; folders need not be named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) items: BTreeMap<String, Item>,
    /// Paths whose content was opened.
    pub(crate) opened: Arc<Mutex<BTreeSet<String>>>,
    /// Bytes of data that were read.
    pub(crate) read: Arc<AtomicU64>,
    clock: i64,
}

impl Tree {
    pub(crate) fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> &mut Item {
        self.runs(path, vec![Run::Data(bytes.into())])
    }

    pub(crate) fn runs(&mut self, path: &str, runs: Vec<Run>) -> &mut Item {
        let size = runs.iter().map(Run::length).sum();
        self.other(path, EntryKind::File { size }).runs = runs;
        self.items.get_mut(path).unwrap()
    }

    pub(crate) fn other(&mut self, path: &str, kind: EntryKind) -> &mut Item {
        self.clock += 1;
        let time = TimeSpec { seconds: self.clock, nanoseconds: 5 };
        let inode = self
            .items
            .get(path)
            .map_or(self.clock.unsigned_abs(), |item| item.metadata.identity.inode);
        let metadata = Metadata {
            mode: 0o640,
            uid: 1_000,
            gid: 100,
            user: Some(b"ada".to_vec()),
            modified: time,
            xattrs: vec![Xattr { name: b"user.note".to_vec(), value: path.as_bytes().to_vec() }],
            identity: FileIdentity { device: 1, inode, links: 1, changed: time },
            ..Metadata::default()
        };
        let item = Item {
            kind,
            metadata,
            runs: Vec::new(),
            restless: Arc::default(),
            unreadable: false,
            changed: None,
            is_device: false,
        };
        self.items.insert(path.to_owned(), item);
        self.items.get_mut(path).unwrap()
    }

    /// Another link to the file at `path`.
    pub(crate) fn link(&mut self, path: &str, link: &str) {
        let first = self.items.get_mut(path).unwrap();
        first.metadata.identity.links += 1;
        let second = first.clone();
        self.items.insert(link.to_owned(), second);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let item = self.items.remove(from).unwrap();
        self.items.insert(to.to_owned(), item);
    }

    /// What a restore of everything is to give.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.items.iter().filter(|(_, item)| !item.runs.is_empty() || item.is_file());
        files.map(|(path, item)| (path.clone(), item.bytes())).collect()
    }
}

impl Run {
    fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Hole(length) => *length,
        }
    }
}

impl Item {
    fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for run in &self.runs {
            match run {
                Run::Data(data) => bytes.extend_from_slice(data),
                Run::Hole(length) => {
                    bytes.resize(bytes.len() + usize::try_from(*length).unwrap(), 0);
                }
            }
        }
        bytes
    }
}

/// Walks a [`Tree`].
pub(crate) struct TreeSource(pub Tree);

impl Source for TreeSource {
    fn walk(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        walk(&self.0, "", sink);
        Ok(())
    }
}

fn walk(tree: &Tree, top: &str, sink: &mut dyn Sink) -> Flow {
    let mut names: BTreeSet<&[u8]> = BTreeSet::new();
    for path in tree.items.keys() {
        if let Some(rest) = path.strip_prefix(top) {
            names.insert(rest.split('/').next().unwrap().as_bytes());
        }
    }
    for name in names {
        let path = format!("{top}{}", str::from_utf8(name).unwrap());
        let named = EntryName::new(name).unwrap();
        let item = tree.items.get(&path);
        let flow = match item {
            Some(item) if item.is_file() => {
                let entry =
                    Entry { name: named, kind: item.kind.clone(), metadata: item.metadata.clone() };
                let (opened, read) = (Arc::clone(&tree.opened), Arc::clone(&tree.read));
                let content = MemoryContent { read, path, item: item.clone(), opened };
                sink.file(entry, Box::new(content))
            }
            Some(item) if item.kind != EntryKind::Folder => sink.other(Entry {
                name: named,
                kind: item.kind.clone(),
                metadata: item.metadata.clone(),
            }),
            folder => {
                let metadata = folder.map_or_else(Metadata::default, |item| item.metadata.clone());
                match sink.folder(Entry { name: named, kind: EntryKind::Folder, metadata }) {
                    Flow::Continue => match walk(tree, &format!("{path}/"), sink) {
                        Flow::Continue => sink.leave(),
                        Flow::Stop => Flow::Stop,
                    },
                    Flow::Stop => Flow::Stop,
                }
            }
        };
        if flow == Flow::Stop {
            return Flow::Stop;
        }
    }
    Flow::Continue
}

struct MemoryContent {
    read: Arc<AtomicU64>,
    path: String,
    item: Item,
    opened: Arc<Mutex<BTreeSet<String>>>,
}

impl Content for MemoryContent {
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError> {
        self.opened.lock().unwrap().insert(self.path.clone());
        if self.item.unreadable {
            return Err(SourceError { code: "SourceUnreadable", message: "permission".to_owned() });
        }
        let mut runs = self.item.runs.clone();
        runs.reverse();
        let restless = &self.item.restless;
        let changes =
            restless.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let (item, read) = (self.item.clone(), Arc::clone(&self.read));
        Ok(Box::new(MemoryReader { item, read, runs, changed: changes.is_ok() }))
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn is_device(&self) -> bool {
        self.item.is_device
    }

    fn changed(&self) -> Option<&ChangedBlocks> {
        self.item.changed.as_ref()
    }
}

struct MemoryReader {
    item: Item,
    read: Arc<AtomicU64>,
    /// What is left, the next run last.
    runs: Vec<Run>,
    changed: bool,
}

impl ContentReader for MemoryReader {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError> {
        Ok(match self.runs.pop() {
            None => Segment::End,
            Some(Run::Hole(length)) => Segment::Hole(length),
            Some(Run::Data(bytes)) if bytes.is_empty() => return self.next(buffer),
            Some(Run::Data(mut bytes)) => {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                bytes.drain(..length);
                if !bytes.is_empty() {
                    self.runs.push(Run::Data(bytes));
                }
                self.read.fetch_add(length as u64, Ordering::Relaxed);
                Segment::Data(length)
            }
        })
    }

    fn seek(&mut self, offset: u64) -> bool {
        self.runs.clear();
        let mut left = offset;
        for run in &self.item.runs {
            let skipped = left.min(run.length());
            left -= skipped;
            let rest = match run {
                Run::Hole(length) => Run::Hole(length - skipped),
                Run::Data(bytes) => Run::Data(bytes[usize::try_from(skipped).unwrap()..].to_vec()),
            };
            if rest.length() > 0 {
                self.runs.push(rest);
            }
        }
        self.runs.reverse();
        true
    }

    fn settle(&mut self) -> Result<Settlement, SourceError> {
        Ok(if self.changed { Settlement::Changed } else { Settlement::Steady })
    }
}

/// What a restore made.
#[derive(Default)]
pub(crate) struct TreeTarget {
    made: Arc<Mutex<Made>>,
    stack: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Which ranges of which file were written.
    pub(crate) written: BTreeMap<String, u64>,
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) links: BTreeMap<String, String>,
}

impl TreeTarget {
    pub(crate) fn made(&self) -> Made {
        self.made.lock().unwrap().clone()
    }

    fn path(&self, entry: &Entry) -> String {
        let mut parts = self.stack.clone();
        parts.push(String::from_utf8(entry.name.as_bytes().to_vec()).unwrap());
        parts.join("/")
    }

    fn record(&self, entry: &Entry) -> String {
        let path = self.path(entry);
        self.made.lock().unwrap().entries.insert(path.clone(), entry.clone());
        path
    }
}

impl Target for TreeTarget {
    fn folder(&mut self, folder: &Entry) -> Result<Landing, TargetError> {
        self.record(folder);
        self.stack.push(String::from_utf8(folder.name.as_bytes().to_vec()).unwrap());
        Ok(Landing::Made)
    }

    fn leave(&mut self) -> Result<(), TargetError> {
        self.stack.pop().unwrap();
        Ok(())
    }

    fn file(&mut self, file: &Entry) -> Result<FilePlace, TargetError> {
        let EntryKind::File { size } = file.kind else { panic!("no file") };
        let path = self.path(file);
        let bytes = vec![0; usize::try_from(size).unwrap()];
        let writer = MemoryWriter {
            made: Arc::clone(&self.made),
            path,
            entry: file.clone(),
            bytes,
            written: 0,
        };
        Ok(FilePlace::Free(Box::new(writer)))
    }

    fn hard_link(&mut self, entry: &Entry, earlier: &[u8]) -> Result<Landing, TargetError> {
        let path = self.record(entry);
        let earlier = String::from_utf8(earlier.to_vec()).unwrap();
        let mut made = self.made.lock().unwrap();
        let bytes = made.files.get(&earlier).expect("the first link stands").clone();
        made.files.insert(path.clone(), bytes);
        made.links.insert(path, earlier);
        Ok(Landing::Made)
    }

    fn other(&mut self, entry: &Entry) -> Result<Landing, TargetError> {
        self.record(entry);
        Ok(Landing::Made)
    }

    fn take_warnings(&mut self) -> Vec<Warning> {
        Vec::new()
    }
}

struct MemoryWriter {
    made: Arc<Mutex<Made>>,
    path: String,
    entry: Entry,
    bytes: Vec<u8>,
    written: u64,
}

impl FileWriter for MemoryWriter {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let offset = usize::try_from(offset).unwrap();
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        let mut made = self.made.lock().unwrap();
        made.files.insert(self.path.clone(), self.bytes);
        made.written.insert(self.path.clone(), self.written);
        made.entries.insert(self.path, self.entry);
        Ok(Vec::new())
    }
}

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
