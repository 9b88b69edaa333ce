//! Whether a caller may do with a key vault's keys what he asks.

use custody_access::{Decision, Grant, Grants, KeyPermission, Principal, Question, Wanted, decide};
use custody_names::ResourceName;

use crate::error::{DeniedAccess, KeyVaultError, Result};
use crate::operation::KeyOperation;
use crate::vault::KeyVaultRef;

/// What of `grants` allows the operation.
pub(crate) fn authorise(
    caller: &Principal,
    vault: &KeyVaultRef,
    grants: &Grants,
    operation: &KeyOperation<'_>,
) -> Result<Grant> {
    let scope = match operation.key() {
        Some((key, _)) => {
            let name: ResourceName = key
                .as_str()
                .parse()
                .map_err(|_| KeyVaultError::Bug("a key's name is no resource name"))?;
            vault.resource.child("keys", &name)
        }
        None => vault.resource.clone(),
    };
    let allowed = |wanted: Wanted<'_>| match decide(
        &Question { principal: caller, wanted, scope: &scope },
        grants,
    ) {
        Decision::Allowed { by } => Ok(by),
        Decision::Denied { reason } => Err(KeyVaultError::Denied(Box::new(DeniedAccess {
            denial: reason,
            caller: caller.clone(),
            vault: vault.vault.clone(),
            location: vault.location.clone(),
            resource: scope.clone(),
        }))),
    };
    if vault.managed_hsm {
        if let KeyOperation::Rewrap { .. } = operation {
            allowed(Wanted::DataAction(KeyPermission::WrapKey.hsm_data_action()))?;
        }
        return allowed(Wanted::DataAction(operation.hsm_data_action()));
    }
    if let KeyOperation::Rewrap { .. } = operation {
        allowed(Wanted::Key(KeyPermission::WrapKey))?;
    }
    allowed(Wanted::Key(operation.permission()))
}
