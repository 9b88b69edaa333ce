//! Who asks.

use custody_names::{ClientId, PrincipalId, TenantId};
use serde::{Deserialize, Serialize};

/// Someone or something that acts and that grants name by its object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The object id (`oid`).
    pub id: PrincipalId,
    /// The tenant it belongs to (`tid`).
    pub tenant: TenantId,
    /// What it is.
    pub kind: PrincipalKind,
}

impl Principal {
    /// The application id it signs in with (`appid`), if it has one.
    pub fn application(&self) -> Option<ClientId> {
        match self.kind {
            PrincipalKind::ServicePrincipal { client }
            | PrincipalKind::ManagedIdentity { client } => Some(client),
            PrincipalKind::User | PrincipalKind::BootstrapAdministrator { .. } => None,
        }
    }

    /// The user of the operating system on whose behalf it acts, where that is known.
    pub fn os_user(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::BootstrapAdministrator { os_user } => Some(os_user),
            _ => None,
        }
    }
}

/// The kinds of principal. The kind is for the record; no decision looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PrincipalKind {
    /// A person of the directory.
    User,
    /// An application with a credential of its own.
    ServicePrincipal {
        /// The application id.
        client: ClientId,
    },
    /// A system-assigned or user-assigned managed identity.
    ManagedIdentity {
        /// The application id.
        client: ClientId,
    },
    /// Whoever can open the seal, on this machine (DESIGN §8). What it may do is granted by role
    /// assignments like any other principal's.
    BootstrapAdministrator {
        /// The operating system's name of the user, for the ledger.
        os_user: String,
    },
}
