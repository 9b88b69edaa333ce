//! One of the threads that read files, cut them, and compress what is new.

mod changed;
mod storing;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender, select};
use custody_entries::{
    Content as Source, ContentReader, Entry, EntryKind, Segment, Settlement, SourceError, Warning,
};

use super::extent_list::ExtentList;
use super::shared::Shared;
use super::tree::Folder;
use crate::RepositoryError;
use crate::chunk::{CHUNK_BYTES_MAX, Chunker, Continuation};
use crate::compress::{CompressionEffort, Compressor};
use crate::content::{Content, Extent};
use crate::listing::{Body, LISTING_BYTES_MAX, Node};
use crate::pack::{GROUP_BYTES_TARGET, GroupDraft};
use crate::progress::Phase;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// How many groups' room a worker keeps for the next ones.
const EMPTIED_MAX: usize = 2;

/// A file to be read.
pub(super) struct FileJob {
    pub(super) folder: Arc<Folder>,
    pub(super) place: usize,
    pub(super) entry: Entry,
    pub(super) source: Box<dyn Source>,
    /// What the parent point holds of an image, if somebody knows what has changed since.
    pub(super) earlier: Option<Content>,
}

/// What a worker is asked to do.
pub(super) enum Job {
    /// Read these files, which lie side by side.
    Files(Vec<FileJob>),
    /// Store the listing of a folder that is complete.
    Listing(Arc<Folder>),
}

/// Which chunks share groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Data,
    Image,
    Listing,
}

impl Class {
    /// Plain bytes at which a group is closed. One that is read for single blocks or single
    /// folders is smaller.
    const fn group_bytes(self) -> usize {
        match self {
            Self::Data => GROUP_BYTES_TARGET,
            Self::Image | Self::Listing => 256 << 10,
        }
    }
}

pub(super) struct Worker<'s, 'r> {
    shared: &'s Shared<'r>,
    jobs: Receiver<Job>,
    groups_in: Receiver<GroupDraft>,
    /// Closed groups for whichever worker is free; none once this one reads no more.
    groups_out: Option<Sender<GroupDraft>>,
    data: GroupDraft,
    image: GroupDraft,
    listing: GroupDraft,
    compressor: Compressor,
    /// Room of groups that were packed.
    emptied: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    /// Longest listing of a folder that is stored.
    listing_bytes_max: usize,
}

/// What reading a file came to.
enum Outcome {
    Read { content: Content, settled: Settlement },
    Unreadable(SourceError),
}

impl<'s, 'r> Worker<'s, 'r> {
    pub(super) fn new(
        shared: &'s Shared<'r>,
        jobs: Receiver<Job>,
        groups: (Sender<GroupDraft>, Receiver<GroupDraft>),
        effort: CompressionEffort,
    ) -> Result<Self, RepositoryError> {
        Ok(Self {
            shared,
            jobs,
            groups_in: groups.1,
            groups_out: Some(groups.0),
            data: GroupDraft::default(),
            image: GroupDraft::default(),
            listing: GroupDraft::default(),
            compressor: Compressor::new(effort)?,
            emptied: Vec::new(),
            buffer: vec![0; READ_BYTES + CHUNK_BYTES_MAX],
            listing_bytes_max: LISTING_BYTES_MAX,
        })
    }

    /// Works until no job is left anywhere.
    pub(super) fn run(mut self) -> Result<(), RepositoryError> {
        let (jobs, groups) = (self.jobs.clone(), self.groups_in.clone());
        loop {
            // Closed groups hold memory: they go first.
            while let Ok(group) = groups.try_recv() {
                self.pack(group)?;
            }
            select! {
                recv(groups) -> group => if let Ok(group) = group { self.pack(group)?; },
                recv(jobs) -> job => match job {
                    Ok(job) => self.work(job)?,
                    Err(_) => break,
                },
            }
        }
        for class in [Class::Data, Class::Image, Class::Listing] {
            let draft = self.take_draft(class);
            self.pack(draft)?;
        }
        // Others may still be reading a large file: help them until they are done too.
        self.groups_out = None;
        groups.iter().try_for_each(|group| self.pack(group))
    }

    fn work(&mut self, job: Job) -> Result<(), RepositoryError> {
        self.shared.keep_going()?;
        match job {
            Job::Listing(folder) => self.store_listing(folder)?,
            Job::Files(files) => {
                for file in files {
                    self.file(file)?;
                }
            }
        }
        self.shared.report(Phase::Reading);
        Ok(())
    }

    /// Reads a file, twice if it changed meanwhile, and fills in its place.
    fn file(&mut self, job: FileJob) -> Result<(), RepositoryError> {
        let FileJob { folder, place, entry, source, earlier } = job;
        let size_before = entry.kind.clone();
        let is_torn = |content: &Content, settled: Settlement| {
            let is_of_size = size_before == EntryKind::File { size: content.size };
            settled == Settlement::Changed || !(is_of_size || source.is_stream())
        };
        let mut outcome = match self.read_changed(&entry, source.as_ref(), earlier.as_ref())? {
            Some(outcome) => outcome,
            None => self.read(&entry, source.as_ref())?,
        };
        if matches!(&outcome, Outcome::Read { content, settled } if is_torn(content, *settled)) {
            outcome = self.read(&entry, source.as_ref())?;
        }
        let node = match outcome {
            Outcome::Unreadable(error) => {
                let SourceError { code, message } = error;
                self.shared.warn(Warning { code, path: source.path().to_vec(), message });
                None
            }
            Outcome::Read { content, settled } => {
                let changed = is_torn(&content, settled);
                if changed {
                    let message = "the file changed while it was read, twice; what is stored may \
                        mix two states";
                    let (path, message) = (source.path().to_vec(), message.to_owned());
                    self.shared.warn(Warning { code: "SourceFileChanged", path, message });
                }
                let tally = &self.shared.tally;
                tally.files.fetch_add(1, Relaxed);
                tally.bytes.fetch_add(content.size, Relaxed);
                let entry = Entry { kind: EntryKind::File { size: content.size }, ..entry };
                Some(Node { entry, body: Body::File { content, changed } })
            }
        };
        if folder.fill(place, node.as_ref())? { self.store_listing(folder) } else { Ok(()) }
    }

