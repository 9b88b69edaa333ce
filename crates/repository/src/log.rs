//! The log that orders everything that happens to a repository (docs/formats/repository-log.md).
//!
//! [`Log`] reads and appends entries; [`History`] is what they say; [`Session`] is one run of a
//! writer; [`SessionWatch`] finds writers that died; [`Prune`] deletes packs under their eyes.
//! Nothing here needs a lock, a rename or a fresh listing: of two writers that want the same
//! number one wins, and the other reads what it lost to and thinks again.

mod authenticator;
mod body;
mod entry;
mod error;
mod history;
mod host;
mod identifiers;
mod pin;
mod prune;
mod session;
mod survey;
mod void;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_ambient::{Clock, Entropy, random_array};
use custody_blob_store::{BlobName, BlobStore, Creation, StoreError};
use custody_names::VaultGuid;

pub(crate) use authenticator::Keyless;
pub use authenticator::{
    Authenticator, KeyedTag, KeyholderAuthenticator, LogAuthenticator, ServerAuthenticator,
    ServerSignature, TrustedServers, Verdict,
};
pub use body::{
    Body, Checkpoint, Confirmed, EndReason, ForgetReason, Genesis, HostFacts, KeyringHead,
    PointCommitted, PointForgotten, PruneFinished, PruneIntent, SessionBegun, SessionEnded,
};
pub use entry::{Entry, SealedEntry};
pub use error::{LogError, LogFault};
pub use history::{History, LivingSession, OpenIntent, Point, Tombstone};
pub use host::{HostProbe, Liveness, ProcHost};
pub use identifiers::{EntryHash, ItemGuid, ObjectId, SessionId};
pub use pin::HeadPin;
pub use prune::{PRUNE_POLL_INTERVAL, Prune, PruneOutcome};
pub use session::{HEARTBEAT_INTERVAL, NewIntent, NewPoint, SESSION_LEASE, Session};
pub(crate) use survey::survey_from;
pub use survey::{GAP_ENTRIES_MAX, Survey, survey};
pub use void::{Effect, VoidReason};
pub use watch::SessionWatch;

use entry::object_name;

/// How often an append may lose its number to other writers.
const APPEND_ATTEMPTS_MAX: u32 = 1_000;

/// A checkpoint is due when so many entries stand after the newest one: reading them takes about as
/// long as reading the state of so many points.
pub const CHECKPOINT_ENTRIES: u64 = 8_192;

/// Largest state that is written as a checkpoint, in bytes; half of what an object may hold. A state
/// that has grown beyond it is read from the last checkpoint that could be written.
const CHECKPOINT_BYTES_MAX: usize = 32 << 20;

/// How often an entry is sent when no clear answer comes.
const SEND_ATTEMPTS_MAX: u32 = 3;

/// What a log needs of the world around it.
#[derive(Clone)]
pub struct LogParts {
    /// Where the entries are.
    pub store: Arc<dyn BlobStore>,
    /// The vault, from its record: never read from the store.
    pub vault: VaultGuid,
    /// Makes and checks authenticators.
    pub authenticator: Arc<dyn LogAuthenticator>,
    /// Times entries, leases and waits.
    pub clock: Arc<dyn Clock>,
    /// Gives nonces and session ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The log of one repository, as far as it has been read. Threads may share it.
pub struct Log {
    parts: LogParts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    history: Arc<History>,
    /// Unconfirmed entries whose signer this reader does not know.
    strangers: std::collections::BTreeSet<u64>,
    /// The newest checkpoint that reading may begin at.
    checkpoint: Option<HeadPin>,
}

impl Log {
    /// Begins a log in a store that holds none.
    ///
    /// # Errors
    /// [`LogError::Present`] if it holds one.
    pub fn create(parts: LogParts, genesis: Genesis) -> Result<Self, LogError> {
        let log = Self { parts, state: Mutex::default() };
        log.append(&mut |history| match history.head() {
            None => Ok(Body::Genesis(genesis.clone())),
            Some(_) => Err(LogError::Present),
        })?;
        Ok(log)
    }

