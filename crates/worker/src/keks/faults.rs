//! What a key or its key vault refuses, under the documents' codes and with the command that mends it.

use custody_envelope::{KekError, KekFault};
use custody_key_vault::KeyVaultError;
use custody_names::KeyUri;

use super::VaultKeks;
use crate::key_access::KeyVaultFacts;

/// The document's code for an identity that is missing, detached or lacks permission; the
/// spelling is the document's (rules 48, 63).
pub(super) const MISSING_PERMISSION: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
/// The document's code for a key or key vault that is not there or not reachable.
pub(crate) const AUTH_FAILURE: &str = "UserErrorCMKKeyVaultAuthFailure";
/// The document's code for a key vault without purge protection (rule 20).
pub(super) const PURGE_PROTECTION_OFF: &str = "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault";
/// The document's code for a key vault without soft delete (rule 20).
pub(super) const SOFT_DELETE_OFF: &str = "UserErrorCMKSoftDeleteNotEnabledOnKeyVault";
// Codes of custody's own.
pub(super) const KEY_DISABLED: &str = "UserErrorCMKKeyDisabled";
pub(super) const KEY_EXPIRED: &str = "UserErrorCMKKeyExpired";
pub(super) const KEY_NOT_YET_VALID: &str = "UserErrorCMKKeyNotYetValid";
pub(super) const KEY_SIZE_NOT_SUPPORTED: &str = "UserErrorCMKKeySizeNotSupported";
/// The role that suffices in a key vault that decides by roles (rule 42).
const GRANT_ROLE: &str = "Key Vault Crypto Service Encryption User";
/// The same in a managed HSM (rule 44).
const GRANT_HSM_ROLE: &str = "Managed HSM Crypto Service Encryption User";

/// Whether a code says that a vault's key cannot be used.
pub(crate) fn says_key_is_lost(code: &str) -> bool {
    [
        MISSING_PERMISSION,
        AUTH_FAILURE,
        KEY_DISABLED,
        KEY_EXPIRED,
        KEY_NOT_YET_VALID,
        KEY_SIZE_NOT_SUPPORTED,
    ]
    .contains(&code)
}

/// Rule 49: what the document recommends under its codes, in its own words.
pub(crate) fn recommended_action(code: &str) -> Option<&'static str> {
    match code {
        MISSING_PERMISSION => Some(
            "Ensure that the managed identity that you use for encryption settings has the \
             required permissions and the key is an RSA type. Then retry the operation.",
        ),
        AUTH_FAILURE => {
            Some("Check the Key Vault access policies and grant permissions accordingly.")
        }
        _ => None,
    }
}

impl VaultKeks {
    /// The key vault's error, with the document's code and the command that mends it: what the
    /// identity may not do or no such key can do has the code of rule 48, what is not there or cannot
    /// be reached that of rule 38.
    pub(super) fn translate(
        &self,
        key: &KeyUri,
        facts: &KeyVaultFacts,
        error: &KeyVaultError,
    ) -> KekError {
        let (vault, name) = (&key.vault, &key.key);
        let version = key.version.as_ref().map(|version| format!(" --version {version}"));
        let version = version.unwrap_or_default();
        let set = |what: &str| {
            let flags = format!("--vault-name {vault} --name {name}{version} {what}");
            Some(format!("custody keyvault key set-attributes {flags}"))
        };
        let (code, fix) = match error {
            KeyVaultError::Denied(_) => (MISSING_PERMISSION, Some(self.grant(key, facts))),
            KeyVaultError::Barred(_) => (
                AUTH_FAILURE,
                Some(format!(
                    "let the vault use its system-assigned identity, or open the key vault: az \
                     keyvault update --name {vault} --default-action Allow"
                )),
            ),
            KeyVaultError::OperationNotPermitted(_) => (
                MISSING_PERMISSION,
                Some(format!(
                    "az keyvault key set-attributes --vault-name {vault} --name {name} --ops \
                     wrapKey unwrapKey"
                )),
            ),
            KeyVaultError::KeyDisabled(_) => (KEY_DISABLED, set("--enabled true")),
            KeyVaultError::KeyExpired(_) => (KEY_EXPIRED, set("--expires 2030-01-01T00:00:00Z")),
            KeyVaultError::KeyNotYetValid(_) => {
                (KEY_NOT_YET_VALID, set("--not-before 2020-01-01T00:00:00Z"))
            }
            KeyVaultError::KeyNotFound(_) | KeyVaultError::VaultNotFound(_) => (
                AUTH_FAILURE,
                Some(format!("custody keyvault key recover --vault-name {vault} --name {name}")),
            ),
            other if other.fault() == KekFault::Unreachable => (AUTH_FAILURE, None),
            other => (other.code(), None),
        };
        KekError { fault: error.fault(), code, message: message(key, error), fix }
    }

    /// The command that gives the identity what it lacks.
    fn grant(&self, key: &KeyUri, facts: &KeyVaultFacts) -> String {
        let assignee = self.speaker.id;
        if facts.vault.managed_hsm {
            let KeyUri { vault, key, .. } = key;
            return format!(
                "az keyvault role assignment create --hsm-name {vault} --assignee {assignee} \
                 --role \"{GRANT_HSM_ROLE}\" --scope /keys/{key}"
            );
        }
        let scope = &facts.vault.resource;
        format!(
            "custody role assignment create --assignee {assignee} --role \"{GRANT_ROLE}\" --scope \
             {scope}"
        )
    }
}

fn message(key: &KeyUri, error: &KeyVaultError) -> String {
    format!("the key {key} cannot be used: {error}")
}
