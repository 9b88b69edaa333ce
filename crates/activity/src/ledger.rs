//! The ledger as those see it who write to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_ambient::{Clock, Timestamp};
use rustix::fs::FlockOperation;
use serde::Serialize;

use crate::disk::{Disk, SystemDisk, is_full};
use crate::line::{Said, encode};
use crate::queue::{Queue, Ticket};
use crate::reserve::Reserve;
use crate::segment::Segment;
use crate::tail::{FORMAT, Tail};
use crate::{Entries, HeadFile, LedgerError, Note, Order, Position, Signer, read, read_from};

/// Longest record, in bytes of JSON.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A segment that has reached this length gets no further line, in bytes.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// A head is signed each time so many lines have come.
const HEAD_INTERVAL_LINES: u64 = 256;

/// What may happen to an append when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// It fails with [`LedgerError::Full`].
    Ordinary,
    /// It may use the reserve: restore, forget, prune, and the unwraps that they need.
    Essential,
}

/// An open ledger. Any number of them, in any number of processes, may stand on one folder.
pub struct Ledger {
    folder: PathBuf,
    signer: Option<Signer>,
    clock: Arc<dyn Clock>,
    disk: Box<dyn Disk>,
    lock: File,
    queue: Queue,
    state: Mutex<State>,
    failed: AtomicU64,
}

/// What one handle remembers between appends.
struct State {
    tail: Option<Tail>,
    reserve: Reserve,
}

impl Ledger {
    /// Opens the ledger in `folder`, making folder, lock and reserve where they are missing.
    /// The chain itself begins with the first append. Without a signer heads stay unsigned.
    pub fn open(
        folder: &Path,
        signer: Option<Signer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LedgerError> {
        Self::open_on(Box::new(SystemDisk), folder, signer, clock)
    }

    /// Puts `record`, which must become a JSON object of at most 64 KiB, on the ledger. When this
    /// returns, it has outlived any crash. Records that come while others are being written share
    /// the next write: many threads cost one sync, not one each.
    pub fn append(
        &self,
        record: &impl Serialize,
        importance: Importance,
    ) -> Result<Position, LedgerError> {
        let appended = self.append_durably(record, importance);
        self.failed.fetch_add(u64::from(appended.is_err()), Ordering::Relaxed);
        appended
    }

    /// How many appends by this handle have failed: so many acts were refused for want of a record.
    pub fn failed_appends(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn append_durably(
        &self,
        record: &impl Serialize,
        importance: Importance,
    ) -> Result<Position, LedgerError> {
        let invalid = |why: String| Err(LedgerError::InvalidRecord(why));
        let record = match serde_json::to_string(record) {
            Ok(record) if record.starts_with('{') => record,
            Ok(_) => return invalid("it is no JSON object".to_owned()),
            Err(error) => return invalid(error.to_string()),
        };
        if record.len() > RECORD_BYTES_MAX {
            return invalid(format!("{} bytes of at most {RECORD_BYTES_MAX}", record.len()));
        }
        self.queue.pass(record, importance, |batch| self.write_batch(batch))
    }

    /// The last line, or `None` while there is none.
    pub fn head(&self) -> Result<Option<Position>, LedgerError> {
        let position = self.locked(|state| Ok(self.tail(state)?.position))?;
        Ok((position != Position::ORIGIN).then_some(position))
    }

    /// Signs the last line, on the ledger itself. Does nothing where it is signed already, where
    /// there is no line or no signer. To be called when a process ends its work.
    pub fn sign_head(&self) -> Result<(), LedgerError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        self.locked(|state| {
            let tail = self.tail(state)?;
            let ours = tail.begun && tail.public_key.as_ref() == Some(&signer.public_key());
            if !ours || tail.signed || tail.fault.is_some() {
                return Ok(());
            }
            self.write(state, Vec::new(), Importance::Ordinary).map(drop)
        })
    }

    /// The last line as a file to keep elsewhere, or `None` while there is none.
    pub fn export_head(&self) -> Result<Option<HeadFile>, LedgerError> {
        let head = self.head()?;
        head.map(|head| HeadFile::sign(head, self.clock.now(), self.signer.as_ref())).transpose()
    }

    /// All lines that stand now, see [`read`].
    pub fn read(&self, order: Order) -> Result<Entries, LedgerError> {
        read(&self.folder, order)
    }

    /// The lines from the one with this sequence number on, see [`read_from`].
    pub fn read_from(&self, sequence: u64) -> Result<Entries, LedgerError> {
        read_from(&self.folder, sequence)
    }

    /// As [`Ledger::open`], on a disk that a test may have made.
    pub(crate) fn open_on(
        disk: Box<dyn Disk>,
        folder: &Path,
        signer: Option<Signer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LedgerError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(LedgerError::io("make", folder))?;
        let path = folder.join("lock");
        let lock = private_file(&path).map_err(LedgerError::io("open", &path))?;
        let state = State { tail: None, reserve: Reserve::in_folder(folder) };
        let (folder, queue, state) = (folder.to_owned(), Queue::default(), Mutex::new(state));
        let failed = AtomicU64::new(0);
        let ledger = Self { folder, signer, clock, disk, lock, queue, state, failed };
        ledger.locked(|state| {
            state.reserve.refill(&*ledger.disk);
            ledger.tail(state).map(drop)
        })?;
        Ok(ledger)
    }

    /// Runs `act` while neither another thread nor another process writes.
    fn locked<T>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut state = held(&self.state);
        let _held = Held::take(&self.lock).map_err(|errno| self.unlockable(errno))?;
        act(&mut state)
    }

