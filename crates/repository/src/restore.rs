//! Restoring: a point, or a part of it, into a target.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use custody_entries::{Entry, EntryName, FileWriter, Landing, Target, Warning};
use custody_envelope::VaultKeys;

use crate::RepositoryError;
use crate::content::{Content, Extent};
use crate::listing::{Body, Node};
use crate::progress::{Phase, Progress, Status};
use crate::read::{ChunkReader, locked};

/// One worker writes this much of a file at a time, in bytes; a larger file occupies several.
const STRETCH_BYTES: u64 = 8 << 20;
/// Jobs waiting for each worker.
const QUEUE_PER_WORKER: usize = 32;

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files written.
    pub files: u64,
    /// Files that the target kept as they were.
    pub kept_files: u64,
    /// Length of the files written in bytes, holes included.
    pub bytes: u64,
    /// What could not be restored or set. The codes `RestoreFileDamaged` and
    /// `RestoreFolderDamaged` mean lost content.
    pub warnings: Vec<Warning>,
}

/// What the threads of one restore share.
struct Shared<'r> {
    reader: &'r ChunkReader<'r>,
    keys: &'r VaultKeys,
    progress: &'r dyn Progress,
    files: AtomicU64,
    bytes: AtomicU64,
    warnings: Mutex<Vec<Warning>>,
    /// Files left out because they are damaged, by path.
    damaged: Mutex<HashMap<Vec<u8>, RepositoryError>>,
    failure: Mutex<Option<RepositoryError>>,
    stopped: AtomicBool,
}

/// A part of a file to be written.
struct Job {
    file: Arc<OpenFile>,
    offset: u64,
    extents: Vec<Extent>,
}

/// A file that several workers may be writing.
struct OpenFile {
    writer: Mutex<Option<Box<dyn FileWriter>>>,
    /// Jobs that are not done.
    left: AtomicUsize,
    /// Why it cannot be restored.
    damage: Mutex<Option<RepositoryError>>,
    path: Vec<u8>,
    size: u64,
    gates: [Arc<Gate>; 2],
}

/// Counts files in progress, so that someone can wait for none.
#[derive(Default)]
struct Gate {
    count: Mutex<usize>,
    none: Condvar,
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
    let shared = Shared {
        reader,
        keys,
        progress,
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        warnings: Mutex::default(),
        damaged: Mutex::default(),
        failure: Mutex::default(),
        stopped: AtomicBool::new(false),
    };
    reader.foresee(&nodes, &|| shared.keep_going())?;
    let (jobs_in, jobs) = bounded(threads.get() * QUEUE_PER_WORKER);
    let kept_files = std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (jobs, shared) = (jobs.clone(), &shared);
            scope.spawn(move || shared.work(&jobs));
        }
        drop(jobs);
        let mut walk = Walk {
            shared: &shared,
            target,
            jobs: jobs_in,
            all: Arc::default(),
            links: HashMap::new(),
            kept_files: 0,
        };
        if let Err(error) = walk.run(nodes) {
            shared.fail(error);
        }
        walk.kept_files
    });
    let mut warnings = std::mem::take(&mut *locked(&shared.warnings));
    warnings.append(&mut target.take_warnings());
    match locked(&shared.failure).take() {
        Some(error) => Err(error),
        None => Ok(RestoreReport {
            files: shared.files.load(Relaxed),
            kept_files,
            bytes: shared.bytes.load(Relaxed),
            warnings,
        }),
    }
}

/// Walks the point and drives the target; the workers write the files.
struct Walk<'w, 'r> {
    shared: &'w Shared<'r>,
    target: &'w mut dyn Target,
    jobs: Sender<Job>,
    /// Every file in progress.
    all: Arc<Gate>,
    /// The first of the hard links to a file, by device and inode.
    links: HashMap<(u64, u64), (Vec<u8>, Content)>,
    kept_files: u64,
}

struct Level {
    nodes: std::vec::IntoIter<Node>,
    path: Vec<u8>,
    /// The files of this folder in progress.
    gate: Arc<Gate>,
}

