//! Whether a key vault or managed HSM can be called so.

use custody_key_vault::{key_vault_claim, key_vault_name};
use custody_names::KeyVaultName;
use custody_resources::Refusal;
use custody_worker::PLATFORM_KEY_VAULT;
use serde_json::{Value, json};

use crate::views::View;

/// `POST S/providers/Microsoft.KeyVault/check[Mhsm]NameAvailability`. Names are unique over key
/// vaults and managed HSMs of all tenants: a key's URI inside tells them apart by name alone.
pub(crate) fn check(view: &View<'_>, what: &str) -> Result<Value, Refusal> {
    let name = view.call.body.get("name").and_then(Value::as_str).unwrap_or_default();
    let parsed: Result<KeyVaultName, Refusal> = key_vault_name(name);
    let permission = format!("Microsoft.KeyVault/check{what}NameAvailability/read");
    let taken = view.look(&permission, |world| match &parsed {
        Ok(name) if name.as_str() == PLATFORM_KEY_VAULT => Ok(true),
        Ok(name) => Ok(world.claimant(&key_vault_claim(name))?.is_some()),
        Err(_) => Ok(false),
    })?;
    Ok(match parsed {
        Err(refusal) => json!({
            "nameAvailable": false,
            "reason": "AccountNameInvalid",
            "message": refusal.message,
        }),
        Ok(name) if taken => json!({
            "nameAvailable": false,
            "reason": "AlreadyExists",
            "message": format!(
                "The name '{name}' is already in use. Names are globally unique so it is possible \
                 that the name is already taken, also by one that is deleted and not yet purged."
            ),
        }),
        Ok(_) => json!({ "nameAvailable": true }),
    })
}
