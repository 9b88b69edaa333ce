//! What happens to keys that others want to know, in the schemas of Event Grid and CloudEvents.
//!
//! An event is no record of its own: the log's record of what made or told of a version is read as
//! one. So what is told is what happened, whoever made it happen, and it is told after any crash.

use custody_ambient::Timestamp;
use custody_names::{KeyVersionUri, ResourceId};
use custody_resources::Hosts;
use serde_json::{Value, json};

use crate::key::{Key, KeyAttributes, KeyItem};
use crate::vault::KeyVaultRef;

/// Which records tell of what (`operationName`). A new version is told of by whatever made it.
const RECORDS: [(&str, KeyEventKind); 6] = [
    ("KeyCreate", KeyEventKind::NewVersionCreated),
    ("KeyImport", KeyEventKind::NewVersionCreated),
    ("KeyRestore", KeyEventKind::NewVersionCreated),
    ("KeyRotate", KeyEventKind::NewVersionCreated),
    ("KeyNearExpiryEventGridNotification", KeyEventKind::NearExpiry),
    ("KeyExpiredEventGridNotification", KeyEventKind::Expired),
];

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// What.
    pub kind: KeyEventKind,
    /// The version it is about.
    pub key: KeyVersionUri,
    /// The ARM id of its key vault.
    pub vault: ResourceId,
    /// From when until when the version is valid.
    pub lifetime: Lifetime,
    /// When.
    pub time: Timestamp,
}

/// From when until when a version is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `exp`.
    pub expires: Option<Timestamp>,
}

/// The kinds of event, as Event Grid names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEventKind {
    /// A version was made.
    NewVersionCreated,
    /// The newest version expires soon.
    NearExpiry,
    /// The newest version has expired.
    Expired,
}

impl KeyEventKind {
    /// `eventType` of Event Grid.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::NewVersionCreated => "Microsoft.KeyVault.KeyNewVersionCreated",
            Self::NearExpiry => "Microsoft.KeyVault.KeyNearExpiry",
            Self::Expired => "Microsoft.KeyVault.KeyExpired",
        }
    }

    /// The name under which an event that has no other record is recorded.
    pub(crate) fn recorded_as(self) -> &'static str {
        let mut names = RECORDS.iter().rev();
        names.find(|(_, kind)| *kind == self).map_or("KeyEvent", |(name, _)| name)
    }
}

impl Lifetime {
    /// What the record of `operation` says of the version that it made; nothing if it made none.
    pub(crate) fn of_made(operation: &str, key: &Key) -> Option<Self> {
        kind_of(operation).map(|_| Self::of(&key.attributes))
    }

    fn of(attributes: &KeyAttributes) -> Self {
        Self { not_before: attributes.not_before, expires: attributes.expires }
    }
}

impl KeyEvent {
    /// That a version was made: what creating, importing, rotating and restoring are answered with.
    pub(crate) fn new_version(key: &Key, vault: &KeyVaultRef) -> Self {
        let Key { id, attributes, .. } = key;
        Self {
            kind: KeyEventKind::NewVersionCreated,
            key: id.clone(),
            vault: vault.resource.clone(),
            lifetime: Lifetime::of(attributes),
            time: attributes.created,
        }
    }

    pub(crate) fn about(
        kind: KeyEventKind,
        key: &KeyItem,
        vault: &KeyVaultRef,
        now: Timestamp,
    ) -> Self {
        Self {
            kind,
            key: key.id.clone(),
            vault: vault.resource.clone(),
            lifetime: Lifetime::of(&key.attributes),
            time: now,
        }
    }

    /// The event that a record of the log (an [`AuditRecord`](crate::AuditRecord) as JSON) tells of;
    /// none if it tells of none, or of a key vault other than `vault`.
    pub fn read(record: &Value, vault: &ResourceId) -> Option<Self> {
        let text = |path: &str| record.pointer(path).and_then(Value::as_str);
        let seconds = |path: &str| {
            let seconds = record.pointer(path).and_then(Value::as_i64)?;
            Timestamp::from_second(seconds).ok()
        };
        let kind = kind_of(text("/operationName")?)?;
        let is_told = text("/resultType") == Some("Success")
            && text("/resourceId").is_some_and(|id| id.eq_ignore_ascii_case(vault.as_str()));
        if !is_told {
            return None;
        }
        Some(Self {
            kind,
            key: text("/properties/id")?.parse().ok()?,
            vault: vault.clone(),
            lifetime: Lifetime {
                not_before: seconds("/properties/nbf"),
                expires: seconds("/properties/exp"),
            },
            time: text("/time")?.parse().ok()?,
        })
    }

    /// The event in the schema of Event Grid.
    pub fn to_event_grid(&self, id: &str, hosts: &Hosts) -> Value {
        json!({
            "id": id,
            "topic": self.vault.as_str(),
            "subject": self.key.key.as_str(),
            "eventType": self.kind.event_type(),
            "eventTime": self.time,
            "data": self.data(hosts),
            "dataVersion": "1",
            "metadataVersion": "1",
        })
    }

    /// The event in the schema of CloudEvents 1.0.
    pub fn to_cloud_event(&self, id: &str, hosts: &Hosts) -> Value {
        json!({
            "id": id,
            "source": self.vault.as_str(),
            "subject": self.key.key.as_str(),
            "type": self.kind.event_type(),
            "time": self.time,
            "data": self.data(hosts),
            "specversion": "1.0",
        })
    }

    fn data(&self, hosts: &Hosts) -> Value {
        let KeyVersionUri { vault, key, version } = &self.key;
        let host = &hosts.key_vaults;
        json!({
            "Id": format!("https://{vault}.{host}/keys/{key}/{version}"),
            "VaultName": vault.as_str(),
            "ObjectType": "Key",
            "ObjectName": key.as_str(),
            "Version": version.as_str(),
            "NBF": self.lifetime.not_before.map(Timestamp::as_second),
            "EXP": self.lifetime.expires.map(Timestamp::as_second),
        })
    }
}

fn kind_of(operation: &str) -> Option<KeyEventKind> {
    RECORDS.iter().find(|(name, _)| *name == operation).map(|(_, kind)| *kind)
}