    fn unlockable(&self, errno: rustix::io::Errno) -> LedgerError {
        LedgerError::io("lock", &self.folder)(errno.into())
    }

    /// The tail, from memory if it still holds.
    fn tail<'s>(&self, state: &'s mut State) -> Result<&'s Tail, LedgerError> {
        let tail = match state.tail.take().filter(|tail| tail.holds(&self.folder)) {
            Some(tail) => tail,
            None => Tail::find(&self.folder)?,
        };
        Ok(state.tail.insert(tail))
    }

    /// Writes records all at once; if that fails each by itself, so that everybody learns what
    /// became of their own.
    fn write_batch(&self, batch: &[Arc<Ticket>]) {
        let mut state = held(&self.state);
        let _held = match Held::take(&self.lock) {
            Ok(held) => held,
            Err(errno) => {
                return batch.iter().for_each(|ticket| ticket.settle(Err(self.unlockable(errno))));
            }
        };
        // Ordinary records must not use up the reserve in the shadow of an essential one.
        let together = match batch {
            [_] => None,
            all => {
                let records = all.iter().map(|ticket| Said::Record(&ticket.record)).collect();
                self.extend(&mut state, records, Importance::Ordinary).ok()
            }
        };
        let mut positions = together.unwrap_or_default().into_iter();
        for ticket in batch {
            ticket.settle(match positions.next() {
                Some(position) => Ok(position),
                None => self
                    .extend(&mut state, vec![Said::Record(&ticket.record)], ticket.importance)
                    .and_then(|positions| positions.first().copied().ok_or(LedgerError::Lost)),
            });
        }
        state.reserve.refill(&*self.disk);
    }

    /// Adds lines, and before them the note on a damaged tail, if there is one.
    fn extend(
        &self,
        state: &mut State,
        contents: Vec<Said<'_>>,
        importance: Importance,
    ) -> Result<Vec<Position>, LedgerError> {
        if let Some(fault) = self.tail(state)?.fault.clone() {
            self.write(state, vec![Said::Note(fault)], importance)?;
        }
        self.write(state, contents, importance)
    }

    /// Writes lines with the notes that belong around them, or a signed head alone.
    fn write(
        &self,
        state: &mut State,
        contents: Vec<Said<'_>>,
        importance: Importance,
    ) -> Result<Vec<Position>, LedgerError> {
        let tail = self.tail(state)?.clone();
        state.tail = None; // known again only when the write has gone through
        let batch = self.compose(&tail, contents)?;
        while let Err(error) = self.store(&tail, &batch) {
            if !is_full(&error) {
                return Err(LedgerError::io("write", &batch.segment.path)(error));
            }
            if importance == Importance::Ordinary || !self.release(state)? {
                return Err(LedgerError::Full(self.folder.clone()));
            }
        }
        state.tail = Some(Tail {
            position: batch.last,
            offset: batch.offset + batch.bytes.len() as u64,
            segment: batch.segment,
            begun: true,
            public_key: batch.public_key,
            signed: batch.signed,
            fault: None,
        });
        Ok(batch.positions)
    }

    /// Gives blocks of the reserve back to the file system; `false` if none are left.
    fn release(&self, state: &mut State) -> Result<bool, LedgerError> {
        state.reserve.release().map_err(LedgerError::io("shrink the reserve in", &self.folder))
    }

    /// What is to be written: a new segment's `begin`, the lines, a signed head where one is due.
    fn compose(&self, tail: &Tail, contents: Vec<Said<'_>>) -> Result<Batch, LedgerError> {
        let time = self.clock.now();
        let own_key = self.signer.as_ref().map(Signer::public_key);
        let mut batch = Batch::behind(tail);
        // A fault is recorded where it stands and a head behind what it signs.
        let stays = tail.begun && (tail.fault.is_some() || contents.is_empty());
        let outgrown = tail.offset >= SEGMENT_BYTES_MAX || tail.public_key != own_key;
        if !tail.begun || (outgrown && !stays) {
            batch.begin(&self.folder, own_key, time)?;
        }
        let asked = contents.is_empty();
        for content in contents {
            let position = batch.add(time, content)?;
            batch.positions.push(position);
        }
        let interval = |position: Position| position.sequence / HEAD_INTERVAL_LINES;
        if let Some(signer) = &self.signer
            && batch.public_key.as_ref() == Some(&signer.public_key())
            && (asked || interval(tail.position) != interval(batch.last))
        {
            let signature = signer.sign(batch.last, time)?;
            batch.add(time, Said::Note(Note::Head { signature }))?;
            batch.signed = true;
        }
        Ok(batch)
    }

    /// Brings a batch to the device, or leaves the segment as it was.
    fn store(&self, tail: &Tail, batch: &Batch) -> io::Result<()> {
        let file = private_file(&batch.segment.path)?;
        let written = self.disk.write_tail(&file, batch.offset, &batch.bytes);
        if let Err(error) = written {
            if tail.fault.is_none() {
                // What cannot be cut back now, the next writer finds and records as torn.
                file.set_len(batch.offset).and_then(|()| file.sync_data()).ok();
            }
            return Err(error);
        }
        if batch.offset == 0 {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Lines to be written at once.
struct Batch {
    segment: Segment,
    offset: u64,
    bytes: Vec<u8>,
    /// Where the lines that were asked for will stand.
    positions: Vec<Position>,
    /// Where the last line will stand.
    last: Position,
    /// The key that the segment's `begin` names.
    public_key: Option<String>,
    /// The last line is a head.
    signed: bool,
}

impl Batch {
    /// Nothing yet, to be written behind the tail.
    fn behind(tail: &Tail) -> Self {
        Self {
            segment: tail.segment.clone(),
            offset: tail.offset,
            bytes: Vec::new(),
            positions: Vec::new(),
            last: tail.position,
            public_key: tail.public_key.clone(),
            signed: false,
        }
    }

    /// Goes to a new segment.
    fn begin(
        &mut self,
        folder: &Path,
        public_key: Option<String>,
        time: Timestamp,
    ) -> Result<(), LedgerError> {
        self.segment = Segment::at(folder, self.last.sequence + 1);
        self.offset = 0;
        self.public_key.clone_from(&public_key);
        self.add(time, Said::Note(Note::Begin { format: FORMAT, public_key })).map(drop)
    }

    /// Adds a line and returns its place.
    fn add(&mut self, time: Timestamp, content: Said<'_>) -> Result<Position, LedgerError> {
        let line = encode(self.last, time, content, &mut self.bytes);
        self.last = line.map_err(|error| LedgerError::InvalidRecord(error.to_string()))?;
        Ok(self.last)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock, held.
struct Held<'f>(&'f File);

impl<'f> Held<'f> {
    fn take(file: &'f File) -> rustix::io::Result<Self> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive))?;
        Ok(Self(file))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Closing the file releases the lock too, so a failure here cannot keep it for ever.
        rustix::fs::flock(self.0, FlockOperation::Unlock).ok();
    }
}

/// Opens a file for reading and writing that only its owner can read.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use custody_test_world::FixedClock;
    use serde_json::json;

    use super::*;

    const FOLLOWERS: usize = 8;

    /// A disk whose first write lasts until so many records wait.
    struct SlowDisk {
        writes: Arc<AtomicUsize>,
        waiting: Arc<AtomicUsize>,
    }

    impl Disk for SlowDisk {
        fn write_tail(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
            if self.writes.fetch_add(1, Ordering::SeqCst) == 0 {
                while self.waiting.load(Ordering::SeqCst) < FOLLOWERS {
                    std::thread::yield_now();
                }
            }
            SystemDisk.write_tail(file, offset, bytes)
        }

        fn allocate(&self, file: &File, length_bytes: u64) -> io::Result<()> {
            SystemDisk.allocate(file, length_bytes)
        }

        fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
            SystemDisk.free_bytes(folder)
        }
    }

    #[test]
    fn records_that_come_during_a_write_share_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (writes, waiting) = (Arc::default(), Arc::default());
        let disk = SlowDisk { writes: Arc::clone(&writes), waiting: Arc::clone(&waiting) };
        let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
        let ledger = Ledger::open_on(Box::new(disk), folder.path(), None, clock).unwrap();
        let append = |number: usize| {
            let record = json!({ "number": number });
            ledger.append(&record, Importance::Ordinary).unwrap().sequence
        };
        let mut positions = std::thread::scope(|scope| {
            let first = scope.spawn(|| append(0));
            while writes.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let others: Vec<_> = (1..=FOLLOWERS)
                .map(|number| {
                    scope.spawn({
                        let append = &append;
                        move || append(number)
                    })
                })
                .collect();
            while ledger.queue.len() < FOLLOWERS {
                std::thread::yield_now();
            }
            waiting.store(FOLLOWERS, Ordering::SeqCst);
            let mut positions = vec![first.join().unwrap()];
            positions.extend(others.into_iter().map(|other| other.join().unwrap()));
            positions
        });
        assert_eq!(writes.load(Ordering::SeqCst), 2, "one for the first, one for all others");
        positions.sort_unstable();
        positions.dedup();
        assert_eq!(positions.len(), FOLLOWERS + 1, "each record has its own place");
        assert!(crate::verify(folder.path(), None).unwrap().passed());
    }
}