impl Walk<'_, '_> {
    fn run(&mut self, nodes: Vec<Node>) -> Result<(), RepositoryError> {
        let mut stack =
            vec![Level { nodes: nodes.into_iter(), path: Vec::new(), gate: Arc::default() }];
        while let Some(level) = stack.last_mut() {
            self.shared.keep_going()?;
            let Some(Node { entry, body }) = level.nodes.next() else {
                level.gate.wait();
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
                        stack.push(Level { nodes, path, gate: Arc::default() });
                    }
                }
                Body::File { content, .. } => {
                    let gate = Arc::clone(&level.gate);
                    self.file(&entry, content, path, gate)?;
                }
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
        gate: Arc<Gate>,
    ) -> Result<(), RepositoryError> {
        let identity = &entry.metadata.identity;
        let key = (identity.device, identity.inode);
        if identity.links > 1 {
            let earlier = self.links.get(&key).filter(|(_, earlier)| *earlier == content);
            if let Some((earlier, _)) = earlier {
                // The first link may still be in the hands of a worker.
                self.all.wait();
                match locked(&self.shared.damaged).get(earlier) {
                    Some(error) => self.shared.warn("RestoreFileDamaged", &path, error),
                    None => self.target.hard_link(entry, earlier).map(drop)?,
                }
                return Ok(());
            }
        }
        let Some(writer) = self.target.file(entry)? else {
            self.kept_files += 1;
            return Ok(());
        };
        let extents = match self.shared.reader.extents(&content) {
            Ok(extents) => extents,
            Err(error) if error.is_local() => {
                self.shared.warn("RestoreFileDamaged", &path, &error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if identity.links > 1 {
            self.links.entry(key).or_insert_with(|| (path.clone(), content.clone()));
        }
        let stretches = stretches(extents);
        let gates = [gate, Arc::clone(&self.all)];
        for gate in &gates {
            gate.add();
        }
        let file = Arc::new(OpenFile {
            writer: Mutex::new(Some(writer)),
            left: AtomicUsize::new(stretches.len()),
            damage: Mutex::default(),
            path,
            size: content.size,
            gates,
        });
        for (offset, extents) in stretches {
            let job = Job { file: Arc::clone(&file), offset, extents };
            if self.jobs.send(job).is_err() {
                return Err(RepositoryError::Bug("no thread is left to restore with"));
            }
        }
        Ok(())
    }
}

/// Cuts a file into parts that workers take, at least one.
fn stretches(extents: Vec<Extent>) -> Vec<(u64, Vec<Extent>)> {
    let mut stretches = vec![(0, Vec::new())];
    let (mut offset, mut filled) = (0_u64, 0_u64);
    for extent in extents {
        if filled >= STRETCH_BYTES {
            stretches.push((offset, Vec::new()));
            filled = 0;
        }
        offset += extent.length;
        filled += if extent.chunk.is_some() { extent.length } else { 0 };
        if let Some((_, stretch)) = stretches.last_mut() {
            stretch.push(extent);
        }
    }
    stretches
}

impl Shared<'_> {
    /// Writes files until there are no more. After a failure jobs are taken and dropped, so that
    /// nobody waits for them.
    fn work(&self, jobs: &Receiver<Job>) {
        for Job { file, offset, extents } in jobs {
            if let Err(error) = self.write(&file, offset, &extents) {
                if error.is_local() {
                    locked(&file.damage).get_or_insert(error);
                } else {
                    self.fail(error);
                }
            }
            if file.left.fetch_sub(1, std::sync::atomic::Ordering::AcqRel) == 1 {
                if let Err(error) = self.finish(&file) {
                    self.fail(error);
                }
                for gate in &file.gates {
                    gate.remove();
                }
            }
        }
    }

    fn write(
        &self,
        file: &OpenFile,
        mut offset: u64,
        extents: &[Extent],
    ) -> Result<(), RepositoryError> {
        for extent in extents {
            if self.stopped.load(Relaxed) || locked(&file.damage).is_some() {
                return Ok(());
            }
            if let Some(name) = &extent.chunk {
                let chunk = self.reader.chunk(name)?;
                if chunk.as_ref().len() as u64 != extent.length {
                    return Err(RepositoryError::damaged("a file", "a chunk has another length"));
                }
                if let Some(writer) = locked(&file.writer).as_mut() {
                    writer.write_at(offset, chunk.as_ref())?;
                }
            }
            offset = offset.saturating_add(extent.length);
        }
        Ok(())
    }

    /// Puts a file in place, or drops it if it is damaged or the restore has failed.
    fn finish(&self, file: &OpenFile) -> Result<(), RepositoryError> {
        let writer = locked(&file.writer).take();
        if let Some(error) = locked(&file.damage).take() {
            self.warn("RestoreFileDamaged", &file.path, &error);
            locked(&self.damaged).insert(file.path.clone(), error);
        } else if let Some(writer) = writer.filter(|_| !self.stopped.load(Relaxed)) {
            let mut warnings = writer.finish()?;
            locked(&self.warnings).append(&mut warnings);
            let files = self.files.fetch_add(1, Relaxed) + 1;
            let bytes = self.bytes.fetch_add(file.size, Relaxed) + file.size;
            let phase = Phase::Restoring;
            self.progress.report(&Status { phase, files, bytes, new_bytes: 0 });
        }
        Ok(())
    }

    fn warn(&self, code: &'static str, path: &[u8], error: &RepositoryError) {
        let message = error.to_string();
        locked(&self.warnings).push(Warning { code, path: path.to_vec(), message });
    }

    fn fail(&self, error: RepositoryError) {
        locked(&self.failure).get_or_insert(error);
        self.stopped.store(true, Relaxed);
    }

    fn keep_going(&self) -> Result<(), RepositoryError> {
        if self.stopped.load(Relaxed) || self.progress.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        Ok(self.keys.check()?)
    }
}

impl Gate {
    fn add(&self) {
        *locked(&self.count) += 1;
    }

    fn remove(&self) {
        let mut count = locked(&self.count);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.none.notify_all();
        }
    }

    fn wait(&self) {
        let count = locked(&self.count);
        let waited = self.none.wait_while(count, |count| *count > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
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
    for extent in reader.extents(content)? {
        let written = match &extent.chunk {
            Some(name) => output.write_all(reader.chunk(name)?.as_ref()),
            None => io::copy(&mut io::repeat(0).take(extent.length), output).map(drop),
        };
        written.map_err(|error| RepositoryError::Output(error.to_string()))?;
    }
    Ok(())
}