    /// Reads the log to its head. With `start`, the pin of a checkpoint that the caller keeps,
    /// reading begins there.
    ///
    /// # Errors
    /// [`LogError::Absent`] without a log, [`LogError::RolledBack`] if `start` is not what stands
    /// in the store, [`LogError::Fault`] for the first entry that is damaged, forged or missing.
    pub fn open(parts: LogParts, start: Option<HeadPin>) -> Result<Self, LogError> {
        let log = Self { parts, state: Mutex::default() };
        if let Some(pin) = start {
            log.check_pin(pin)?;
            log.start_at(pin)?;
        }
        log.refresh()?;
        if log.history().head().is_none() {
            return Err(LogError::Absent);
        }
        Ok(log)
    }

    /// What the log says, as far as it has been read.
    pub fn history(&self) -> Arc<History> {
        Arc::clone(&self.state().history)
    }

    /// Reads what others appended and gives the new state.
    pub fn refresh(&self) -> Result<Arc<History>, LogError> {
        let mut state = self.state();
        self.read_on(&mut state)?;
        Ok(Arc::clone(&state.history))
    }

    /// Appends the entry whose body `decide` gives for the newest state; it is asked again when
    /// another writer was faster, and may refuse. It must not call this log.
    ///
    /// # Errors
    /// What `decide` gives; [`LogError::Refused`] if the entry would be void (a fenced session's
    /// commit); [`LogError::Unclear`] if nobody can say whether it was written.
    pub fn append(
        &self,
        decide: &mut dyn FnMut(&History) -> Result<Body, LogError>,
    ) -> Result<HeadPin, LogError> {
        let mut state = self.state();
        for _ in 0..APPEND_ATTEMPTS_MAX {
            self.read_on(&mut state)?;
            let body = decide(&state.history)?;
            let next = state.history.next();
            let time_ms = self.parts.clock.now().as_millisecond();
            let nonce = random_array(&*self.parts.entropy)?;
            let entry = Entry::new(self.parts.vault, next, time_ms, nonce, body);
            let (bytes, sealed) = entry.seal(&*self.parts.authenticator)?;
            state
                .history
                .judge(next.0, &sealed.entry.body, sealed.keyed)
                .map_err(|reason| LogError::Refused { kind: sealed.entry.body.kind(), reason })?;
            if self.send(next.0, &bytes)? {
                state.take(&sealed)?;
                return Ok(HeadPin { number: next.0, hash: sealed.hash });
            }
        }
        Err(LogError::Busy(APPEND_ATTEMPTS_MAX))
    }

    /// Reads entry `number` again, whole.
    pub fn read_entry(&self, number: u64) -> Result<Option<SealedEntry>, LogError> {
        let LogParts { store, vault, authenticator, .. } = &self.parts;
        read_entry(&**store, *vault, &**authenticator, number)
    }

    /// Marks a point as forgotten. Needs no key.
    pub fn forget(&self, point: ObjectId, why: ForgetReason) -> Result<HeadPin, LogError> {
        let forget =
            || self.append(&mut |_| Ok(Body::PointForgotten(PointForgotten { point, why })));
        match forget() {
            Err(LogError::Store(StoreError::Full(_))) if self.parts.store.spend_reserve()? => {
                forget()
            }
            forgotten => forgotten,
        }
    }

    /// Confirms every entry made without the key, except what servers made that the
    /// authenticator does not trust: that is rejected. `None` if there is nothing to confirm.
    pub fn confirm(&self) -> Result<Option<HeadPin>, LogError> {
        if self.refresh()?.unconfirmed().is_empty() {
            return Ok(None);
        }
        let strangers = self.state().strangers.clone();
        self.append(&mut |history| {
            let up_to = history.unconfirmed().last().copied().unwrap_or_default();
            let rejected = strangers.iter().copied().filter(|number| *number <= up_to).collect();
            Ok(Body::Confirmed(Confirmed { up_to, rejected }))
        })
        .map(Some)
    }

