//! The port to key encryption keys, spoken as a vault's identity to the embedded key vault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use custody_access::Principal;
use custody_backup_vaults::{
    EncryptionSettings, IdentityType, KeyVaultProperties, Vault, VaultStatus,
};
use custody_envelope::{
    KekError, KekFault, KekKind, KekState, KeyEncryptionKeys, SecretBytes, WrapAlgorithm,
};
use custody_key_vault::{KeyAnswer, KeyOperation, KeyShape, KeyVaultError, NewKey, RsaSize};
use custody_names::{ClientId, KeyUri, KeyVersionUri, Location, PrincipalId, VaultGuid};
use custody_resources::Refusal;

use crate::failover::{failover_of, require_enough, wrapping_keys};
use crate::key_access::{Cause, KeyVaultFacts, PLATFORM_KEY_VAULT, managed_identity};
use crate::{Platform, fault};

/// The document's code for an identity that is missing, detached or lacks permission; the
/// spelling is the document's (rules 48, 63).
const MISSING_PERMISSION: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
/// The document's code for a key or key vault that is not there or not reachable.
const AUTH_FAILURE: &str = "UserErrorCMKKeyVaultAuthFailure";
/// The document's code for a key vault without purge protection (rule 20).
const PURGE_PROTECTION_OFF: &str = "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault";
/// The document's code for a key vault without soft delete (rule 20).
const SOFT_DELETE_OFF: &str = "UserErrorCMKSoftDeleteNotEnabledOnKeyVault";
// Codes of custody's own.
const KEY_DISABLED: &str = "UserErrorCMKKeyDisabled";
const KEY_EXPIRED: &str = "UserErrorCMKKeyExpired";
const KEY_NOT_YET_VALID: &str = "UserErrorCMKKeyNotYetValid";
const KEY_SIZE_NOT_SUPPORTED: &str = "UserErrorCMKKeySizeNotSupported";
/// The role that suffices in a key vault that decides by roles (rule 42).
const GRANT_ROLE: &str = "Key Vault Crypto Service Encryption User";
/// The same in a managed HSM (rule 44).
const GRANT_HSM_ROLE: &str = "Managed HSM Crypto Service Encryption User";
/// How long an operation waits before it asks a key vault again that gave no answer: unreachable is
/// not refused (DESIGN §5). After the last it fails.
const ASK_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

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

/// Key encryption keys as one vault's identity may use them, for one operation.
#[derive(Clone)]
pub(crate) struct VaultKeks {
    platform: Arc<Platform>,
    speaker: Principal,
    cause: Cause,
}

impl VaultKeks {
    /// Speaks as the identity that `settings` name, or as the platform where there are none.
    pub(crate) fn new(
        platform: &Arc<Platform>,
        vault: &Vault,
        settings: Option<&EncryptionSettings>,
        cause: Cause,
    ) -> Result<Self, Refusal> {
        let speaker = match settings {
            None => {
                let guid = vault.status.vault_guid;
                let guid = guid.ok_or_else(|| Refusal::bug("the vault has no GUID"))?;
                let id = PrincipalId::from_bytes(*guid.as_bytes());
                let tenant = platform.installation.tenant_id;
                managed_identity(id, ClientId::from_bytes(*guid.as_bytes()), tenant)
            }
            // A vault's identities are of its subscription's tenant: a transfer detaches them (rule 41).
            Some(settings) => speaker(vault, settings, platform.tenant_around(&vault.record.id)?)?,
        };
        let identity = settings.and_then(|settings| settings.kek_identity.as_ref());
        let trusted =
            identity.is_some_and(|named| named.identity_type == IdentityType::SystemAssigned);
        let cause = Cause { trusted, ..cause };
        Ok(Self { platform: Arc::clone(platform), speaker, cause })
    }

    /// Refuses a vault whose ring is wrapped by a key that is disabled or outside its time window:
    /// rule 17, read before the job touches anything else.
    pub(crate) fn require_usable(&self, status: &VaultStatus) -> Result<(), KekError> {
        let now = self.platform.clock.now();
        let mut keys: BTreeMap<KeyUri, Result<(), KekError>> = BTreeMap::new();
        let versions: BTreeSet<&KeyVersionUri> = status.wraps().collect();
        for version in versions {
            let answer = keys.entry(version.versionless()).or_insert(Ok(()));
            if answer.is_ok() {
                let state = self.describe(&version.pinned());
                *answer = state.and_then(|state| state_is_active(&state, now));
            }
        }
        require_enough(keys.into_values(), failover_of(status.applied.as_ref()))
    }

