//! The states that a power loss may leave of a recording.
//!
//! Bytes of a file are sure to be there once it was synced, a name once its folder was. Before
//! that POSIX promises nothing: of unsynced bytes all, none or a beginning may be there, or zeros in
//! their place; of unsynced names any may be there and any may not, a rename being two of them.

use std::collections::{BTreeMap, HashSet};

use super::image::{Content, Image, Node};
use super::{Inode, Step, TOP};

/// So many of the newest unsynced names are there or not in every combination; the older ones are
/// there or not together. Faults of file systems and programs are found with so few (CrashMonkey).
const REORDERED_MAX: usize = 3;

/// Everything that was done to a disk.
#[derive(Debug, Default)]
pub struct Recording {
    before: Vec<Inode>,
    steps: Vec<Step>,
}

/// The crash states of a recording, each with the words marked before it.
#[derive(Debug)]
pub struct CrashStates<'r> {
    steps: std::slice::Iter<'r, Step>,
    disk: Platters,
    marks: Vec<&'r str>,
    waiting: Vec<Image>,
    seen: HashSet<u64>,
}

impl Recording {
    pub(super) fn of(before: Vec<Inode>) -> Self {
        Self { before, steps: Vec::new() }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Every word that was marked.
    pub fn marks(&self) -> Vec<&str> {
        let marks = self.steps.iter().filter_map(|step| match step {
            Step::Mark(word) => Some(word.as_str()),
            _ => None,
        });
        marks.collect()
    }

    /// How many changes and syncs there are.
    pub fn steps(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step, Step::Mark(_))).count()
    }

    /// What is left if nothing outlives the end of the recording but what a sync made sure.
    pub fn all_unsynced_lost(&self) -> Image {
        let mut disk = Platters::of(&self.before);
        self.steps.iter().for_each(|step| disk.take(step));
        disk.image(&disk.folders, Tearing::Dropped)
    }

    /// Every state that differs from the others in a name or a byte, in order of time.
    pub fn states(&self) -> CrashStates<'_> {
        let disk = Platters::of(&self.before);
        let before = disk.image(&disk.folders, Tearing::Whole);
        CrashStates {
            steps: self.steps.iter(),
            seen: HashSet::from([before.digest()]),
            waiting: vec![before],
            disk,
            marks: Vec::new(),
        }
    }
}

impl<'r> CrashStates<'r> {
    /// The next state, and the words that had been marked when it could come about.
    pub fn next_state(&mut self) -> Option<(Image, &[&'r str])> {
        loop {
            if let Some(image) = self.waiting.pop() {
                return Some((image, &self.marks));
            }
            match self.steps.next()? {
                Step::Mark(word) => self.marks.push(word),
                step => {
                    self.disk.take(step);
                    let (seen, mut new) = (&mut self.seen, Vec::new());
                    self.disk.for_each_image(&mut |image| {
                        if seen.insert(image.digest()) {
                            new.push(image);
                        }
                    });
                    self.waiting = new;
                }
            }
        }
    }
}

/// What is sure to be there, and what may be.
#[derive(Debug, Default)]
struct Platters {
    files: BTreeMap<usize, Bytes>,
    folders: BTreeMap<usize, BTreeMap<String, usize>>,
    /// Changes of names that no sync has made sure, in order of time.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
struct Bytes {
    durable: Content,
    /// All that was written, if that is more.
    written: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Change {
    folder: usize,
    leaf: String,
    to: Option<usize>,
}

impl Platters {
    /// All that stands is sure to be there.
    fn of(inodes: &[Inode]) -> Self {
        let mut platters = Self::default();
        for (number, inode) in inodes.iter().enumerate() {
            match &inode.bytes {
                Some(bytes) => {
                    let durable = Content::new(bytes.clone());
                    platters.files.insert(number, Bytes { durable, written: None });
                }
                None => drop(platters.folders.insert(number, inode.names.clone())),
            }
        }
        platters
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::File(inode) => {
                let durable = Content::new(Vec::new());
                self.files.insert(*inode, Bytes { durable, written: None });
            }
            Step::Folder(inode) => drop(self.folders.insert(*inode, BTreeMap::new())),
            Step::Name { folder, leaf, to } => {
                self.unsynced.push(Change { folder: *folder, leaf: leaf.clone(), to: *to });
            }
            Step::Write { file, bytes } => {
                if let Some(held) = self.files.get_mut(file) {
                    let durable = held.durable.bytes();
                    held.written.get_or_insert_with(|| durable.to_vec()).extend_from_slice(bytes);
                }
            }
            Step::SyncFile(file) => {
                if let Some(held) = self.files.get_mut(file)
                    && let Some(written) = held.written.take()
                {
                    held.durable = Content::new(written);
                }
            }
            Step::SyncFolder(folder) => {
                let (synced, unsynced) = std::mem::take(&mut self.unsynced)
                    .into_iter()
                    .partition(|change| change.folder == *folder);
                self.unsynced = unsynced;
                apply(&mut self.folders, &synced);
            }
            Step::Lost(inode) => {
                self.unsynced.retain(|change| change.folder != *inode);
                if let Some(held) = self.files.get_mut(inode) {
                    held.written = None;
                }
            }
            Step::Mark(_) => {}
        }
    }

