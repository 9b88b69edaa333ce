//! The ledger as those see it who write to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use custody_ambient::{Clock, Timestamp};
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde_json::Value;

use crate::disk::{Disk, SystemDisk, is_full};
use crate::line::encode;
use crate::reserve::Reserve;
use crate::segment::Segment;
use crate::tail::{FORMAT, Tail};
use crate::{Content, Entries, HeadFile, LedgerError, Note, Order, Position, Signer, read};

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
    state: Mutex<State>,
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
    /// returns, it has outlived any crash. Waits for other writers, one write each.
    pub fn append(
        &self,
        record: &impl Serialize,
        importance: Importance,
    ) -> Result<Position, LedgerError> {
        let invalid = |why: String| Err(LedgerError::InvalidRecord(why));
        let record = match serde_json::to_value(record) {
            Ok(record @ Value::Object(_)) => record,
            Ok(_) => return invalid("it is no JSON object".to_owned()),
            Err(error) => return invalid(error.to_string()),
        };
        let length_bytes = record.to_string().len();
        if length_bytes > RECORD_BYTES_MAX {
            return invalid(format!("{length_bytes} bytes of at most {RECORD_BYTES_MAX}"));
        }
        self.locked(|state| self.extend(state, Content::Record(record), importance))
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
            self.write(state, None, Importance::Ordinary).map(drop)
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
        let state = Mutex::new(state);
        let ledger = Self { folder: folder.to_owned(), signer, clock, disk, lock, state };
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = Held::take(&self.lock)
            .map_err(|errno| LedgerError::io("lock", &self.folder)(errno.into()))?;
        act(&mut state)
    }

    /// The tail, from memory if it still holds.
    fn tail<'s>(&self, state: &'s mut State) -> Result<&'s Tail, LedgerError> {
        let tail = match state.tail.take().filter(|tail| tail.holds(&self.folder)) {
            Some(tail) => tail,
            None => Tail::find(&self.folder)?,
        };
        Ok(state.tail.insert(tail))
    }

    /// Adds a line, and before it the note on a damaged tail, if there is one.
    fn extend(
        &self,
        state: &mut State,
        content: Content,
        importance: Importance,
    ) -> Result<Position, LedgerError> {
        if let Some(fault) = self.tail(state)?.fault.clone() {
            self.write(state, Some(Content::Note(fault)), importance)?;
        }
        let position = self.write(state, Some(content), importance)?;
        state.reserve.refill(&*self.disk);
        Ok(position)
    }

    /// Writes one line with the notes that belong around it, or a signed head alone.
    fn write(
        &self,
        state: &mut State,
        content: Option<Content>,
        importance: Importance,
    ) -> Result<Position, LedgerError> {
        let tail = self.tail(state)?.clone();
        state.tail = None; // known again only when the write has gone through
        let batch = self.compose(&tail, content)?;
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
        Ok(batch.position)
    }

    /// Gives blocks of the reserve back to the file system; `false` if none are left.
    fn release(&self, state: &mut State) -> Result<bool, LedgerError> {
        state.reserve.release().map_err(LedgerError::io("shrink the reserve in", &self.folder))
    }

    /// What is to be written: a new segment's `begin`, the line, a signed head where one is due.
    fn compose(&self, tail: &Tail, content: Option<Content>) -> Result<Batch, LedgerError> {
        let time = self.clock.now();
        let own_key = self.signer.as_ref().map(Signer::public_key);
        let mut batch = Batch::behind(tail);
        // A fault is recorded where it stands and a head behind what it signs.
        let stays = tail.begun && (tail.fault.is_some() || content.is_none());
        let outgrown = tail.offset >= SEGMENT_BYTES_MAX || tail.public_key != own_key;
        if !tail.begun || (outgrown && !stays) {
            batch.begin(&self.folder, own_key, time)?;
        }
        let asked = content.is_none();
        if let Some(content) = content {
            batch.position = batch.add(time, content)?;
        }
        let interval = |position: Position| position.sequence / HEAD_INTERVAL_LINES;
        if let Some(signer) = &self.signer
            && batch.public_key.as_ref() == Some(&signer.public_key())
            && (asked || interval(tail.position) != interval(batch.last))
        {
            let signature = signer.sign(batch.last, time)?;
            batch.add(time, Content::Note(Note::Head { signature }))?;
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
    /// Where the line that was asked for will stand.
    position: Position,
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
            position: tail.position,
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
        self.add(time, Content::Note(Note::Begin { format: FORMAT, public_key })).map(drop)
    }

    /// Adds a line and returns its place.
    fn add(&mut self, time: Timestamp, content: Content) -> Result<Position, LedgerError> {
        let line = encode(self.last, time, content, &mut self.bytes);
        self.last = line.map_err(|error| LedgerError::InvalidRecord(error.to_string()))?;
        Ok(self.last)
    }
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
