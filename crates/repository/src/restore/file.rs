//! The workers of a restore: writing files, and comparing those that stand there already.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::Receiver;
use custody_entries::{FileWriter, PlacedFiles, StandingFile, Warning};
use custody_envelope::VaultKeys;

use super::RestoreReport;
use super::placed::{CHUNKS_MAX, Placed};
use super::stretches::{Stretch, Stretches};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::{Content, Extent};
use crate::extents::Extents;
use crate::progress::{Phase, Progress, Status};
use crate::read::{Again, ChunkReader, locked};

/// A file of this length or less is soon in place, in bytes.
const SMALL_BYTES_MAX: u64 = 8 << 20;

/// What the threads of one restore share.
pub(super) struct Shared<'r> {
    pub(super) reader: &'r ChunkReader<'r>,
    keys: &'r VaultKeys,
    placed: Placed,
    progress: &'r dyn Progress,
    /// Files and bytes done, however they came to stand there.
    done: (AtomicU64, AtomicU64),
    report: Mutex<RestoreReport>,
    /// Files left out because they are damaged, by path.
    damaged: Mutex<HashMap<Vec<u8>, RepositoryError>>,
    /// Files that stand there with a wrong content and were kept: nothing is linked to them.
    unusable: Mutex<HashSet<Vec<u8>>>,
    failure: Mutex<Option<RepositoryError>>,
    stopped: AtomicBool,
}

/// What a worker is given.
pub(super) enum Job {
    Write(Part),
    Compare(Comparison),
}

/// A part of a file to be written.
pub(super) struct Part {
    pub(super) file: Arc<OpenFile>,
    pub(super) stretch: Stretch,
}

/// A file that stands in the target, to be compared with what would be written.
pub(super) struct Comparison {
    standing: Box<dyn StandingFile>,
    path: Vec<u8>,
    content: Content,
    gate: Arc<Gate>,
}

/// A file that several workers may be writing.
pub(super) struct OpenFile {
    writer: Mutex<Option<Box<dyn FileWriter>>>,
    /// Parts that are not done.
    left: AtomicUsize,
    /// Why it cannot be restored.
    damage: Mutex<Option<RepositoryError>>,
    path: Vec<u8>,
    size: u64,
    reused: AtomicU64,
    /// Chunks written that are wanted again, and where.
    again: Mutex<Vec<(ChunkName, u64)>>,
    is_replaced: bool,
    gate: Arc<Gate>,
}

/// Counts files in progress, so that someone can wait for none.
#[derive(Default)]
pub(super) struct Gate {
    count: Mutex<usize>,
    none: Condvar,
}

impl Comparison {
    pub(super) fn new(
        standing: Box<dyn StandingFile>,
        path: Vec<u8>,
        content: Content,
        gate: Arc<Gate>,
    ) -> Self {
        gate.add();
        Self { standing, path, content, gate }
    }
}

impl OpenFile {
    /// A file that is written in one part, or in more of which [`Self::another_part`] is told.
    pub(super) fn new(
        writer: Box<dyn FileWriter>,
        path: Vec<u8>,
        size: u64,
        gate: Arc<Gate>,
    ) -> Self {
        gate.add();
        Self {
            writer: Mutex::new(Some(writer)),
            left: AtomicUsize::new(1),
            damage: Mutex::default(),
            path,
            size,
            reused: AtomicU64::new(0),
            again: Mutex::default(),
            is_replaced: false,
            gate,
        }
    }

    /// The same, taking the place of something or not.
    pub(super) fn replacing(self, is_replaced: bool) -> Self {
        Self { is_replaced, ..self }
    }

    /// The same file once more, for a part that comes before its last.
    pub(super) fn another_part(self: &Arc<Self>) -> Arc<Self> {
        self.left.fetch_add(1, Ordering::AcqRel);
        Arc::clone(self)
    }
}

