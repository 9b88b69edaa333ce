//! What of the ledger is sent on: the one mechanism beneath audit destinations and event
//! subscriptions.
//!
//! The ledger is where everything is on record before it is answered; others get copies, each in the
//! ledger's order and at least once. How far each has come is kept in the record store, so one that
//! was down gets what it missed after any restart. Each is served by a thread of its own while it
//! lacks something: a slow one delays nobody.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use custody_activity::{AuditDestination, EventSubscription, LedgerError};
use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{Hosts, Kind, Refusal, Stored};
use serde::{Deserialize, Serialize};

use crate::event_delivery::{Dropped, is_proved};
use crate::{Platform, fault};

/// The setting that says how far a receiver has come; its id follows.
const SETTING_DELIVERY: &str = "audit-delivery:";
/// Most receivers that are served at once; the others wait for the next round.
const THREADS_MAX: usize = 64;
/// Most turns of a receiver in one round: then its thread ends, and the next round goes on.
const TURNS_MAX: usize = 64;
/// Most lines of the ledger that one turn looks at.
pub(crate) const LINES_MAX: usize = 20_000;
/// The file whose lock says which process sends.
const TURN_FILE: &str = "delivery.lock";

/// Posts to web addresses: HTTP is `wire`'s business. An error says what went wrong, and of the
/// address no more than its host: the rest may be secret.
pub trait Courier: Send + Sync {
    /// Posts `body` with these headers; an answer other than 2xx is an error. Returns the answer's
    /// body, or its beginning if it is long.
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, String>;

    /// Asks a receiver whether `origin` may post there (the abuse protection of CloudEvents'
    /// webhooks); anything but a clear yes is an error.
    fn ask_leave(&self, url: &str, origin: &str) -> Result<(), String>;
}

/// How far a receiver has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// When the receiver was made that this is about: another of its name begins anew.
    pub since: Option<Timestamp>,
    /// The last line of the ledger that it needs no more.
    pub sequence: u64,
    /// Why the last try failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How often in a row.
    pub failures: u32,
    /// It is not tried again before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The address that has proved that it wants events, as a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proved: Option<String>,
    /// How many events were given up.
    pub dropped: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_dropped: Option<Dropped>,
}

impl Delivery {
    /// Notes a try that failed; the next one comes no sooner than `wait` says for that many.
    pub(crate) fn failed(
        &mut self,
        problem: String,
        now: Timestamp,
        wait: impl FnOnce(u32) -> Duration,
    ) {
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
        self.retry_at = Some(now.checked_add(wait(self.failures)).unwrap_or(Timestamp::MAX));
    }

    /// Notes that all up to this line is done.
    pub(crate) fn came_to(&mut self, sequence: u64) {
        let done = Self { since: self.since, sequence, ..Self::default() };
        let (proved, dropped) = (self.proved.take(), self.dropped);
        *self = Self { proved, dropped, last_dropped: self.last_dropped.take(), ..done };
    }
}

/// Who gets copies.
pub(crate) enum Receiver {
    /// A destination of audit records.
    Audit(Box<Stored<AuditDestination>>),
    /// A subscriber to the events of a key vault.
    Events(Box<Stored<EventSubscription>>),
}

impl Receiver {
    fn id(&self) -> &ResourceId {
        match self {
            Self::Audit(destination) => &destination.record.id,
            Self::Events(subscription) => &subscription.record.id,
        }
    }

    fn made_at(&self) -> Timestamp {
        match self {
            Self::Audit(destination) => destination.record.system.created_at,
            Self::Events(subscription) => subscription.record.system.created_at,
        }
    }

    /// Whether something is to be done for it.
    fn is_due(&self, state: &Delivery, head: u64, now: Timestamp) -> bool {
        let unproved = match self {
            Self::Audit(_) => false,
            Self::Events(subscription) => !is_proved(subscription, state),
        };
        (unproved || state.sequence < head) && state.retry_at.is_none_or(|time| now >= time)
    }
}

/// The post of one process: who is being served, by which thread.
pub struct PostOffice {
    platform: Arc<Platform>,
    courier: Arc<dyn Courier>,
    hosts: Hosts,
    served: Mutex<HashMap<String, JoinHandle<Result<(), Refusal>>>>,
    turn: Mutex<Option<File>>,
}

impl PostOffice {
    /// The post of a platform that is reached under these names.
    pub fn new(platform: Arc<Platform>, courier: Arc<dyn Courier>, hosts: Hosts) -> Self {
        let (served, turn) = (Mutex::default(), Mutex::default());
        Self { platform, courier, hosts, served, turn }
    }