    fn read(&mut self, entry: &Entry, source: &dyn Source) -> Result<Outcome, RepositoryError> {
        let mut reader = match source.open() {
            Ok(reader) => reader,
            Err(error) => return Ok(Outcome::Unreadable(error)),
        };
        // Taken out so that chunks in it can be stored while it is borrowed.
        let mut buffer = std::mem::take(&mut self.buffer);
        let cut = self.cut(entry, source.is_device(), reader.as_mut(), &mut buffer);
        self.buffer = buffer;
        let (chunker, extents) = match cut? {
            Ok(cut) => cut,
            Err(error) => return Ok(Outcome::Unreadable(error)),
        };
        let settled = match reader.settle() {
            Ok(settled) => settled,
            Err(error) => return Ok(Outcome::Unreadable(error)),
        };
        let content = self.describe(chunker, extents)?;
        Ok(Outcome::Read { content, settled })
    }

    /// Cuts a file into extents and stores its new chunks. The inner error is the source's.
    fn cut(
        &mut self,
        entry: &Entry,
        is_device: bool,
        reader: &mut dyn ContentReader,
        buffer: &mut [u8],
    ) -> Result<Result<(Chunker, ExtentList), SourceError>, RepositoryError> {
        let EntryKind::File { size } = entry.kind else {
            return Err(RepositoryError::Bug("a file that is none"));
        };
        let chunker = is_device.then_some(Chunker::Fixed);
        let mut run = Run { extents: ExtentList::default(), chunker, offset: 0, filled: 0 };
        loop {
            if run.extents.is_full() {
                return Ok(Err(too_many_parts()));
            }
            let segment = match reader.next(buffer.get_mut(run.filled..).unwrap_or_default()) {
                Ok(segment) => segment,
                Err(error) => return Ok(Err(error)),
            };
            let data = match segment {
                Segment::Data(length) => length,
                Segment::Hole(_) | Segment::End => 0,
            };
            run.filled += data;
            let start = buffer.get(..run.filled).filter(|_| data > 0);
            let choose = || Chunker::for_file(entry.name.as_bytes(), size, start);
            let chunker = *run.chunker.get_or_insert_with(choose);
            self.shared.have_read(data as u64)?;
            match segment {
                Segment::Data(1..) => self.cut_run(&mut run, buffer, Continuation::More)?,
                Segment::Hole(length) => {
                    self.cut_run(&mut run, buffer, Continuation::End)?;
                    run.skip(length);
                    self.shared.have_read(length)?;
                }
                Segment::Data(0) | Segment::End => {
                    self.cut_run(&mut run, buffer, Continuation::End)?;
                    return Ok(Ok((chunker, run.extents)));
                }
            }
        }
    }

    /// Stores the chunks that are complete in the buffer and moves the rest to its front.
    fn cut_run(
        &mut self,
        run: &mut Run,
        buffer: &mut [u8],
        more: Continuation,
    ) -> Result<(), RepositoryError> {
        let chunker = run.chunker.unwrap_or(Chunker::ContentDefined);
        let class = if chunker == Chunker::Fixed { Class::Image } else { Class::Data };
        let mut rest = buffer.get(..run.filled).unwrap_or_default();
        while let Some(length) = self.shared.knife.cut(chunker, rest, run.offset, more) {
            let (chunk, after) = rest.split_at_checked(length).unwrap_or_default();
            let chunk = self.store_chunk(class, chunk)?;
            self.add_chunk(run, chunk)?;
            run.offset += length as u64;
            rest = after;
        }
        let left = rest.len();
        buffer.copy_within(run.filled - left..run.filled, 0);
        run.filled = left;
        Ok(())
    }

    /// Adds a chunk to the extents of a file; what of their list is complete is stored.
    fn add_chunk(&mut self, run: &mut Run, chunk: Extent) -> Result<(), RepositoryError> {
        let knife = self.shared.knife;
        let mut store = |part: &[u8]| self.store_chunk(Class::Listing, part);
        run.extents.push(chunk, knife, &mut store)
    }
}

/// A file being cut: what is done, and what waits at the front of the buffer.
struct Run {
    extents: ExtentList,
    chunker: Option<Chunker>,
    /// Where in the file the front of the buffer is.
    offset: u64,
    filled: usize,
}

impl Run {
    /// Goes over a hole.
    fn skip(&mut self, length: u64) {
        self.offset = self.offset.saturating_add(length);
        self.extents.skip(length);
    }
}

/// Why a file is left out whose list of extents would be longer than any may be.
fn too_many_parts() -> SourceError {
    let message = "it lies in more parts than a recovery point can hold of one file";
    SourceError { code: "SourceFileTooManyParts", message: message.to_owned() }
}