    /// Records the keyring in force.
    pub fn keyring_changed(&self, ring: KeyringHead) -> Result<HeadPin, LogError> {
        self.append(&mut |_| Ok(Body::KeyringHead(ring.clone())))
    }

    /// Records the keyring in force behind a head that was seen before. What stands before that head
    /// is not read: this takes as long however many points there are.
    ///
    /// # Errors
    /// [`LogError::RolledBack`] if the log does not hold that head, and those of appending.
    pub fn tell_keyring(
        parts: LogParts,
        seen: HeadPin,
        ring: KeyringHead,
    ) -> Result<HeadPin, LogError> {
        let log = Self { parts, state: Mutex::default() };
        log.check_pin(seen)?;
        // A history without its past judges of rings alone what every reader does; one that is
        // older than another that stands before the head is void for them and harms nobody.
        Arc::make_mut(&mut log.state().history).skip_to(seen.number + 1, seen.hash);
        log.keyring_changed(ring)
    }

    /// Reads the log from a checkpoint that the caller keeps the pin of, or from its beginning if
    /// there is none or it is not what stands in the store: that is for whoever reads all to judge.
    ///
    /// # Errors
    /// Those of [`Log::open`] without a pin.
    pub fn open_from(parts: LogParts, checkpoint: Option<HeadPin>) -> Result<Self, LogError> {
        if checkpoint.is_some()
            && let Ok(log) = Self::open(parts.clone(), checkpoint)
        {
            return Ok(log);
        }
        Self::open(parts, None)
    }

    /// Writes a checkpoint; its pin, kept by the caller, lets [`Log::open`] begin there.
    ///
    /// # Errors
    /// [`LogError::Refused`] with [`VoidReason::Unconfirmed`] while a key holder has not looked at every
    /// entry: whose signatures they bear is not in the state.
    pub fn checkpoint(&self) -> Result<HeadPin, LogError> {
        self.append(&mut |history| {
            if !history.unconfirmed().is_empty() {
                let (kind, reason) = ("checkpoint", VoidReason::Unconfirmed);
                return Err(LogError::Refused { kind, reason });
            }
            history.to_checkpoint().map(Body::Checkpoint)
        })
    }

