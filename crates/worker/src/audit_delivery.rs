//! Sends audit records from the ledger to the destinations that diagnostic settings name.
//!
//! The ledger is where a request is on record before it is answered; destinations get copies, each
//! in the ledger's order and at least once. How far each has come is kept in the record store, so a
//! destination that was down gets what it missed, whichever process delivers next.

use std::collections::{BTreeMap, HashMap};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;

use custody_activity::{
    AUDIT_EVENT, AuditDestination, DestinationType, Entry, LedgerError, SyslogAddress,
    destinations_of,
};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Stored};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Platform, fault};

/// Most records that one destination gets at once.
const BATCH_RECORDS_MAX: usize = 500;
/// The setting that says how far a destination has come; its id follows.
const SETTING_DELIVERY: &str = "audit-delivery:";
/// Syslog's facility 13, log audit, with severity 5, notice (RFC 5424 §6.2.1).
const SYSLOG_PRIORITY: u32 = 13 * 8 + 5;

/// Posts to web addresses: HTTP is `wire`'s business.
pub trait Courier: Send + Sync {
    /// Posts `body`; an answer other than 2xx is an error. The text says what went wrong.
    fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<(), String>;
}

/// How far a destination has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The last line of the ledger that it needs no more.
    pub sequence: u64,
    /// Why the last try failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Platform {
    /// Sends every destination what it lacks, one batch each. `true` if somebody lacks more.
    pub fn deliver_audit_records(&self, courier: &dyn Courier) -> Result<bool, Refusal> {
        let head = self.ledger.head().map_err(ledger_fault)?.map_or(0, |head| head.sequence);
        let mut more = false;
        for destination in self.audit_destinations()? {
            more |= self.deliver_to(&destination, head, courier)?;
        }
        Ok(more)
    }

    /// Each destination's id with how far it has come.
    pub fn audit_deliveries(&self) -> Result<BTreeMap<String, Delivery>, Refusal> {
        let destinations = self.audit_destinations()?;
        let named = destinations.iter().map(|destination| {
            let id = &destination.record.id;
            Ok((id.to_string(), self.delivery(id)?.unwrap_or_default()))
        });
        named.collect()
    }

    fn audit_destinations(&self) -> Result<Vec<Stored<AuditDestination>>, Refusal> {
        let mut found = Vec::new();
        let looked = self.records.view(&mut |world| {
            let records = world.below(&ResourceId::root(), AuditDestination::TYPE)?;
            found = records.iter().map(Stored::read).collect::<Result<_, _>>()?;
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    fn deliver_to(
        &self,
        destination: &Stored<AuditDestination>,
        head: u64,
        courier: &dyn Courier,
    ) -> Result<bool, Refusal> {
        let known = self.delivery(&destination.record.id)?;
        let came_to = known.as_ref().map_or(0, |delivery| delivery.sequence);
        if came_to >= head {
            return Ok(false);
        }
        let batch = self.batch_for(destination, came_to)?;
        let sent = match batch.records.as_slice() {
            [] => Ok(()),
            records => self.send(destination, records, courier),
        };
        let (sequence, problem) = match sent {
            Ok(()) => (batch.last, None),
            Err(problem) => (came_to, Some(problem)),
        };
        let full = batch.full && problem.is_none();
        let delivery = Delivery { sequence, problem };
        if known.as_ref() != Some(&delivery) {
            self.remember_delivery(&destination.record.id, &delivery)?;
        }
        Ok(full)
    }

    /// The next records for a destination: those of the resources that name it, since it was made.
    fn batch_for(
        &self,
        destination: &Stored<AuditDestination>,
        came_to: u64,
    ) -> Result<Batch, Refusal> {
        let mut batch = Batch { records: Vec::new(), last: came_to, full: false };
        let mut wanted: HashMap<String, bool> = HashMap::new();
        for entry in self.ledger.read_from(came_to + 1).map_err(ledger_fault)? {
            // What is damaged is `ledger verify`'s to report; it must not hold the rest up.
            let Ok(entry) = entry else { continue };
            if batch.records.len() == BATCH_RECORDS_MAX {
                batch.full = true;
                break;
            }
            batch.last = entry.position.sequence;
            let Some((resource, record)) = audit_event(&entry) else { continue };
            if entry.time < destination.record.system.created_at {
                continue;
            }
            let is_wanted = if let Some(known) = wanted.get(resource) {
                *known
            } else {
                let found = self.is_sent_to(resource, &destination.record.id)?;
                *wanted.entry(resource.to_owned()).or_insert(found)
            };
            if is_wanted {
                batch.records.push(record.clone());
            }
        }
        Ok(batch)
    }

    fn is_sent_to(&self, resource: &str, destination: &ResourceId) -> Result<bool, Refusal> {
        let Ok(resource) = resource.parse::<ResourceId>() else { return Ok(false) };
        let mut found = false;
        let looked = self.records.view(&mut |world| {
            let destinations = destinations_of(&resource, AUDIT_EVENT, world)?;
            found = destinations.iter().any(|id| id.canonical() == destination.canonical());
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    fn send(
        &self,
        destination: &Stored<AuditDestination>,
        records: &[Value],
        courier: &dyn Courier,
    ) -> Result<(), String> {
        let name = destination.record.id.name().unwrap_or_default();
        let address = destination.spec.address.as_deref().unwrap_or_default();
        match destination.spec.destination_type {
            DestinationType::File => self.append_to_file(name, records),
            DestinationType::Syslog => send_to_syslog(address, records),
            DestinationType::Webhook => {
                let body = Value::from(records.to_vec()).to_string();
                courier.post(address, "application/json", body.as_bytes())
            }
        }
    }

    fn append_to_file(&self, name: &str, records: &[Value]) -> Result<(), String> {
        let folder = self.folder.root().join("audit");
        let path = folder.join(format!("{name}.jsonl"));
        let mut lines = String::new();
        for record in records {
            lines.push_str(&record.to_string());
            lines.push('\n');
        }
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| OpenOptions::new().append(true).create(true).mode(0o600).open(&path))
            .and_then(|mut file| {
                file.write_all(lines.as_bytes())?;
                file.sync_data()
            });
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn delivery(&self, id: &ResourceId) -> Result<Option<Delivery>, Refusal> {
        let name = format!("{SETTING_DELIVERY}{}", id.canonical());
        let stored = self.records.setting(&name).map_err(|error| fault::of_store(&error))?;
        let read = stored.map(serde_json::from_value).transpose();
        read.map_err(|error| Refusal::bug(format!("the setting {name} cannot be read: {error}")))
    }

    fn remember_delivery(&self, id: &ResourceId, delivery: &Delivery) -> Result<(), Refusal> {
        let name = format!("{SETTING_DELIVERY}{}", id.canonical());
        let value =
            serde_json::to_value(delivery).map_err(|error| Refusal::bug(error.to_string()))?;
        self.records.set_setting(&name, &value).map_err(|error| fault::of_store(&error))
    }
}

/// What a destination gets next.
struct Batch {
    records: Vec<Value>,
    /// The last line that was looked at.
    last: u64,
    /// There may be more.
    full: bool,
}

/// The resource that an audit record is about, and the record; `None` for all other lines.
fn audit_event(entry: &Entry) -> Option<(&str, &Value)> {
    let record = entry.record()?;
    let is_audit = record.get("category").and_then(Value::as_str) == Some(AUDIT_EVENT);
    let resource = record.get("resourceId").and_then(Value::as_str)?;
    is_audit.then_some((resource, record))
}

/// Sends one message over a socket that is connected already.
type SendMessage = Box<dyn Fn(&[u8]) -> std::io::Result<usize>>;

fn send_to_syslog(address: &str, records: &[Value]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{address}: {error}");
    let send: SendMessage = match SyslogAddress::parse(address) {
        Some(SyslogAddress::Unix(path)) => {
            let socket = UnixDatagram::unbound().map_err(failed)?;
            socket.connect(path).map_err(failed)?;
            Box::new(move |message| socket.send(message))
        }
        Some(SyslogAddress::Udp(host)) => {
            let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"));
            let socket = socket.map_err(failed)?;
            socket.connect(host).map_err(failed)?;
            Box::new(move |message| socket.send(message))
        }
        None => return Err(format!("{address} is no syslog address")),
    };
    for record in records {
        let time = record.get("time").and_then(Value::as_str).unwrap_or("-");
        let message = format!("<{SYSLOG_PRIORITY}>1 {time} - custody - {AUDIT_EVENT} - {record}");
        send(message.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

fn ledger_fault(error: LedgerError) -> Refusal {
    Refusal::new(500, error.code(), error.to_string())
}
