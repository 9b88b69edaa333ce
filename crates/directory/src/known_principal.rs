//! Whether a principal exists, asked before a role is granted to it.

use custody_names::{PrincipalId, ResourceId};
use custody_resources::{Kind as _, Record, Stop, World};
use serde_json::{Value, json};

use crate::{RoleAssignmentKind, UserAssignedIdentity};

/// Kinds whose records are principals: type, where the object id stands, and what they are.
const PRINCIPALS: [(&str, &str, &str); 3] = [
    (UserAssignedIdentity::TYPE, "principalId", SERVICE_PRINCIPAL),
    ("Custody.Directory/tenants/servicePrincipals", "objectId", SERVICE_PRINCIPAL),
    ("Custody.Directory/tenants/users", "objectId", "User"),
];
/// Kinds that have an identity of their own.
const IDENTITY_HOLDERS: [&str; 2] =
    ["Microsoft.DataProtection/backupVaults", "Microsoft.RecoveryServices/vaults"];
const SERVICE_PRINCIPAL: &str = "ServicePrincipal";

/// What the principal is, if it is known: by its record, as a resource's own identity, or because it
/// has a role already.
pub(crate) fn type_of(world: &World, principal: PrincipalId) -> Result<Option<String>, Stop> {
    let root = ResourceId::root();
    let wanted = json!(principal);
    for (kind, field, word) in PRINCIPALS {
        let named = |record: &Record| record.status.get(field) == Some(&wanted);
        if world.below(&root, kind)?.iter().any(named) {
            return Ok(Some(word.to_owned()));
        }
    }
    for kind in IDENTITY_HOLDERS {
        let own = |record: &Record| {
            record.identity.as_ref().and_then(|identity| identity.system_assigned)
                == Some(principal)
        };
        if world.below(&root, kind)?.iter().any(own) {
            return Ok(Some(SERVICE_PRINCIPAL.to_owned()));
        }
    }
    let assigned = world.below(&root, RoleAssignmentKind::TYPE)?;
    let mut own = assigned.iter().filter(|record| record.spec.get("principalId") == Some(&wanted));
    Ok(own.next().map(|record| {
        let word = record.spec.get("principalType").and_then(Value::as_str);
        word.unwrap_or(SERVICE_PRINCIPAL).to_owned()
    }))
}
