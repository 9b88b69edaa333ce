//! What of the ledger is sent on: the one mechanism beneath audit destinations and event
//! subscriptions.
//!
//! The ledger is where everything is on record before it is answered; others get copies, each in the
//! ledger's order and at least once. How far each has come is kept in the record store, so one that
//! was down gets what it missed after any restart. Who is served when is the post office's to say
//! (`post_office`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use custody_activity::{AUDIT_EVENT, AuditDestination, EventSubscription, senders_to};
use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{Hosts, Kind, Record, Refusal, Stored};
use serde::{Deserialize, Serialize};

use crate::event_delivery::{Dropped, is_proved};
use crate::{Platform, fault};

/// The setting that says how far a receiver has come; its id follows.
const SETTING_DELIVERY: &str = "audit-delivery:";
/// Most resources that a destination is remembered to have been named by.
const SENDERS_MAX: usize = 4_096;

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
    /// The last line of the ledger before the receiver was made. Compared with the numbers of
    /// lines, so that no later change of the wall clock passes over any; `None` until it is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_after: Option<u64>,
    /// The last line of the ledger that it needs no more.
    pub sequence: u64,
    /// The resources that named the destination when it had last come to the ledger's end, and
    /// since: what is not yet sent of theirs is, even if they name it no more. Canonical
    /// identifiers, 4,096 at most.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub senders: BTreeSet<String>,
    /// How many lines it did not get because they are damaged or missing.
    pub damaged: u64,
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
        self.sequence = sequence;
        (self.problem, self.failures, self.retry_at) = (None, 0, None);
    }

    /// Notes who names the destination. Those who did stay until all that was theirs is sent.
    pub(crate) fn note_senders(&mut self, senders: &BTreeSet<String>, is_all_sent: bool) {
        if is_all_sent {
            self.senders.retain(|known| senders.contains(known));
        }
        for sender in senders {
            if self.senders.len() < SENDERS_MAX && !self.senders.contains(sender) {
                self.senders.insert(sender.clone());
            }
        }
    }

    /// What is wrong, for people: why the last try failed, else what it will never get.
    pub fn trouble(&self) -> Option<String> {
        let damaged = || {
            let text = format!(
                "{} damaged or missing lines of the ledger were passed over: custody ledger verify",
                self.damaged
            );
            (self.damaged > 0).then_some(text)
        };
        self.problem.clone().or_else(damaged)
    }
}

/// How a receiver is served.
pub(crate) struct Turn<'a> {
    pub(crate) courier: &'a dyn Courier,
    pub(crate) hosts: &'a Hosts,
    /// When it must let others have their turn, by the boot clock.
    pub(crate) end: Duration,
}

/// Who gets copies.
pub(crate) enum Receiver {
    /// A destination of audit records, and the resources that name it.
    Audit(Box<Stored<AuditDestination>>, BTreeSet<String>),
    /// A subscriber to the events of a key vault.
    Events(Box<Stored<EventSubscription>>),
}

impl Receiver {
    pub(crate) fn id(&self) -> &ResourceId {
        &self.record().id
    }

    pub(crate) fn is_audit(&self) -> bool {
        matches!(self, Self::Audit(..))
    }

    fn record(&self) -> &Record {
        match self {
            Self::Audit(destination, _) => &destination.record,
            Self::Events(subscription) => &subscription.record,
        }
    }