    /// Rules 19, 20 and 21: a key may be assigned only if its key vault lets a deletion be undone and
    /// refuses to purge before the time. Which of the two is missing says the code, by its name: the
    /// document's texts under the two codes are swapped.
    pub(crate) fn require_recoverable(&self, key: &KeyUri) -> Result<(), KekError> {
        let facts = self.facts(key)?;
        let vault = &key.vault;
        let refuse = |code, what: &str, flag: &str| {
            Err(KekError {
                fault: KekFault::Refused,
                code,
                message: format!("{what} is not enabled on the key vault {vault} (rule 19)"),
                fix: Some(format!("az keyvault update --name {vault} {flag}")),
            })
        };
        if !facts.vault.soft_delete {
            return refuse(
                SOFT_DELETE_OFF,
                "soft delete",
                "--set properties.enableSoftDelete=true",
            );
        }
        if !facts.vault.purge_protection {
            return refuse(
                PURGE_PROTECTION_OFF,
                "purge protection",
                "--enable-purge-protection true",
            );
        }
        Ok(())
    }

    /// Rule 23: a Recovery Services vault and its key vault lie in one region.
    pub(crate) fn require_region(
        &self,
        key: &KeyUri,
        region: Option<&Location>,
    ) -> Result<(), KekError> {
        let facts = self.facts(key)?;
        let own: Option<Location> = facts.vault.location.parse().ok();
        if own.as_ref() == region {
            return Ok(());
        }
        let region = region.map(Location::as_str).unwrap_or_default();
        let vault = &key.vault;
        Err(KekError {
            fault: KekFault::Refused,
            code: "UserErrorCMKKeyVaultRegionMismatch",
            message: format!(
                "the key vault {vault} lies in {}, the vault in {region}: they must lie in one \
                 region (rule 23)",
                facts.vault.location
            ),
            fix: Some(format!("az keyvault create --name NAME --location {region}")),
        })
    }

    /// Rule 44: a key that is addressed as one of a managed HSM lies in one, and no other does.
    /// Both share one name space, so that the name alone would find it.
    pub(crate) fn require_holder(&self, key: &KeyVaultProperties) -> Result<(), KekError> {
        let facts = self.facts(&key.key_uri)?;
        if facts.vault.managed_hsm == key.in_managed_hsm {
            return Ok(());
        }
        let vault = &key.key_uri.vault;
        let (is, wanted) = if key.in_managed_hsm {
            ("a key vault", "managed HSM")
        } else {
            ("a managed HSM", "key vault")
        };
        Err(KekError {
            fault: KekFault::Refused,
            code: AUTH_FAILURE,
            message: format!("there is no {wanted} of the name {vault}: that is {is}"),
            fix: Some("write the key's address as `az keyvault key show` prints it".to_owned()),
        })
    }

