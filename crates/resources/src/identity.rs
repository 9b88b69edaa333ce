//! The managed identities attached to a resource.

use std::collections::BTreeMap;

use custody_names::{ClientId, PrincipalId, ResourceId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A user-assigned identity as it was when it was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserAssigned {
    /// Its identifier in the case the client wrote it in.
    pub id: ResourceId,
    /// Who it is to access decisions.
    pub principal_id: PrincipalId,
    /// Its application id.
    pub client_id: ClientId,
}

/// Which kinds of identity are attached (ARM `identity.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// None at all.
    None,
    /// Only the resource's own.
    SystemAssigned,
    /// Only others.
    UserAssigned,
    /// Both.
    Both,
}

impl IdentityKind {
    /// ARM's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::SystemAssigned => "SystemAssigned",
            Self::UserAssigned => "UserAssigned",
            Self::Both => "SystemAssigned, UserAssigned",
        }
    }

    /// Reads ARM's word, blanks and case aside.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<String> =
            text.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["none" | ""] => Some(Self::None),
            ["systemassigned"] => Some(Self::SystemAssigned),
            ["userassigned"] => Some(Self::UserAssigned),
            ["systemassigned", "userassigned"] | ["userassigned", "systemassigned"] => {
                Some(Self::Both)
            }
            _ => None,
        }
    }
}

/// The identities attached to a resource (rules 28–31).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The resource's own identity; enabling it again makes a new principal (rule 66).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_assigned: Option<PrincipalId>,
    /// Attached identities that live on their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_assigned: Vec<UserAssigned>,
}

impl Identity {
    /// Which kinds are attached.
    pub fn kind(&self) -> IdentityKind {
        match (self.system_assigned.is_some(), self.user_assigned.is_empty()) {
            (false, true) => IdentityKind::None,
            (true, true) => IdentityKind::SystemAssigned,
            (false, false) => IdentityKind::UserAssigned,
            (true, false) => IdentityKind::Both,
        }
    }

    /// The attached user-assigned identity `id`, if it is attached.
    pub fn user_assigned(&self, id: &ResourceId) -> Option<&UserAssigned> {
        self.user_assigned.iter().find(|attached| attached.id == *id)
    }

    /// The block as ARM shows it (rule 30).
    pub fn render(&self, tenant: TenantId) -> Value {
        let mut block = Map::new();
        block.insert("type".into(), self.kind().as_str().into());
        if let Some(principal) = self.system_assigned {
            block.insert("principalId".into(), principal.to_string().into());
            block.insert("tenantId".into(), tenant.to_string().into());
        }
        if !self.user_assigned.is_empty() {
            let attached: BTreeMap<_, _> = self.user_assigned.iter().map(render_one).collect();
            block.insert("userAssignedIdentities".into(), attached.into_iter().collect());
        }
        Value::Object(block)
    }
}

fn render_one(identity: &UserAssigned) -> (String, Value) {
    let ids = [
        ("principalId".to_owned(), Value::from(identity.principal_id.to_string())),
        ("clientId".to_owned(), Value::from(identity.client_id.to_string())),
    ];
    (identity.id.to_string(), ids.into_iter().collect())
}