    /// Whether something is to be done for it.
    fn is_due(&self, state: &Delivery, head: u64, now: Timestamp) -> bool {
        let unproved = match self {
            Self::Audit(..) => false,
            Self::Events(subscription) => !is_proved(subscription, state),
        };
        (unproved || state.sequence < head) && state.retry_at.is_none_or(|time| now >= time)
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
    pub(crate) fn receivers(&self) -> Result<Vec<Receiver>, Refusal> {
        let mut found = Vec::new();
        let looked = self.records.view(&mut |world| {
            found.clear();
            let root = ResourceId::root();
            for record in world.below(&root, AuditDestination::TYPE)? {
                let senders = senders_to(&record.id, AUDIT_EVENT, world)?;
                found.push(Receiver::Audit(Box::new(Stored::read(record)?), senders));
            }
            for record in world.below(&root, EventSubscription::TYPE)? {
                found.push(Receiver::Events(Box::new(Stored::read(record)?)));
            }
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// Whether a receiver is still what it was when its thread began.
    pub(crate) fn still_stands(&self, receiver: &Record) -> Result<bool, Refusal> {
        let mut stands = false;
        let looked = self.records.view(&mut |world| {
            stands = world.record(&receiver.id)? == Some(receiver);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(stands)
    }

    /// The resources that name a destination now.
    pub(crate) fn senders(&self, destination: &ResourceId) -> Result<BTreeSet<String>, Refusal> {
        let mut found = BTreeSet::new();
        let looked = self.records.view(&mut |world| {
            found = senders_to(destination, AUDIT_EVENT, world)?;
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// Whether something is to be done for a receiver that nobody serves. `head` is the ledger's,
    /// read after the receiver was.
    pub(crate) fn is_due(&self, receiver: &Receiver, head: u64) -> Result<bool, Refusal> {
        let before = self.delivery(receiver)?;
        let mut state = before.clone();
        if state.starts_after.is_none() {
            let made_at = receiver.record().system.created_at;
            let start = self.line_before(made_at, state.sequence)?;
            (state.starts_after, state.sequence) = (Some(start), start);
        }
        if let Receiver::Audit(_, senders) = receiver {
            let is_all_sent = state.sequence >= head;
            state.note_senders(senders, is_all_sent);
        }
        if state != before {
            self.remember_delivery(receiver.id(), &state)?;
        }
        Ok(receiver.is_due(&state, head, self.clock.now()))
    }

    /// Whether others are to have their turn.
    pub(crate) fn is_over(&self, turn: &Turn<'_>) -> bool {
        self.clock.since_boot() >= turn.end
    }

    /// Serves one receiver a turn. `true` if it may lack more.
    pub(crate) fn deliver_to(&self, receiver: &Receiver, turn: &Turn<'_>) -> Result<bool, Refusal> {
        // One that was changed or is gone gets nothing at its old address.
        if !self.still_stands(receiver.record())? {
            return Ok(false);
        }
        let mut state = self.delivery(receiver)?;
        if !receiver.is_due(&state, self.ledger_head()?, self.clock.now()) {
            return Ok(false);
        }
        let before = state.clone();
        let goes_on = match receiver {
            Receiver::Audit(destination, _) => {
                self.deliver_records(destination, &mut state, turn.courier)?
            }
            Receiver::Events(subscription) => {
                self.deliver_events(subscription, &mut state, turn)?
            }
        };
        if state != before {
            self.remember_delivery(receiver.id(), &state)?;
        }
        Ok(goes_on)
    }

    fn delivery(&self, receiver: &Receiver) -> Result<Delivery, Refusal> {
        let name = setting(&receiver.id().canonical());
        let stored = self.records.setting(&name).map_err(|error| fault::of_store(&error))?;
        let read: Option<Delivery> = stored
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| Refusal::bug(format!("the setting {name} cannot be read: {error}")))?;
        let since = Some(receiver.record().system.created_at);
        Ok(match read.unwrap_or_default() {
            known if known.since == since => known,
            // What another of this name, or an older custody, left: how far is true all the same.
            known => Delivery { since, sequence: known.sequence, ..Delivery::default() },
        })
    }

    /// Removes what is known of receivers that are gone.
    pub(crate) fn forget_deliveries(
        &self,
        is_of_use: impl Fn(&str) -> bool,
    ) -> Result<(), Refusal> {
        let fault = |error| fault::of_store(&error);
        for name in self.records.settings(SETTING_DELIVERY).map_err(fault)? {
            if !name.strip_prefix(SETTING_DELIVERY).is_some_and(&is_of_use) {
                self.records.change_setting(&name, &mut |_| None).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Stores how far a receiver has come.
    pub(crate) fn remember_delivery(
        &self,
        id: &ResourceId,
        delivery: &Delivery,
    ) -> Result<(), Refusal> {
        let value =
            serde_json::to_value(delivery).map_err(|error| Refusal::bug(error.to_string()))?;
        let name = setting(&id.canonical());
        self.records.set_setting(&name, &value).map_err(|error| fault::of_store(&error))
    }
}

fn setting(canonical: &str) -> String {
    format!("{SETTING_DELIVERY}{canonical}")
}