    /// Makes a key of the platform's own, unless it is there.
    pub(crate) fn ensure_platform_key(&self, key: &KeyUri) -> Result<(), KekError> {
        match self.ask(key, &KeyOperation::Get { name: &key.key, version: None }) {
            Err(error) if error.code == AUTH_FAILURE => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
        let made = NewKey::of_size(RsaSize::Bits3072);
        self.ask(key, &KeyOperation::Create { name: &key.key, key: &made }).map(drop)
    }

    fn facts(&self, key: &KeyUri) -> Result<Arc<KeyVaultFacts>, KekError> {
        let found = if key.vault.as_str() == PLATFORM_KEY_VAULT {
            self.platform.platform_key_vault(&self.speaker).map(Some)
        } else {
            self.platform.key_holder(key)
        };
        let found = found.map_err(|refusal| KekError {
            fault: KekFault::Unreachable,
            code: AUTH_FAILURE,
            message: format!("the records of the key vault cannot be read: {}", refusal.message),
            fix: None,
        })?;
        found.ok_or_else(|| KekError {
            fault: KekFault::Refused,
            code: AUTH_FAILURE,
            message: format!("the key vault {} does not exist or is deleted", key.vault),
            fix: Some(format!("custody keyvault recover --name {}", key.vault)),
        })
    }

    /// Asks, and once more after a while if there was no answer.
    fn ask(&self, key: &KeyUri, operation: &KeyOperation<'_>) -> Result<KeyAnswer, KekError> {
        let mut pauses = ASK_AGAIN_AFTER.iter();
        loop {
            let asked = self.ask_once(key, operation);
            match (asked, pauses.next()) {
                (Err(error), Some(pause)) if error.fault == KekFault::Unreachable => {
                    self.platform.clock.sleep(*pause);
                }
                (asked, _) => return asked,
            }
        }
    }

    fn ask_once(&self, key: &KeyUri, operation: &KeyOperation<'_>) -> Result<KeyAnswer, KekError> {
        let facts = self.facts(key)?;
        let deliver = || self.platform.ask_key_vault(&self.speaker, &facts, operation, self.cause);
        self.platform
            .over_link(operation, &deliver)
            .map_err(|error| self.translate(key, &facts, &error))
    }

    /// The key vault's error, with the document's code and the command that mends it: what the
    /// identity may not do or no such key can do has the code of rule 48, what is not there or cannot
    /// be reached that of rule 38.
    fn translate(&self, key: &KeyUri, facts: &KeyVaultFacts, error: &KeyVaultError) -> KekError {
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

impl KeyEncryptionKeys for VaultKeks {
    fn describe(&self, key: &KeyUri) -> Result<KekState, KekError> {
        let operation = KeyOperation::Get { name: &key.key, version: key.version.as_ref() };
        match self.ask(key, &operation)? {
            KeyAnswer::Key(found) => Ok(KekState {
                version: found.id,
                kind: kind(found.shape),
                enabled: found.attributes.enabled,
                not_before: found.attributes.not_before,
                expires: found.attributes.expires,
            }),
            _ => Err(unexpected()),
        }
    }

    fn wrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        plain: &SecretBytes,
    ) -> Result<Vec<u8>, KekError> {
        let version = Some(&key.version);
        let algorithm = algorithm.into();
        let operation = KeyOperation::Wrap { name: &key.key, version, algorithm, plain };
        match self.ask(&key.pinned(), &operation)? {
            KeyAnswer::Wrapped { wrapped, .. } => Ok(wrapped),
            _ => Err(unexpected()),
        }
    }

    fn unwrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes, KekError> {
        let version = Some(&key.version);
        let algorithm = algorithm.into();
        let operation = KeyOperation::Unwrap { name: &key.key, version, algorithm, wrapped };
        match self.ask(&key.pinned(), &operation)? {
            KeyAnswer::Unwrapped { plain, .. } => Ok(plain),
            _ => Err(unexpected()),
        }
    }
}

/// The key of a vault: the customer's, or the platform's own for this vault (rule 1).
pub(crate) fn key_of(
    settings: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<KeyUri, Refusal> {
    if let Some(key) = settings.and_then(EncryptionSettings::key) {
        return Ok(key.clone());
    }
    platform_key(&guid.to_string())
}

/// The platform's key for the second layer of a vault.
pub(crate) fn second_layer_key(guid: VaultGuid) -> Result<KeyUri, Refusal> {
    platform_key(&format!("layer-{guid}"))
}

/// Every key that may open a vault under these settings.
pub(crate) fn keys_of(
    settings: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<Vec<KeyUri>, Refusal> {
    let mut all = wrapping_keys(settings, guid)?;
    all.push(second_layer_key(guid)?);
    Ok(all)
}

fn platform_key(name: &str) -> Result<KeyUri, Refusal> {
    let bug = |_| Refusal::bug("the platform's own names are valid");
    Ok(KeyUri {
        vault: PLATFORM_KEY_VAULT.parse().map_err(bug)?,
        key: name.parse().map_err(bug)?,
        version: None,
    })
}

/// Rules 12, 13, 14 and 15: an RSA key of 2048, 3072 or 4096 bits; another kind has the code of rule 13.
pub(crate) fn state_is_fit(state: &KekState) -> Result<(), KekError> {
    let refuse = |code, what: String| {
        let KeyVersionUri { vault, key, .. } = &state.version;
        Err(KekError {
            fault: KekFault::Refused,
            code,
            message: format!("the key {vault}/{key} {what}"),
            fix: Some(format!(
                "az keyvault key create --vault-name {vault} --name NAME --kty RSA --size 3072"
            )),
        })
    };
    match state.kind {
        KekKind::Rsa { bits } if RsaSize::try_from(bits).is_ok() => Ok(()),
        KekKind::Rsa { bits } => {
            let what = format!("has {bits} bits: 2048, 3072 or 4096 protect a vault (rule 12)");
            refuse(KEY_SIZE_NOT_SUPPORTED, what)
        }
        KekKind::Other => {
            refuse(MISSING_PERMISSION, "is no RSA key: no other protects a vault (rule 13)".into())
        }
    }
}

fn kind(shape: KeyShape) -> KekKind {
    match shape {
        KeyShape::Rsa(size) => KekKind::Rsa { bits: size.bits() },
        KeyShape::Ec(_) | KeyShape::Oct(_) => KekKind::Other,
    }
}

/// Rule 18: enabled, not before its `nbf`, not past its `exp`.
pub(crate) fn state_is_active(
    state: &KekState,
    now: custody_ambient::Timestamp,
) -> Result<(), KekError> {
    let refuse = |code, what: &str, flag: &str| {
        let KeyVersionUri { vault, key, version } = &state.version;
        let place = format!("--vault-name {vault} --name {key} --version {version}");
        Err(KekError {
            fault: KekFault::Refused,
            code,
            message: format!("the key {} {what}", state.version),
            fix: Some(format!("custody keyvault key set-attributes {place} {flag}")),
        })
    };
    if !state.enabled {
        return refuse(KEY_DISABLED, "is disabled", "--enabled true");
    }
    if state.not_before.is_some_and(|start| now < start) {
        let flag = "--not-before 2020-01-01T00:00:00Z";
        return refuse(KEY_NOT_YET_VALID, "is not valid yet", flag);
    }
    if state.expires.is_some_and(|end| now >= end) {
        let flag = "--expires 2030-01-01T00:00:00Z";
        return refuse(KEY_EXPIRED, "has expired", flag);
    }
    Ok(())
}

/// The identity named in the settings, the vault's own or another, if it is still attached
/// (rules 28, 34, 62). Its permissions count, those of no other identity (rule 46).
fn speaker(
    vault: &Vault,
    settings: &EncryptionSettings,
    tenant: custody_names::TenantId,
) -> Result<Principal, Refusal> {
    let attached = vault.record.identity.as_ref();
    let named = settings.kek_identity.as_ref();
    let found = match named.map(|named| (named.identity_type, &named.identity_id)) {
        Some((IdentityType::UserAssigned, Some(id))) => attached
            .and_then(|identity| identity.user_assigned(id))
            .map(|identity| (identity.principal_id, identity.client_id)),
        Some((IdentityType::SystemAssigned, _)) => attached
            .and_then(|identity| identity.system_assigned)
            .map(|principal| (principal, ClientId::from_bytes(*principal.as_bytes()))),
        _ => None,
    };
    let (principal, client) = found.ok_or_else(|| {
        fault::advised(Refusal::new(
            403,
            MISSING_PERMISSION,
            "the identity of the encryption settings is not attached to the vault any more",
        ))
        .with_fix("attach it again, grant it access to the key and run the job again")
    })?;
    Ok(managed_identity(principal, client, tenant))
}

fn message(key: &KeyUri, error: &KeyVaultError) -> String {
    format!("the key {key} cannot be used: {error}")
}

fn unexpected() -> KekError {
    KekError {
        fault: KekFault::Unreachable,
        code: "InternalServerError",
        message: "the key vault gave an answer of another kind; this is a bug in custody".into(),
        fix: None,
    }
}

#[cfg(test)]
mod tests {
    use custody_test_world::keks::MemoryKeks;

    use super::*;

    /// Rules 12 to 15, with sizes that the embedded key vault does not make.
    #[test]
    fn only_rsa_keys_of_three_sizes_are_fit() {
        let keks = MemoryKeks::new();
        let version = keks.add_version("kv1", "k");
        let check = |kind: KekKind, expected: Option<&str>| {
            keks.set_kind(&version, kind);
            let state = keks.describe(&version.pinned()).unwrap();
            let code = state_is_fit(&state).err().map(|error| error.code);
            assert_eq!(code, expected, "{kind:?}");
        };
        for (bits, fits) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (4096, true), (8192, false)]
        {
            let expected = if fits { None } else { Some("UserErrorCMKKeySizeNotSupported") };
            check(KekKind::Rsa { bits }, expected);
        }
        check(KekKind::Other, Some(MISSING_PERMISSION));
    }
}