impl<'r> Shared<'r> {
    pub(super) fn new(
        reader: &'r ChunkReader<'r>,
        keys: &'r VaultKeys,
        placed: Option<Arc<dyn PlacedFiles>>,
        progress: &'r dyn Progress,
    ) -> Self {
        Self {
            reader,
            keys,
            placed: Placed::new(placed),
            progress,
            done: Default::default(),
            report: Mutex::default(),
            damaged: Mutex::default(),
            unusable: Mutex::default(),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// What was done, or why it was not.
    pub(super) fn into_report(self) -> Result<RestoreReport, RepositoryError> {
        match locked(&self.failure).take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut *locked(&self.report))),
        }
    }

    /// Works until there are no more jobs. After a failure jobs are taken and dropped, so that
    /// nobody waits for them.
    pub(super) fn work(&self, jobs: &Receiver<Vec<Job>>) {
        for job in jobs.iter().flatten() {
            match job {
                Job::Write(part) => self.write_part(&part),
                Job::Compare(comparison) => self.compare(comparison),
            }
        }
    }

    fn write_part(&self, Part { file, stretch }: &Part) {
        if let Err(error) = self.write(file, stretch) {
            self.is_lost(file, error);
        }
        self.end_part(file);
    }

    /// A file cannot be restored: it is damaged, or the restore has failed.
    pub(super) fn is_lost(&self, file: &OpenFile, error: RepositoryError) {
        if error.is_local() {
            locked(&file.damage).get_or_insert(error);
        } else {
            self.fail(error);
        }
    }

    fn end_part(&self, file: &OpenFile) {
        if file.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            if let Err(error) = self.finish(file) {
                self.fail(error);
            }
            file.gate.remove();
        }
    }

    /// Writes a part of a file, or takes over what of it is on this machine already.
    fn write(&self, file: &OpenFile, stretch: &Stretch) -> Result<(), RepositoryError> {
        let mut offset = stretch.offset;
        for extent in &stretch.extents {
            if self.stopped.load(Relaxed) || locked(&file.damage).is_some() {
                return Ok(());
            }
            let at = offset;
            offset = offset.saturating_add(extent.length);
            if self.is_there(file, at, extent)? {
                if extent.chunk.is_some() {
                    file.reused.fetch_add(extent.length, Relaxed);
                }
            } else if let Some(name) = &extent.chunk {
                let at_hand = &|| self.placed.read(name, extent.length);
                let chunk = self.reader.chunk_or(name, self.again(file), at_hand)?;
                if chunk.as_ref().len() as u64 != extent.length {
                    return Err(RepositoryError::damaged("a file", "a chunk has another length"));
                }
                if let Some(writer) = locked(&file.writer).as_mut() {
                    writer.write_at(at, chunk.as_ref())?;
                }
                if self.placed.can_be_read() && self.reader.is_wanted_again(name) {
                    let mut again = locked(&file.again);
                    if again.len() < CHUNKS_MAX {
                        again.push((*name, at));
                    }
                }
            }
            self.done.1.fetch_add(extent.length, Relaxed);
        }
        self.tell();
        Ok(())
    }

    /// Where the chunks of a file that are wanted again come from: of a small one, which will soon be in
    /// place, from there.
    fn again(&self, file: &OpenFile) -> Again {
        let is_small = file.size <= SMALL_BYTES_MAX;
        if is_small && self.placed.can_be_read() { Again::ReadBack } else { Again::Kept }
    }

    /// Whether a part need not be written: it is a hole, or right already.
    fn is_there(&self, file: &OpenFile, at: u64, extent: &Extent) -> Result<bool, RepositoryError> {
        let mut writer = locked(&file.writer);
        let Some(writer) = writer.as_mut() else { return Ok(true) };
        let Some(name) = &extent.chunk else {
            return Ok(writer.hole(at, extent.length).map(|()| true)?);
        };
        // A chunk's length is bounded when it is decoded.
        let length = usize::try_from(extent.length).unwrap_or(0);
        let mut is_right = |bytes: &[u8]| self.reader.is_named(bytes, name);
        Ok(writer.take_over(at, length, &mut is_right)?)
    }

    /// Puts a file in place, or drops it if it is damaged or the restore has failed.
    fn finish(&self, file: &OpenFile) -> Result<(), RepositoryError> {
        let Some(writer) = locked(&file.writer).take() else { return Ok(()) };
        if self.stopped.load(Relaxed) {
            writer.suspend();
        } else if let Some(error) = locked(&file.damage).take() {
            self.leave_out(file.path.clone(), error);
        } else {
            let mut warnings = writer.finish()?;
            self.placed.add(&file.path, &locked(&file.again));
            let mut report = locked(&self.report);
            report.warnings.append(&mut warnings);
            report.files += 1;
            report.bytes += file.size;
            report.replaced_files += u64::from(file.is_replaced);
            report.reused_bytes += file.reused.load(Relaxed);
            drop(report);
            self.done.0.fetch_add(1, Relaxed);
            self.tell();
        }
        Ok(())
    }

    /// Compares a file that stands there with what would be written, and writes it if it is wrong.
    fn compare(&self, comparison: Comparison) {
        let Comparison { standing, path, content, gate } = comparison;
        match self.settle(standing, &path, &content) {
            Ok(Some(writer)) => {
                let file = OpenFile::new(writer, path, content.size, Arc::clone(&gate));
                let file = file.replacing(true);
                if let Err(error) = self.write_all(&file, &content) {
                    self.is_lost(&file, error);
                }
                self.end_part(&file);
            }
            Ok(None) => {}
            // Its list of extents cannot be read: nobody knows whether what stands there is right.
            Err(error) if error.is_local() => self.leave_out(path, error),
            Err(error) => self.fail(error),
        }
        gate.remove();
    }

    /// What to write in place of a file that stands there; none if it stays.
    fn settle(
        &self,
        mut standing: Box<dyn StandingFile>,
        path: &[u8],
        content: &Content,
    ) -> Result<Option<Box<dyn FileWriter>>, RepositoryError> {
        if self.stopped.load(Relaxed) {
            return Ok(None);
        }
        if self.is_right(&mut *standing, content)? {
            let mut warnings = standing.keep()?;
            locked(&self.report).warnings.append(&mut warnings);
            self.done.1.fetch_add(content.size, Relaxed);
            self.taken_over(content.size, true);
            return Ok(None);
        }
        let writer = standing.replace()?;
        if writer.is_none() {
            self.kept();
            locked(&self.unusable).insert(path.to_vec());
        }
        Ok(writer)
    }

    /// Whether a file that stands there holds this content.
    fn is_right(
        &self,
        standing: &mut dyn StandingFile,
        content: &Content,
    ) -> Result<bool, RepositoryError> {
        let mut offset = 0_u64;
        let mut extents = Extents::of(content, self.reader);
        while let Some(extent) = extents.next()? {
            self.keep_going()?;
            let is_right = match &extent.chunk {
                None => standing.is_hollow(offset, extent.length),
                Some(name) => {
                    let length = usize::try_from(extent.length).unwrap_or(0);
                    standing.holds(offset, length, &mut |bytes| self.reader.is_named(bytes, name))
                }
            };
            if !is_right {
                return Ok(false);
            }
            offset = offset.saturating_add(extent.length);
        }
        Ok(true)
    }

    /// Writes a whole file.
    fn write_all(&self, file: &OpenFile, content: &Content) -> Result<(), RepositoryError> {
        let mut stretches = Stretches::of(content, self.reader)?;
        while !stretches.is_at_end() {
            self.write(file, &stretches.next()?)?;
        }
        Ok(())
    }

    /// A file stays as it stands, being the one restored.
    pub(super) fn taken_over(&self, size: u64, was_compared: bool) {
        let mut report = locked(&self.report);
        report.taken_over_files += 1;
        report.taken_over_bytes += size;
        report.compared_files += u64::from(was_compared);
        drop(report);
        self.done.0.fetch_add(1, Relaxed);
        if !was_compared {
            self.done.1.fetch_add(size, Relaxed);
        }
        self.tell();
    }

    /// Something else stands in the place of a file, and stays.
    pub(super) fn kept(&self) {
        locked(&self.report).kept_files += 1;
    }

    /// Why a file restored before was left out.
    pub(super) fn damage_of(&self, path: &[u8]) -> Option<RepositoryError> {
        locked(&self.damaged).get(path).cloned()
    }

    /// Whether something else stands where that file was to be.
    pub(super) fn is_unusable(&self, path: &[u8]) -> bool {
        locked(&self.unusable).contains(path)
    }

    /// A file is not restored because what is stored of it is damaged.
    fn leave_out(&self, path: Vec<u8>, error: RepositoryError) {
        self.warn("RestoreFileDamaged", &path, &error);
        locked(&self.damaged).insert(path, error);
    }

    fn tell(&self) {
        let (files, bytes) = (self.done.0.load(Relaxed), self.done.1.load(Relaxed));
        let phase = Phase::Restoring;
        self.progress.report(&Status { phase, files, bytes, new_bytes: 0 });
    }

    pub(super) fn warn(&self, code: &'static str, path: &[u8], error: &RepositoryError) {
        let message = error.to_string();
        locked(&self.report).warnings.push(Warning { code, path: path.to_vec(), message });
    }

    pub(super) fn fail(&self, error: RepositoryError) {
        locked(&self.failure).get_or_insert(error);
        self.stopped.store(true, Relaxed);
    }

    pub(super) fn keep_going(&self) -> Result<(), RepositoryError> {
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

    pub(super) fn wait(&self) {
        let count = locked(&self.count);
        let waited = self.none.wait_while(count, |count| *count > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
