//! The decision.

use std::fmt;

use custody_names::{ResourceId, RoleDefinitionId};
use serde::{Deserialize, Serialize};

use crate::{
    AccessPolicy, KeyPermission, Principal, RoleAssignment, RoleDefinition, built_in_roles,
    managed_hsm_roles,
};

/// Who wants what on what.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub wanted: Wanted<'a>,
    /// On what: the resource, or the key as a child of its key vault (`…/vaults/V/keys/K`).
    pub scope: &'a ResourceId,
}

/// What a principal wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// A control-plane action, `Microsoft.KeyVault/vaults/write` for example.
    Action(&'a str),
    /// The use of a key, decided by the key vault's permission model.
    Key(KeyPermission),
    /// A data action, decided by roles whatever the permission model: managed HSMs know no other.
    DataAction(&'a str),
}

/// Everything that may grant something: what was read from the records for this question.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Role assignments; those of other principals and places are ignored.
    pub assignments: Vec<RoleAssignment>,
    /// Role definitions of the customer, besides the built-in ones.
    pub custom_roles: Vec<RoleDefinition>,
    /// How the key vault in question decides on its keys.
    pub permission_model: PermissionModel,
}

/// How a key vault decides who may use its keys (`enableRbacAuthorization`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PermissionModel {
    /// By role assignments; access policies are ignored (rule 47).
    #[default]
    Rbac,
    /// By these access policies; role assignments are ignored (rule 47).
    AccessPolicies(Vec<AccessPolicy>),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allowed {
        /// What allows it, for the ledger.
        by: Grant,
    },
    /// It may not.
    Denied {
        /// What is missing.
        reason: Denial,
    },
}

/// What allows something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A role assignment, by its resource id.
    RoleAssignment(ResourceId),
    /// The principal's access policy in the key vault.
    AccessPolicy,
}

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No role assignment at the place or above it grants the action.
    Role {
        /// The action or data action that none grants.
        action: String,
    },
    /// No access policy of the principal in the key vault grants the permission.
    Policy {
        /// The permission that none grants.
        permission: KeyPermission,
    },
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { action } => write!(f, "no role assignment grants '{action}'"),
            Self::Policy { permission } => write!(f, "no access policy grants keys {permission}"),
        }
    }
}

/// May this principal do that there? What no grant allows is denied. Whoever may manage a vault
/// may not use its key for that (rule 120), a right to the key lets nobody at the vault (rule 121),
/// and a key vault's roles and policies never mix (rule 47).
pub fn decide(question: &Question<'_>, grants: &Grants) -> Decision {
    match (question.wanted, &grants.permission_model) {
        (Wanted::Key(permission), PermissionModel::AccessPolicies(policies)) => {
            by_policies(question.principal, permission, policies)
        }
        (Wanted::Key(permission), PermissionModel::Rbac) => {
            let action = permission.data_action();
            by_roles(question, grants, action, |role| role.grants_data_action(action))
        }
        (Wanted::DataAction(action), _) => {
            by_roles(question, grants, action, |role| role.grants_data_action(action))
        }
        (Wanted::Action(action), _) => {
            by_roles(question, grants, action, |role| role.grants_action(action))
        }
    }
}

/// Get, WrapKey and UnwrapKey in the policy suffice for a vault's identity (rule 43).
fn by_policies(
    principal: &Principal,
    permission: KeyPermission,
    policies: &[AccessPolicy],
) -> Decision {
    let mut own = policies
        .iter()
        .filter(|policy| policy.principal == principal.id && policy.tenant == principal.tenant);
    if own.any(|policy| policy.grants(permission)) {
        Decision::Allowed { by: Grant::AccessPolicy }
    } else {
        Decision::Denied { reason: Denial::Policy { permission } }
    }
}

fn by_roles(
    question: &Question<'_>,
    grants: &Grants,
    action: &str,
    granted: impl Fn(&RoleDefinition) -> bool,
) -> Decision {
    let allowing = grants
        .assignments
        .iter()
        .filter(|assignment| assignment.principal == question.principal.id)
        .filter(|assignment| assignment.scope.contains(question.scope))
        .find(|assignment| role(grants, assignment.role).is_some_and(&granted));
    match allowing {
        Some(assignment) => Decision::Allowed { by: Grant::RoleAssignment(assignment.id.clone()) },
        None => Decision::Denied { reason: Denial::Role { action: action.to_owned() } },
    }
}

/// A built-in role cannot be replaced by a custom one with its GUID.
fn role(grants: &Grants, id: RoleDefinitionId) -> Option<&RoleDefinition> {
    let mut all = built_in_roles().iter().chain(managed_hsm_roles()).chain(&grants.custom_roles);
    all.find(|role| role.id == id)
}
