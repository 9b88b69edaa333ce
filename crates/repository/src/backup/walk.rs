//! The walk: takes what the source yields and hands it to the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Sender;
use custody_entries::{
    Content as Source, Entry, EntryKind, EntryName, Flow, Metadata, Sink, Warning, Xattr,
};

use super::shared::Shared;
use super::tree::Folder;
use super::worker::{FileJob, Job};
use crate::RepositoryError;
use crate::content::Content;
use crate::listing::{Body, Node};
use crate::progress::{Phase, Total};
use crate::read::locked;

/// Files are handed on when they make up this many bytes …
const BATCH_BYTES: u64 = 1 << 20;
/// … or are this many.
const BATCH_FILES: usize = 256;

/// Where the walk is: the folders from the top down.
pub(super) struct Walk<'s, 'r> {
    shared: &'s Shared<'r>,
    jobs: Sender<Job>,
    batch: Vec<FileJob>,
    batch_bytes: u64,
    found: Found,
    stack: Vec<Level>,
}

/// How much the walk has met so far.
#[derive(Default)]
struct Found {
    files: u64,
    bytes: u64,
    /// Whether one of the files is a stream, whose length nobody knows.
    is_open_ended: bool,
}

struct Level {
    folder: Arc<Folder>,
    /// The same folder's entries in the parent point, sorted by name.
    earlier: Vec<Node>,
    /// How many of them come before what the walk is at.
    passed: usize,
}

impl Level {
    fn new(folder: Arc<Folder>, earlier: Vec<Node>) -> Self {
        Self { folder, earlier, passed: 0 }
    }

    /// What the parent point holds under this name, which comes after those asked for before.
    fn earlier(&mut self, name: &EntryName) -> Option<&mut Node> {
        let rest = self.earlier.get(self.passed..)?;
        self.passed += rest.iter().take_while(|node| node.entry.name < *name).count();
        self.earlier.get_mut(self.passed).filter(|node| node.entry.name == *name)
    }
}

impl Found {
    fn add(&mut self, bytes: u64, is_stream: bool) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_open_ended |= is_stream;
    }
}

impl<'s, 'r> Walk<'s, 'r> {
    /// A walk that has not begun; `earlier` is what the parent point holds at its top.
    pub(super) fn new(shared: &'s Shared<'r>, jobs: Sender<Job>, earlier: Vec<Node>) -> Self {
        let stack = vec![Level::new(Folder::root(), earlier)];
        let (batch, found) = (Vec::new(), Found::default());
        Self { shared, jobs, batch, batch_bytes: 0, found, stack }
    }

    /// The walk has ended: whatever is still held goes to the workers, and what they have to do in all is
    /// known.
    pub(super) fn finish(mut self) {
        if !self.found.is_open_ended {
            self.shared.progress.expect(Total::exact(self.found.files, self.found.bytes));
        }
        self.hand_on_batch();
        while !self.stack.is_empty() {
            self.leave_top();
        }
    }

    fn hand_on_batch(&mut self) {
        if !self.batch.is_empty() {
            self.batch_bytes = 0;
            let files = std::mem::take(&mut self.batch);
            self.hand_on(Job::Files(files));
        }
    }

    /// A job that no worker takes belongs to a backup that has failed already.
    fn hand_on(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            self.shared.fail(RepositoryError::Cancelled);
        }
    }

    fn leave_top(&mut self) {
        if let Some(level) = self.stack.pop()
            && level.folder.leave()
        {
            self.hand_on(Job::Listing(level.folder));
        }
    }

    fn flow(&self) -> Flow {
        match self.shared.keep_going() {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.shared.fail(error);
                Flow::Stop
            }
        }
    }

    /// What the parent point holds in the folder at hand under this name.
    fn earlier(&mut self, name: &EntryName) -> Option<&mut Node> {
        self.stack.last_mut()?.earlier(name)
    }

    /// The content of a file that need not be read: it is surely the same as in the parent point,
    /// was read undisturbed there, and none of its chunks has been lost since.
    fn unchanged(&mut self, file: &Entry) -> Option<Content> {
        let shared = self.shared;
        let node = self.earlier(&file.name).filter(|node| file.is_unchanged_since(&node.entry))?;
        match std::mem::replace(&mut node.body, Body::None) {
            Body::File { content, changed: false } => {
                let take_over = &mut |name: &_| shared.take_over(name);
                let whole = shared.reader.for_each_chunk(&content, take_over);
                matches!(whole, Ok(true)).then_some(content)
            }
            _ => None,
        }
    }
}

