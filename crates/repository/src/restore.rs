//! Restoring: a point, or a part of it, into a target.

mod file;
mod placed;
mod stretches;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};
use custody_entries::{Entry, EntryName, FilePlace, Landing, Target, Warning};
use custody_envelope::VaultKeys;

use crate::RepositoryError;
use crate::content::Content;
use crate::extents::Extents;
use crate::listing::{Body, Node};
use crate::progress::Progress;
use crate::read::ChunkReader;
use file::{Comparison, Gate, Job, OpenFile, Part, Shared};
use stretches::{Stretch, Stretches};

/// Jobs are handed on when they write this many bytes …
const BATCH_BYTES: u64 = 1 << 20;
/// … or are this many: each may hold a file open.
const BATCH_JOBS: usize = 16;
/// Batches waiting for each worker.
const QUEUE_PER_WORKER: usize = 4;

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files written.
    pub files: u64,
    /// Length of the files written in bytes, holes included.
    pub bytes: u64,
    /// Of the files written, those that took the place of something.
    pub replaced_files: u64,
    /// Of the bytes written, those that were on this machine already and right: an interrupted
    /// restore had written them, or they stood in the file that was replaced.
    pub reused_bytes: u64,
    /// Files that stood there already and stay as they are.
    pub taken_over_files: u64,
    /// Their length in bytes.
    pub taken_over_bytes: u64,
    /// Of these, files whose content was compared.
    pub compared_files: u64,
    /// Files in whose place something else stands, which the target kept.
    pub kept_files: u64,
    /// What could not be restored or set. The codes `RestoreFileDamaged` and
    /// `RestoreFolderDamaged` mean lost content.
    pub warnings: Vec<Warning>,
}

/// Restores `nodes`, which lie at `path` in the point, into the top of `target`.
pub(crate) fn restore(
    nodes: Vec<Node>,
    reader: &ChunkReader<'_>,
    keys: &VaultKeys,
    target: &mut dyn Target,
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<RestoreReport, RepositoryError> {
    let shared = Shared::new(reader, keys, target.placed_files(), progress);
    reader.foresee(&nodes, &|| shared.keep_going())?;
    let (jobs_in, jobs) = bounded(threads.get() * QUEUE_PER_WORKER);
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (jobs, shared) = (jobs.clone(), &shared);
            scope.spawn(move || shared.work(&jobs));
        }
        drop(jobs);
        let mut walk = Walk {
            shared: &shared,
            target,
            jobs: jobs_in,
            batch: Vec::new(),
            batch_bytes: 0,
            all: Arc::default(),
            links: HashMap::new(),
        };
        // After a failure the workers still get what was begun, to let go of it properly.
        for outcome in [walk.run(nodes), walk.flush()] {
            if let Err(error) = outcome {
                shared.fail(error);
            }
        }
    });
    let mut report = shared.into_report()?;
    report.warnings.append(&mut target.take_warnings());
    Ok(report)
}

/// Walks the point and drives the target; the workers write the files.
struct Walk<'w, 'r> {
    shared: &'w Shared<'r>,
    target: &'w mut dyn Target,
    jobs: Sender<Vec<Job>>,
    /// Jobs to be handed on together, and how many bytes they write.
    batch: Vec<Job>,
    batch_bytes: u64,
    /// Every file in progress.
    all: Arc<Gate>,
    /// The first of the hard links to a file, by device and inode.
    links: HashMap<(u64, u64), (Vec<u8>, Content)>,
}

struct Level {
    nodes: std::vec::IntoIter<Node>,
    path: Vec<u8>,
}

impl Walk<'_, '_> {
    fn run(&mut self, nodes: Vec<Node>) -> Result<(), RepositoryError> {
        let mut stack = vec![Level { nodes: nodes.into_iter(), path: Vec::new() }];
        while let Some(level) = stack.last_mut() {
            self.shared.keep_going()?;
            let Some(Node { entry, body }) = level.nodes.next() else {
                stack.pop();
                if !stack.is_empty() {
                    self.target.leave()?;
                }
                continue;
            };
            let path = below(&level.path, &entry.name);
            match body {
                Body::Folder(content) => {
                    if let Some(nodes) = self.enter(&entry, &content, &path)? {
                        let nodes = nodes.into_iter();
                        stack.push(Level { nodes, path });
                    }
                }
                Body::File { content, .. } => self.file(&entry, content, path)?,
                Body::None => {
                    self.target.other(&entry)?;
                }
            }
        }
        Ok(())
    }

