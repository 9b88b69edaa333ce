//! Principals, role definitions and assignments, and the one decision: may X do Y on Z.
//!
//! Every surface asks [`decide`], with the same grants and the same answer: ARM for a control-plane
//! action, the key vault for the use of a key. There is no second way in: the administrator who
//! opened the seal and the identity of a vault are principals like any other (DESIGN §8).
//!
//! Control plane and data plane are apart. Owner of a key vault's resource may change its settings
//! and grants, and may not wrap with its keys until someone grants that (rule 120). Under roles the
//! access policies of a key vault are ignored, under policies the roles (rule 47).

mod built_in;
mod decide;
mod hsm_roles;
mod key_permission;
mod pattern;
mod principal;
mod role;

pub use built_in::{
    KEY_VAULT_CRYPTO_OFFICER, KEY_VAULT_CRYPTO_SERVICE_ENCRYPTION_USER,
    KEY_VAULT_DATA_ACCESS_ADMINISTRATOR, OWNER, built_in_role, built_in_roles,
};
pub use decide::{Decision, Denial, Grant, Grants, PermissionModel, Question, Wanted, decide};
pub use hsm_roles::{MANAGED_HSM_ADMINISTRATOR, MANAGED_HSM_CRYPTO_USER, managed_hsm_roles};
pub use key_permission::{AccessPolicy, KeyPermission, UnknownKeyPermission};
pub use pattern::ActionPattern;
pub use principal::{Principal, PrincipalKind};
pub use role::{RoleAssignment, RoleDefinition};