impl Sink for Walk<'_, '_> {
    fn root(&mut self, metadata: Metadata) -> Flow {
        *locked(&self.shared.top) = Some(metadata);
        self.flow()
    }

    fn folder(&mut self, folder: Entry) -> Flow {
        // A lost listing only means that the files below are read again.
        let reader = &self.shared.reader;
        let earlier = match self.earlier(&folder.name).map(|node| &node.body) {
            Some(Body::Folder(content)) => reader.listing(content).unwrap_or_default(),
            _ => Vec::new(),
        };
        if let Some(level) = self.stack.last() {
            let folder = Folder::within(&level.folder, folder);
            self.stack.push(Level::new(folder, earlier));
        }
        self.shared.tally.folders.fetch_add(1, Relaxed);
        self.flow()
    }

    fn leave(&mut self) -> Flow {
        if self.stack.len() > 1 {
            self.leave_top();
        }
        self.flow()
    }

    fn known_xattrs(&mut self, file: &Entry) -> Option<Vec<Xattr>> {
        let node = self.earlier(&file.name).filter(|node| file.is_unchanged_since(&node.entry))?;
        Some(node.entry.metadata.xattrs.clone())
    }

    fn file(&mut self, file: Entry, content: Box<dyn Source>) -> Flow {
        let EntryKind::File { size } = file.kind else {
            self.shared.fail(RepositoryError::Bug("a source called something else a file"));
            return Flow::Stop;
        };
        // Nothing but its bytes tells whether a device has changed.
        let unchanged = if content.is_device() { None } else { self.unchanged(&file) };
        let earlier = content.changed().and_then(|_| match &self.earlier(&file.name)?.body {
            Body::File { content, changed: false } => Some(content.clone()),
            _ => None,
        });
        self.found.add(size, content.is_stream());
        let Some(level) = self.stack.last() else { return Flow::Stop };
        if let Some(content) = unchanged {
            let node = Node { entry: file, body: Body::File { content, changed: false } };
            level.folder.add(&node).unwrap_or_else(|error| self.shared.fail(error));
            let tally = &self.shared.tally;
            tally.files.fetch_add(1, Relaxed);
            tally.unchanged_files.fetch_add(1, Relaxed);
            tally.bytes.fetch_add(size, Relaxed);
            tally.read_bytes.fetch_add(size, Relaxed);
            if tally.unchanged_files.load(Relaxed).is_multiple_of(BATCH_FILES as u64) {
                self.shared.report(Phase::Reading);
            }
            return self.flow();
        }
        let folder = Arc::clone(&level.folder);
        let place = folder.reserve();
        self.batch.push(FileJob { folder, place, entry: file, source: content, earlier });
        self.batch_bytes = self.batch_bytes.saturating_add(size);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.hand_on_batch();
        }
        self.flow()
    }

    fn other(&mut self, entry: Entry) -> Flow {
        if let Some(level) = self.stack.last() {
            let node = Node { entry, body: Body::None };
            level.folder.add(&node).unwrap_or_else(|error| self.shared.fail(error));
        }
        self.shared.tally.others.fetch_add(1, Relaxed);
        self.flow()
    }

    fn warn(&mut self, warning: Warning) {
        self.shared.warn(warning);
    }
}
