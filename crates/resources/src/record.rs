//! What is kept of a resource.

use std::collections::BTreeMap;

use custody_ambient::Timestamp;
use custody_names::{Location, ResourceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Caller, CallerKind, Identity, Reference};

/// Where a resource stands between request and result; ARM's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvisioningState {
    /// Settled and usable.
    #[default]
    Succeeded,
    /// The last operation on it failed; its error says why.
    Failed,
    /// An operation is changing it.
    Updating,
    /// An operation is removing it.
    Deleting,
}

/// What somebody is who made or changed a resource; ARM's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreatedByType {
    /// A person, or whoever can open the seal.
    User,
    /// An application with a credential of its own.
    Application,
    /// A managed identity.
    ManagedIdentity,
}

impl CreatedByType {
    fn of(caller: &Caller) -> Self {
        match caller.kind {
            CallerKind::Bootstrap | CallerKind::User => Self::User,
            CallerKind::Application { .. } => Self::Application,
            CallerKind::ManagedIdentity { .. } => Self::ManagedIdentity,
        }
    }
}

/// Who made and last changed a resource, and when (ARM `systemData`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemData {
    /// Who created it: a principal id, or the OS user behind the bootstrap administrator.
    pub created_by: String,
    /// What that is; unknown of what was made by the server itself, or before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_type: Option<CreatedByType>,
    /// When.
    pub created_at: Timestamp,
    /// Who changed it last.
    pub last_modified_by: String,
    /// What that is, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified_by_type: Option<CreatedByType>,
    /// When.
    pub last_modified_at: Timestamp,
}

impl SystemData {
    /// Made by `name` at `now`, and not changed since.
    pub fn new(name: &str, now: Timestamp) -> Self {
        Self {
            created_by: name.to_owned(),
            created_by_type: None,
            created_at: now,
            last_modified_by: name.to_owned(),
            last_modified_by_type: None,
            last_modified_at: now,
        }
    }

    /// Made by a caller at `now`, and not changed since.
    pub fn by(caller: &Caller, now: Timestamp) -> Self {
        let created_by_type = Some(CreatedByType::of(caller));
        Self { created_by_type, ..Self::new(&caller.name, now) }.changed_by(caller, now)
    }

    /// The same, changed by a caller at `now`.
    #[must_use]
    pub fn changed_by(self, caller: &Caller, now: Timestamp) -> Self {
        Self {
            last_modified_by: caller.name.clone(),
            last_modified_by_type: Some(CreatedByType::of(caller)),
            last_modified_at: now,
            ..self
        }
    }
}

/// One resource as it is stored: the envelope that all kinds share, and the kind's own spec and
/// status as JSON. The stored form of the newest version only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifier, in the case it was first written in.
    pub id: ResourceId,
    /// Where it lies, if its kind is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The client's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The managed identities attached to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What the client asked for.
    pub spec: Value,
    /// What only the server writes.
    pub status: Value,
    /// Where it stands.
    pub state: ProvisioningState,
    /// Counts the writes; the wire shows it as etag.
    pub revision: u64,
    /// Who and when.
    pub system: SystemData,
    /// What it names, kept in the store's reference index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// A name it holds that must be unique over all tenants, as `KIND:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

impl Record {
    /// A record that says nothing yet, made by the server itself for `system`: its kind's
    /// [`crate::Stored::into_record`] fills it.
    pub fn blank(id: ResourceId, system: SystemData) -> Self {
        Self {
            id,
            location: None,
            tags: BTreeMap::new(),
            identity: None,
            spec: Value::Null,
            status: Value::Null,
            state: ProvisioningState::Succeeded,
            revision: 0,
            system,
            references: Vec::new(),
            claim: None,
        }
    }

    /// The etag shown to clients.
    pub fn etag(&self) -> String {
        format!("\"{:016x}\"", self.revision)
    }
}
