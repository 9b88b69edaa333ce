//! Tells the subscribers of a key vault what happened to its keys, as Event Grid does.
//!
//! Events are read off the ledger, one post each, in order: while one is not taken those behind it
//! wait. It is tried again at Event Grid's intervals until the subscription's retry policy ends that;
//! then it is given up, which is on the ledger and in the [`Delivery`].
//!
//! Nobody is sent events who has not said that they want them: before the first one goes out, a
//! receiver must answer the validation that goes with its schema.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use custody_activity::{DeliverySchema, EventSubscription, Importance, RetryPolicy};
use custody_ambient::Timestamp;
use custody_key_vault::KeyEvent;
use custody_names::{CorrelationId, ResourceId};
use custody_resources::{Hosts, Refusal, Stored};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Platform;
use crate::delivery::{Courier, Delivery, Turn};
use crate::unsent::ledger_fault;

/// Most events of one turn.
const EVENTS_MAX: usize = 64;
/// How long after a try in vain the next one comes (Event Grid's), in seconds; the last counts on.
const RETRY_AFTER_SECONDS: [u64; 10] = [10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200];

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// Its id.
    pub event_id: String,
    /// Its kind.
    pub event_type: String,
    /// The key it was about.
    pub subject: String,
    /// When it was given up.
    pub time: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why.
    pub reason: String,
}

/// An event that waits, and the line of the ledger that tells of it.
struct Waiting {
    sequence: u64,
    /// How many lines before it, since the one that waits before, are damaged.
    damaged: u64,
    id: String,
    event: KeyEvent,
}

/// What waits for a subscriber.
struct Queue {
    waiting: Vec<Waiting>,
    /// The last line that was looked at.
    last: u64,
    /// How many lines behind the last that waits are damaged.
    damaged: u64,
    /// There may be more behind it.
    is_cut: bool,
}

impl Platform {
    /// Sends a subscriber what it lacks, a turn's worth. `true` if it may lack more.
    pub(crate) fn deliver_events(
        &self,
        subscription: &Stored<EventSubscription>,
        state: &mut Delivery,
        turn: &Turn<'_>,
    ) -> Result<bool, Refusal> {
        let (courier, hosts) = (turn.courier, turn.hosts);
        if !is_proved(subscription, state) {
            if let Err(problem) = self.validate(subscription, courier, hosts)? {
                state.failed(problem, self.clock.now(), retry_wait);
                return Ok(false);
            }
            state.came_to(state.sequence);
            state.proved = Some(fingerprint(subscription));
        }
        let queue = self.queue_for(subscription, state.sequence)?;
        for waiting in &queue.waiting {
            if !self.deliver_event(subscription, waiting, state, courier, hosts)? {
                return Ok(false);
            }
            state.came_to(waiting.sequence);
            state.damaged += waiting.damaged;
            // What was taken is not sent again if the next one takes long, or the process ends.
            self.remember_delivery(&subscription.record.id, state)?;
            if self.is_over(turn) || !self.still_stands(&subscription.record)? {
                return Ok(true);
            }
        }
        state.came_to(queue.last);
        state.damaged += queue.damaged;
        Ok(queue.is_cut)
    }