    /// Enters a folder; none if nothing in it can be restored.
    fn enter(
        &mut self,
        entry: &Entry,
        content: &Content,
        path: &[u8],
    ) -> Result<Option<Vec<Node>>, RepositoryError> {
        if self.target.folder(entry)? == Landing::Skipped {
            return Ok(None);
        }
        match self.shared.reader.listing(content) {
            Ok(nodes) => Ok(Some(nodes)),
            Err(error) if error.is_local() => {
                self.shared.warn("RestoreFolderDamaged", path, &error);
                Ok(Some(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        content: Content,
        path: Vec<u8>,
    ) -> Result<(), RepositoryError> {
        let identity = &entry.metadata.identity;
        let key = (identity.device, identity.inode);
        if identity.links > 1 && self.link(entry, &content, &path)? {
            return Ok(());
        }
        let (place, is_replaced) = match self.target.file(entry)? {
            FilePlace::Refused => return Ok(()),
            FilePlace::Kept => {
                self.shared.kept();
                return Ok(());
            }
            FilePlace::TakenOver => {
                self.shared.taken_over(content.size, false);
                self.note_link(key, identity.links, path, content);
                return Ok(());
            }
            FilePlace::Standing(standing) => (Err(standing), true),
            FilePlace::Free(writer) => (Ok(writer), false),
            FilePlace::Replaced(writer) => (Ok(writer), true),
        };
        self.note_link(key, identity.links, path.clone(), content.clone());
        let gate = Arc::clone(&self.all);
        match place {
            Ok(writer) => {
                let file = OpenFile::new(writer, path, content.size, gate);
                self.write(&Arc::new(file.replacing(is_replaced)), &content)
            }
            Err(standing) => {
                let size = content.size;
                let comparison = Comparison::new(standing, path, content, gate);
                self.hand_on(Job::Compare(comparison), size)
            }
        }
    }

    /// Hands on a file, stretch by stretch.
    fn write(&mut self, file: &Arc<OpenFile>, content: &Content) -> Result<(), RepositoryError> {
        let handed_on = Stretches::of(content, self.shared.reader).and_then(|mut stretches| {
            loop {
                let stretch = stretches.next()?;
                if stretches.is_at_end() {
                    return Ok(stretch);
                }
                self.hand_on_part(file.another_part(), stretch)?;
            }
        });
        // Whatever came of it, a last part is handed on: with it the file is put in place, or dropped.
        let last = handed_on.unwrap_or_else(|error| {
            self.shared.is_lost(file, error);
            Stretch { offset: 0, extents: Vec::new() }
        });
        self.hand_on_part(Arc::clone(file), last)
    }

    fn hand_on_part(
        &mut self,
        file: Arc<OpenFile>,
        stretch: Stretch,
    ) -> Result<(), RepositoryError> {
        let bytes = stretch.bytes();
        self.hand_on(Job::Write(Part { file, stretch }), bytes)
    }

    fn hand_on(&mut self, job: Job, bytes: u64) -> Result<(), RepositoryError> {
        self.batch.push(job);
        self.batch_bytes = self.batch_bytes.saturating_add(bytes);
        let is_full = self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_JOBS;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Hands on what waits in the batch.
    fn flush(&mut self) -> Result<(), RepositoryError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let sent = self.jobs.send(batch);
        sent.map_err(|_| RepositoryError::Bug("no thread is left to restore with"))
    }

    /// Makes another link to a file restored before. False if it is to be restored as a file of its
    /// own.
    fn link(
        &mut self,
        entry: &Entry,
        content: &Content,
        path: &[u8],
    ) -> Result<bool, RepositoryError> {
        let identity = &entry.metadata.identity;
        let key = (identity.device, identity.inode);
        if self.links.get(&key).is_none_or(|(_, earlier)| earlier != content) {
            return Ok(false);
        }
        // The first link may still be in the hands of a worker.
        self.flush()?;
        self.all.wait();
        let Some((earlier, _)) = self.links.get(&key) else { return Ok(false) };
        self.shared.keep_going()?;
        if self.shared.is_unusable(earlier) {
            return Ok(false);
        }
        match self.shared.damage_of(earlier) {
            Some(error) => self.shared.warn("RestoreFileDamaged", path, &error),
            None => self.target.hard_link(entry, earlier).map(drop)?,
        }
        Ok(true)
    }

    fn note_link(&mut self, key: (u64, u64), links: u64, path: Vec<u8>, content: Content) {
        if links > 1 {
            self.links.entry(key).or_insert((path, content));
        }
    }
}

/// The path of an entry in the folder at `path`.
pub(crate) fn below(path: &[u8], name: &EntryName) -> Vec<u8> {
    let mut below = path.to_vec();
    if !below.is_empty() {
        below.push(b'/');
    }
    below.extend_from_slice(name.as_bytes());
    below
}

/// Writes a file's bytes in order.
pub(crate) fn write_out(
    content: &Content,
    reader: &ChunkReader<'_>,
    output: &mut dyn Write,
) -> Result<(), RepositoryError> {
    let mut extents = Extents::of(content, reader);
    while let Some(extent) = extents.next()? {
        let written = match &extent.chunk {
            Some(name) => output.write_all(reader.chunk(name)?.as_ref()),
            None => io::copy(&mut io::repeat(0).take(extent.length), output).map(drop),
        };
        written.map_err(|error| RepositoryError::Output(error.to_string()))?;
    }
    Ok(())
}