    /// Tells `each` every state that a crash may leave now, some more than once.
    fn for_each_image(&self, each: &mut dyn FnMut(Image)) {
        let newest = self.unsynced.len().saturating_sub(REORDERED_MAX);
        let (older, newer) = self.unsynced.split_at(newest);
        for with_older in [false, true] {
            for chosen in 0..1_u32 << newer.len() {
                let mut folders = self.folders.clone();
                if with_older {
                    apply(&mut folders, older);
                }
                let mut rest = chosen;
                for change in newer {
                    if rest & 1 == 1 {
                        apply(&mut folders, std::slice::from_ref(change));
                    }
                    rest >>= 1;
                }
                for tearing in Tearing::ALL {
                    each(self.image(&folders, tearing));
                }
            }
            if older.is_empty() {
                return;
            }
        }
    }

    fn image(&self, names: &BTreeMap<usize, BTreeMap<String, usize>>, tearing: Tearing) -> Image {
        let mut image = Image::default();
        let mut folders = vec![(String::new(), TOP)];
        while let Some((path, folder)) = folders.pop() {
            for (leaf, inode) in names.get(&folder).into_iter().flatten() {
                let path = format!("{path}{leaf}");
                if let Some(bytes) = self.files.get(inode) {
                    image.put(path, Node::File(tearing.of(bytes)));
                } else {
                    folders.push((format!("{path}/"), *inode));
                    image.put(path, Node::Folder);
                }
            }
        }
        image
    }
}

fn apply(folders: &mut BTreeMap<usize, BTreeMap<String, usize>>, changes: &[Change]) {
    for Change { folder, leaf, to } in changes {
        let names = folders.entry(*folder).or_default();
        match to {
            Some(to) => drop(names.insert(leaf.clone(), *to)),
            None => drop(names.remove(leaf)),
        }
    }
}

/// What became of bytes that were written and not synced.
#[derive(Clone, Copy, Debug)]
enum Tearing {
    Whole,
    Dropped,
    /// So many eighths of them.
    Beginning(usize),
    AllButOne,
    /// The length was noted, the bytes were not.
    Zeros,
}

impl Tearing {
    const ALL: [Self; 7] = [
        Self::Whole,
        Self::Dropped,
        Self::Beginning(1),
        Self::Beginning(4),
        Self::Beginning(7),
        Self::AllButOne,
        Self::Zeros,
    ];

    fn of(self, Bytes { durable, written }: &Bytes) -> Content {
        let Some(written) = written else { return durable.clone() };
        let beginning = |length| Content::new(written.iter().take(length).copied().collect());
        let fresh = written.len() - durable.bytes().len();
        match self {
            Self::Whole => Content::new(written.clone()),
            Self::Dropped => durable.clone(),
            Self::Beginning(eighths) => beginning(durable.bytes().len() + fresh * eighths / 8),
            Self::AllButOne => beginning(written.len().saturating_sub(1)),
            Self::Zeros => {
                let mut bytes = durable.bytes().to_vec();
                bytes.resize(written.len(), 0);
                Content::new(bytes)
            }
        }
    }
}