    /// Has the receiver say that it wants events.
    fn validate(
        &self,
        subscription: &Stored<EventSubscription>,
        courier: &dyn Courier,
        hosts: &Hosts,
    ) -> Result<Result<(), String>, Refusal> {
        let spec = &subscription.spec;
        if spec.event_delivery_schema == DeliverySchema::CloudEvents {
            return Ok(courier.ask_leave(spec.url(), origin(hosts)));
        }
        let mint = || {
            let minted = CorrelationId::mint(self.entropy.as_ref());
            minted.map(|id| id.to_string()).map_err(|error| Refusal::bug(error.to_string()))
        };
        let (id, code) = (mint()?, mint()?);
        let event = json!([{
            "id": id,
            "topic": topic(subscription),
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": self.clock.now(),
            "data": { "validationCode": code },
            "dataVersion": "2",
            "metadataVersion": "1",
        }]);
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("aeg-event-type", "SubscriptionValidation"),
            ("aeg-subscription-name", name(subscription)),
        ];
        let answered = courier.post(spec.url(), &headers, event.to_string().as_bytes());
        Ok(answered.and_then(|body| {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            match body.get("validationResponse").and_then(Value::as_str) {
                Some(answer) if answer == code => Ok(()),
                _ => Err("it did not answer the validation with validationResponse".to_owned()),
            }
        }))
    }

    /// The next events for a subscriber: those of its key vault, since it was made.
    fn queue_for(
        &self,
        subscription: &Stored<EventSubscription>,
        came_to: u64,
    ) -> Result<Queue, Refusal> {
        let vault = topic(subscription);
        let mut unsent = self.unsent(came_to)?;
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut counted = 0;
        while waiting.len() < EVENTS_MAX {
            let Some(entry) = unsent.next()? else { break };
            let read = |record: &Value| KeyEvent::read(record, &vault);
            let Some(event) = entry.record().and_then(read) else { continue };
            let subject = event.key.key.as_str();
            if subscription.spec.wants(event.kind.event_type(), subject, event.time) {
                let id = event_id(&entry.position.hash.to_string());
                let damaged = unsent.damaged - counted;
                counted = unsent.damaged;
                waiting.push(Waiting { sequence: entry.position.sequence, damaged, id, event });
            }
        }
        let (last, damaged) = (unsent.last, unsent.damaged - counted);
        Ok(Queue { waiting, last, damaged, is_cut: !unsent.is_at_end() })
    }

    /// Delivers one event, or gives it up. `false` if it is to be tried again later.
    fn deliver_event(
        &self,
        subscription: &Stored<EventSubscription>,
        waiting: &Waiting,
        state: &mut Delivery,
        courier: &dyn Courier,
        hosts: &Hosts,
    ) -> Result<bool, Refusal> {
        let RetryPolicy { max_delivery_attempts, event_time_to_live_in_minutes } =
            subscription.spec.retry_policy;
        let lives = Duration::from_secs(60 * u64::from(event_time_to_live_in_minutes));
        let end = waiting.event.time.checked_add(lives).unwrap_or(Timestamp::MAX);
        if self.clock.now() >= end {
            let reason = state.problem.clone().unwrap_or_else(|| "it was too old".to_owned());
            return self.give_up(subscription, waiting, state, reason).map(|()| true);
        }
        let attempt = state.failures + 1;
        let Err(problem) = post(subscription, waiting, attempt, courier, hosts) else {
            return Ok(true);
        };
        state.failed(problem, self.clock.now(), retry_wait);
        if attempt < max_delivery_attempts && state.retry_at.is_none_or(|time| time < end) {
            return Ok(false);
        }
        let reason = state.problem.clone().unwrap_or_default();
        self.give_up(subscription, waiting, state, reason).map(|()| true)
    }

    /// Gives an event up, visibly: on the ledger, in the state of the delivery, in the metrics.
    fn give_up(
        &self,
        subscription: &Stored<EventSubscription>,
        waiting: &Waiting,
        state: &mut Delivery,
        reason: String,
    ) -> Result<(), Refusal> {
        let dropped = Dropped {
            event_id: waiting.id.clone(),
            event_type: waiting.event.kind.event_type().to_owned(),
            subject: waiting.event.key.key.to_string(),
            time: self.clock.now(),
            attempts: state.failures,
            reason,
        };
        let record = json!({
            "time": dropped.time,
            "category": "EventDelivery",
            "operationName": "EventDropped",
            "resourceId": subscription.record.id,
            "properties": dropped,
        });
        self.ledger.append(&record, Importance::Ordinary).map_err(ledger_fault)?;
        self.events_dropped.fetch_add(1, Ordering::Relaxed);
        state.dropped += 1;
        state.last_dropped = Some(dropped);
        Ok(())
    }
}

/// Whether the subscription's receiver has said that it wants events.
pub(crate) fn is_proved(subscription: &Stored<EventSubscription>, state: &Delivery) -> bool {
    state.proved.as_ref() == Some(&fingerprint(subscription))
}

fn post(
    subscription: &Stored<EventSubscription>,
    waiting: &Waiting,
    attempt: u32,
    courier: &dyn Courier,
    hosts: &Hosts,
) -> Result<(), String> {
    let Waiting { id, event, .. } = waiting;
    let is_cloud_event = subscription.spec.event_delivery_schema == DeliverySchema::CloudEvents;
    let (body, kind) = if is_cloud_event {
        (event.to_cloud_event(id, hosts), "application/cloudevents+json; charset=utf-8")
    } else {
        (Value::from(vec![event.to_event_grid(id, hosts)]), "application/json; charset=utf-8")
    };
    let attempt = attempt.to_string();
    let headers = [
        ("content-type", kind),
        ("aeg-event-type", "Notification"),
        ("aeg-subscription-name", name(subscription)),
        ("aeg-delivery-count", attempt.as_str()),
        ("webhook-request-origin", origin(hosts)),
    ];
    courier.post(subscription.spec.url(), &headers, body.to_string().as_bytes()).map(drop)
}

fn retry_wait(failures: u32) -> Duration {
    let at = usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1);
    let last = RETRY_AFTER_SECONDS.last();
    Duration::from_secs(*RETRY_AFTER_SECONDS.get(at).or(last).unwrap_or(&10))
}

/// What a receiver says yes to: this address in this schema.
fn fingerprint(subscription: &Stored<EventSubscription>) -> String {
    let schema = subscription.spec.event_delivery_schema;
    let text = format!("{schema:?} {}", subscription.spec.url());
    HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// The same for an event however often it is sent: receivers know it again.
fn event_id(line_hash: &str) -> String {
    let part = |from: usize, to: usize| line_hash.get(from..to).unwrap_or_default();
    let parts = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)];
    parts.join("-")
}

/// The key vault that a subscription is about.
fn topic(subscription: &Stored<EventSubscription>) -> ResourceId {
    subscription.record.id.parent().unwrap_or_else(ResourceId::root)
}

fn name(subscription: &Stored<EventSubscription>) -> &str {
    subscription.record.id.name().unwrap_or_default()
}

/// Who sends, as CloudEvents' webhooks want it: a host without its port.
fn origin(hosts: &Hosts) -> &str {
    let host = hosts.key_vaults.split(':').next().unwrap_or_default();
    host.strip_prefix("vault.").unwrap_or(host)
}