    /// Lets a thread begin for everybody who lacks something and is not being served, and returns
    /// at once. What went wrong with the stores since the last round comes back; what went wrong
    /// with a receiver is in its [`Delivery`].
    ///
    /// Of several processes on one data folder one sends: the others' rounds do nothing.
    pub fn round(&self) -> Vec<Refusal> {
        let mut problems = Vec::new();
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<String> = served
            .iter()
            .filter(|(_, thread)| thread.is_finished())
            .map(|(id, _)| id.clone())
            .collect();
        for thread in ended.iter().filter_map(|id| served.remove(id)) {
            // A panic is on stderr already, and the next round begins anew.
            problems.extend(thread.join().ok().and_then(Result::err));
        }
        match self.is_our_turn().and_then(|ours| if ours { self.due() } else { Ok(Vec::new()) }) {
            Ok(due) => {
                for receiver in due {
                    let id = receiver.id().canonical();
                    if served.len() < THREADS_MAX && !served.contains_key(&id) {
                        problems.extend(self.begin(receiver).map_or_else(Some, |thread| {
                            served.insert(id, thread);
                            None
                        }));
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
        problems
    }

    /// Waits until nobody is being served.
    pub fn finish(&self) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, thread) in served.drain() {
            // Whatever it was, the next process goes on from there.
            let _ = thread.join();
        }
    }

    fn begin(&self, receiver: Receiver) -> Result<JoinHandle<Result<(), Refusal>>, Refusal> {
        let (platform, courier) = (Arc::clone(&self.platform), Arc::clone(&self.courier));
        let hosts = self.hosts.clone();
        let serve = move || {
            for _ in 0..TURNS_MAX {
                if !platform.deliver_to(&receiver, courier.as_ref(), &hosts)? {
                    break;
                }
            }
            Ok(())
        };
        let begun = thread::Builder::new().name("delivery".to_owned()).spawn(serve);
        begun.map_err(|error| Refusal::new(503, "ServerBusy", error.to_string()))
    }

    /// Everybody for whom something is to be done.
    fn due(&self) -> Result<Vec<Receiver>, Refusal> {
        let (platform, now) = (&self.platform, self.platform.clock.now());
        let head = platform.ledger_head()?;
        let mut due = Vec::new();
        for receiver in platform.receivers()? {
            if receiver.is_due(&platform.delivery(&receiver)?, head, now) {
                due.push(receiver);
            }
        }
        Ok(due)
    }

    /// Whether this process sends: the first that asks, until it ends.
    fn is_our_turn(&self) -> Result<bool, Refusal> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_some() {
            return Ok(true);
        }
        let path = self.platform.folder.root().join(TURN_FILE);
        let unusable = |error: std::io::Error| {
            Refusal::new(500, "DataFolderUnusable", format!("{}: {error}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(unusable)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                *turn = Some(file);
                Ok(true)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(unusable(errno.into())),
        }
    }
}

impl Platform {
    /// Each receiver's id with how far it has come.
    pub fn deliveries(&self) -> Result<BTreeMap<String, Delivery>, Refusal> {
        let receivers = self.receivers()?;
        let named = receivers
            .iter()
            .map(|receiver| Ok((receiver.id().to_string(), self.delivery(receiver)?)));
        named.collect()
    }

    /// Everybody who gets copies of something.
    fn receivers(&self) -> Result<Vec<Receiver>, Refusal> {
        let mut found = Vec::new();
        let looked = self.records.view(&mut |world| {
            found.clear();
            let root = ResourceId::root();
            for record in world.below(&root, AuditDestination::TYPE)? {
                found.push(Receiver::Audit(Box::new(Stored::read(record)?)));
            }
            for record in world.below(&root, EventSubscription::TYPE)? {
                found.push(Receiver::Events(Box::new(Stored::read(record)?)));
            }
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// Serves one receiver a turn. `true` if it may lack more.
    fn deliver_to(
        &self,
        receiver: &Receiver,
        courier: &dyn Courier,
        hosts: &Hosts,
    ) -> Result<bool, Refusal> {
        let mut state = self.delivery(receiver)?;
        if !receiver.is_due(&state, self.ledger_head()?, self.clock.now()) {
            return Ok(false);
        }
        let before = state.clone();
        let goes_on = match receiver {
            Receiver::Audit(destination) => {
                self.deliver_records(destination, &mut state, courier)?
            }
            Receiver::Events(subscription) => {
                self.deliver_events(subscription, &mut state, courier, hosts)?
            }
        };
        if state != before {
            self.remember_delivery(receiver.id(), &state)?;
        }
        Ok(goes_on)
    }

    fn ledger_head(&self) -> Result<u64, Refusal> {
        Ok(self.ledger.head().map_err(ledger_fault)?.map_or(0, |head| head.sequence))
    }

    fn delivery(&self, receiver: &Receiver) -> Result<Delivery, Refusal> {
        let name = format!("{SETTING_DELIVERY}{}", receiver.id().canonical());
        let stored = self.records.setting(&name).map_err(|error| fault::of_store(&error))?;
        let read: Option<Delivery> = stored
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| Refusal::bug(format!("the setting {name} cannot be read: {error}")))?;
        let since = Some(receiver.made_at());
        Ok(match read.unwrap_or_default() {
            known if known.since == since => known,
            // What another of this name, or an older custody, left: how far is true all the same.
            known => Delivery { since, sequence: known.sequence, ..Delivery::default() },
        })
    }

    /// Stores how far a receiver has come.
    pub(crate) fn remember_delivery(
        &self,
        id: &ResourceId,
        delivery: &Delivery,
    ) -> Result<(), Refusal> {
        let name = format!("{SETTING_DELIVERY}{}", id.canonical());
        let value =
            serde_json::to_value(delivery).map_err(|error| Refusal::bug(error.to_string()))?;
        self.records.set_setting(&name, &value).map_err(|error| fault::of_store(&error))
    }
}

pub(crate) fn ledger_fault(error: LedgerError) -> Refusal {
    Refusal::new(500, error.code(), error.to_string())
}
