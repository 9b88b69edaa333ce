//! The limit of whoever may grant roles only because it is Key Vault Data Access Administrator: the
//! condition that Azure puts on that role.

use custody_access::{KEY_VAULT_DATA_ACCESS_ADMINISTRATOR, built_in_roles};
use custody_names::{ResourceId, RoleDefinitionId};
use custody_resources::{Caller, Refusal, Stop, World};

use crate::grants_for;

/// Where the data actions begin that such an administrator may grant.
const KEY_VAULT_DATA: &str = "Microsoft.KeyVault/vaults/";

/// Refuses a grant, or the end of one, of a role that the caller may not hand out. `permission` is
/// the one that the engine found the caller to have at the scope.
pub(crate) fn check(
    caller: &Caller,
    permission: &str,
    scope: &ResourceId,
    role: RoleDefinitionId,
    world: &World,
) -> Result<(), Stop> {
    let grants = grants_for(world, scope)?;
    let mut granting = grants.assignments.iter().filter(|assignment| {
        let mut roles = built_in_roles().iter().chain(&grants.custom_roles);
        assignment.principal == caller.principal
            && roles.any(|role| role.id == assignment.role && role.grants_action(permission))
    });
    let limited = |role: RoleDefinitionId| role == KEY_VAULT_DATA_ACCESS_ADMINISTRATOR;
    let Some(first) = granting.next() else { return Ok(()) };
    if !limited(first.role) || granting.any(|other| !limited(other.role)) || is_of_key_vaults(role)
    {
        return Ok(());
    }
    let text = format!(
        "The client '{}' with object id '{}' has an authorization with ABAC condition that is not \
         fulfilled to perform action '{permission}' over scope '{scope}'.",
        caller.name, caller.principal
    );
    Err(Refusal::new(403, "AuthorizationFailed", text).into())
}

/// Roles on the data of key vaults, and on nothing else.
fn is_of_key_vaults(role: RoleDefinitionId) -> bool {
    let found = built_in_roles().iter().find(|known| known.id == role);
    found.is_some_and(|role| {
        let mut data = role.data_actions.iter();
        !role.data_actions.is_empty() && data.all(|one| one.as_str().starts_with(KEY_VAULT_DATA))
    })
}
