//! Places that audit records are sent to, beside the ledger.

use custody_resources::{
    Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};

use crate::web_address::is_web_address;

/// Longest address of a destination, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// `Custody.Audit/destinations`: custody's stand-in for the storage account, workspace or event hub
/// that a diagnostic setting names.
pub struct AuditDestination;

/// What a destination is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditDestinationSpec {
    /// Its sort.
    pub destination_type: DestinationType,
    /// Where: a URL for a webhook, `unix:PATH` or `udp:HOST:PORT` for syslog. A file has none: it
    /// is `audit/NAME.jsonl` in the data folder, so that no request chooses a path on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// How records reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationType {
    /// JSON lines in the data folder.
    File,
    /// One RFC 5424 message for each record.
    Syslog,
    /// JSON arrays by POST.
    Webhook,
}

/// A destination has no status of its own: how delivery goes is read with the installation's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

impl Kind for AuditDestination {
    const TYPE: &'static str = "Custody.Audit/destinations";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;

    type Spec = AuditDestinationSpec;
    type Status = NoStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        check_address(&change.spec)?;
        Ok(Plan::done(change.spec, NoStatus {}))
    }

    /// A destination that settings name stays: else records would go nowhere in silence.
    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        Removal::unless_named(&current.record.id, world, |_, setting| {
            let text = format!("records are sent to it: {setting} names it");
            Refusal::new(409, "AuditDestinationInUse", text)
                .with_fix("custody audit stop --vault-name NAME --to NAME")
        })
    }
}

fn check_address(spec: &AuditDestinationSpec) -> Result<(), Refusal> {
    let refuse = |text: &str| {
        Err(Refusal::new(400, "InvalidAuditDestination", format!("properties.address: {text}")))
    };
    let address = spec.address.as_deref();
    if address.is_some_and(|address| address.len() > ADDRESS_BYTES_MAX) {
        return refuse("it is too long");
    }
    match (spec.destination_type, address) {
        (DestinationType::File, None) => Ok(()),
        (DestinationType::File, Some(_)) => {
            refuse("a file has none; it is audit/NAME.jsonl in the data folder")
        }
        (DestinationType::Syslog, Some(address)) if SyslogAddress::parse(address).is_some() => {
            Ok(())
        }
        (DestinationType::Syslog, _) => refuse("unix:PATH or udp:HOST:PORT is needed"),
        (DestinationType::Webhook, Some(url)) if is_web_address(url) => Ok(()),
        (DestinationType::Webhook, _) => {
            refuse("an https:// URL is needed (http:// for localhost alone)")
        }
    }
}

/// Where a syslog daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A datagram socket of this machine.
    Unix(String),
    /// Host and port.
    Udp(String),
}

impl SyslogAddress {
    /// Reads `unix:PATH` or `udp:HOST:PORT`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.to_owned()));
        }
        let (host, port) = text.strip_prefix("udp:")?.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok())
            .then(|| Self::Udp(format!("{host}:{port}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fit_their_sort() {
        use DestinationType::{File, Syslog, Webhook};
        let check = |destination_type, address: Option<&str>, good: bool| {
            let address = address.map(str::to_owned);
            let spec = AuditDestinationSpec { destination_type, address };
            assert_eq!(check_address(&spec).is_ok(), good, "{spec:?}");
        };
        check(File, None, true);
        check(File, Some("/etc/passwd"), false);
        check(Syslog, Some("unix:/dev/log"), true);
        check(Syslog, Some("udp:logs.example:514"), true);
        check(Syslog, Some("udp:[::1]:514"), true);
        check(Syslog, Some("udp:logs.example"), false);
        check(Syslog, Some("unix:dev/log"), false);
        check(Syslog, None, false);
        check(Webhook, Some("https://siem.example/in"), true);
        check(Webhook, Some("http://localhost:9000/in"), true);
        check(Webhook, Some("http://siem.example/in"), false);
        check(Webhook, Some("http://localhost.evil.example/in"), false);
        check(Webhook, Some("https://"), false);
        check(Webhook, Some("file:///etc/passwd"), false);
        check(Webhook, None, false);
    }
}