    /// Writes a checkpoint if [`CHECKPOINT_ENTRIES`] stand after the newest, as far as the log has been
    /// read, and it can be written.
    pub fn checkpoint_if_due(&self) -> Result<(), LogError> {
        let history = self.history();
        let newest = self.newest_checkpoint().map_or(0, |pin| pin.number);
        let head = history.head().map_or(0, |head| head.number);
        let is_due = head.saturating_sub(newest) >= CHECKPOINT_ENTRIES;
        if !is_due || history.to_checkpoint()?.state.len() > CHECKPOINT_BYTES_MAX {
            return Ok(());
        }
        match self.checkpoint() {
            Ok(_) | Err(LogError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The newest checkpoint that was met, by whomever it was written: it was held against the state
    /// that the entries before it give.
    pub fn newest_checkpoint(&self) -> Option<HeadPin> {
        self.state().checkpoint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the state from the checkpoint under `pin`, whose hash has been checked.
    fn start_at(&self, pin: HeadPin) -> Result<(), LogError> {
        let wrong = |fault| LogError::Fault { number: pin.number, fault };
        let sealed = self.read_entry(pin.number)?.ok_or(wrong(LogFault::Missing))?;
        let Body::Checkpoint(checkpoint) = &sealed.entry.body else {
            return Err(wrong(LogFault::Damaged("it is no checkpoint")));
        };
        let mut history = History::from_state(&checkpoint.state)
            .ok_or(wrong(LogFault::Damaged("its state cannot be decoded")))?;
        match history.apply(&sealed) {
            // Whose signatures unconfirmed entries bear is known to none who does not read them.
            Ok(Effect::Applied) if history.unconfirmed().is_empty() => {}
            Ok(_) | Err(_) => return Err(wrong(LogFault::ChainBroken)),
        }
        let mut state = self.state();
        state.history = Arc::new(history);
        state.checkpoint = Some(pin);
        Ok(())
    }

    fn read_on(&self, state: &mut State) -> Result<(), LogError> {
        loop {
            let (number, _) = state.history.next();
            match self.read_entry(number)? {
                Some(sealed) => state.take(&sealed)?,
                None if self.is_gap(number)? => {
                    return Err(LogError::Fault { number, fault: LogFault::Missing });
                }
                None => return Ok(()),
            }
        }
    }

    /// Whether entry `number`, seen to be absent, is missing while the next one stands. Another
    /// writer may have appended both since, so it is looked for once more.
    fn is_gap(&self, number: u64) -> Result<bool, LogError> {
        let store = &self.parts.store;
        let next_stands = store.size(&object_name(number + 1)?)?.is_some();
        Ok(next_stands && store.size(&object_name(number)?)?.is_none())
    }

    /// Whether the store lists an entry that lies beyond the head: then those between are missing.
    fn refuse_gap(&self) -> Result<(), LogError> {
        let mut last = 0;
        self.parts.store.list("log/", &mut |name, _| {
            let number = name.as_str().trim_start_matches("log/").parse().unwrap_or(0);
            last = last.max(number);
        })?;
        // Read after listing: what others append meanwhile is then no gap.
        let (number, _) = self.refresh()?.next();
        if last < number {
            return Ok(());
        }
        Err(LogError::Fault { number, fault: LogFault::Missing })
    }

    /// Creates entry `number`; `false` if another writer's stands there.
    fn send(&self, number: u64, bytes: &[u8]) -> Result<bool, LogError> {
        let name = object_name(number)?;
        let mut unclear = None;
        for _ in 0..SEND_ATTEMPTS_MAX {
            match self.parts.store.create(&name, bytes) {
                Ok(Creation::Created) => return Ok(true),
                Ok(Creation::Exists) if unclear.is_none() => return Ok(false),
                Ok(Creation::Exists) => {
                    return Ok(self.parts.store.read(&name)?.as_deref() == Some(bytes));
                }
                Err(error) => unclear = Some(error),
            }
        }
        match unclear {
            Some(error) => Err(self.unsent(number, &name, error)),
            None => Err(LogError::Bug("nothing was sent and nothing failed")),
        }
    }

    /// What to say after the last attempt failed: a store that is full or refuses, and holds
    /// nothing under the name, has clearly not taken the entry.
    fn unsent(&self, number: u64, name: &BlobName, error: StoreError) -> LogError {
        let may_come_late = matches!(error, StoreError::Unavailable(_));
        match self.parts.store.size(name) {
            Ok(None) if !may_come_late => LogError::Store(error),
            _ => LogError::Unclear { number, source: error },
        }
    }
}

impl State {
    fn take(&mut self, sealed: &SealedEntry) -> Result<(), LogError> {
        let number = sealed.entry.number;
        let effect = Arc::make_mut(&mut self.history)
            .apply(sealed)
            .map_err(|fault| LogError::Fault { number, fault })?;
        let is_checkpoint = matches!(sealed.entry.body, Body::Checkpoint(_));
        if is_checkpoint && effect == Effect::Applied && self.history.unconfirmed().is_empty() {
            self.checkpoint = Some(HeadPin { number, hash: sealed.hash });
        }
        if sealed.verdict == Verdict::Unchecked && !sealed.keyed {
            self.strangers.insert(number);
        }
        Ok(())
    }
}

/// Entry `number` as it stands in the store, if it does.
fn read_entry(
    store: &dyn BlobStore,
    vault: VaultGuid,
    authenticator: &dyn LogAuthenticator,
    number: u64,
) -> Result<Option<SealedEntry>, LogError> {
    let Some(bytes) = store.read(&object_name(number)?)? else { return Ok(None) };
    SealedEntry::open(&bytes, number, vault, authenticator).map(Some)
}
