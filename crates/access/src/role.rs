//! Roles and who has them where.

use custody_names::{PrincipalId, ResourceId, RoleDefinitionId};
use serde::{Deserialize, Serialize};

use crate::ActionPattern;

/// A named set of permissions, as `Microsoft.Authorization/roleDefinitions` writes it.
///
/// `not_actions` takes away from this role's own `actions` alone: another role may still grant
/// what this one leaves out. It is no denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleDefinition {
    /// Its GUID.
    pub id: RoleDefinitionId,
    /// Its display name, `Key Vault Crypto Officer` for example.
    pub role_name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Control-plane permissions: `TYPE/read|write|delete|VERB/action`.
    pub actions: Vec<ActionPattern>,
    /// What `actions` does not mean.
    pub not_actions: Vec<ActionPattern>,
    /// Data-plane permissions.
    pub data_actions: Vec<ActionPattern>,
    /// What `data_actions` does not mean.
    pub not_data_actions: Vec<ActionPattern>,
}

impl RoleDefinition {
    /// Whether the role grants this control-plane action.
    pub fn grants_action(&self, action: &str) -> bool {
        covers(&self.actions, action) && !covers(&self.not_actions, action)
    }

    /// Whether the role grants this data-plane action.
    pub fn grants_data_action(&self, action: &str) -> bool {
        covers(&self.data_actions, action) && !covers(&self.not_data_actions, action)
    }
}

/// A principal has a role at a place and everywhere below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignment {
    /// The assignment's own resource id.
    pub id: ResourceId,
    /// Who has the role.
    pub principal: PrincipalId,
    /// Which role.
    pub role: RoleDefinitionId,
    /// Where, and below.
    pub scope: ResourceId,
}

fn covers(patterns: &[ActionPattern], action: &str) -> bool {
    patterns.iter().any(|pattern| pattern.covers(action))
}
