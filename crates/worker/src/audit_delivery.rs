//! Sends audit records from the ledger to the destinations that diagnostic settings name.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use custody_activity::{AUDIT_EVENT, AuditDestination, DestinationType, Entry, SyslogAddress};
use custody_names::ResourceId;
use custody_resources::{Refusal, Stored};
use serde_json::Value;

use crate::Platform;
use crate::delivery::{Courier, Delivery};
use crate::unsent::Unsent;

/// Most records that one destination gets at once.
const BATCH_RECORDS_MAX: usize = 500;
/// Longest wait before a destination that failed is tried again.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// Syslog's facility 13, log audit, with severity 5, notice (RFC 5424 §6.2.1).
const SYSLOG_PRIORITY: u32 = 13 * 8 + 5;

impl Platform {
    /// Sends a destination what it lacks, one batch. `true` if it may lack more.
    pub(crate) fn deliver_records(
        &self,
        destination: &Stored<AuditDestination>,
        state: &mut Delivery,
        courier: &dyn Courier,
    ) -> Result<bool, Refusal> {
        let batch = self.batch_for(destination, state)?;
        let sent = match batch.records.as_slice() {
            [] => Ok(()),
            records => self.send(destination, records, courier),
        };
        match sent {
            Ok(()) => {
                state.came_to(batch.unsent.last);
                state.damaged += batch.unsent.damaged;
                let is_all_sent = batch.unsent.is_at_end();
                state.note_senders(&batch.senders, is_all_sent);
                Ok(!is_all_sent)
            }
            Err(problem) => {
                state.note_senders(&batch.senders, false);
                state.failed(problem, self.clock.now(), retry_wait);
                Ok(false)
            }
        }
    }

    /// The next records for a destination: those of the resources that name it, or did when they
    /// were written.
    fn batch_for(
        &self,
        destination: &Stored<AuditDestination>,
        state: &Delivery,
    ) -> Result<Batch, Refusal> {
        // Who names it is asked before and after the ledger's end is found: whoever did when the
        // last of these lines was written is in one of the answers, or was known.
        let mut senders = self.senders(&destination.record.id)?;
        let mut unsent = self.unsent(state.sequence)?;
        senders.extend(self.senders(&destination.record.id)?);
        let mut records = Vec::new();
        while records.len() < BATCH_RECORDS_MAX {
            let Some(entry) = unsent.next()? else { break };
            let Some((resource, record)) = audit_event(&entry) else { continue };
            let Ok(resource) = resource.parse::<ResourceId>() else { continue };
            let sender = resource.canonical();
            if senders.contains(&sender) || state.senders.contains(&sender) {
                records.push(record.clone());
            }
        }
        Ok(Batch { records, senders, unsent })
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
                let headers = [("content-type", "application/json")];
                courier.post(address, &headers, body.as_bytes()).map(drop)
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
}

/// What a destination gets next.
struct Batch {
    records: Vec<Value>,
    /// Who names it.
    senders: BTreeSet<String>,
    /// What was looked at.
    unsent: Unsent,
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

/// How long after so many tries in vain the next one comes: doubled each time.
fn retry_wait(failures: u32) -> Duration {
    let seconds = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(RETRY_AFTER_MAX)
}
