//! The port to key encryption keys, spoken as a vault's identity to the embedded key vault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use custody_access::Principal;
use custody_backup_vaults::{EncryptionSettings, IdentityType, Vault, VaultStatus};
use custody_envelope::{
    KekError, KekFault, KekKind, KekState, KeyEncryptionKeys, SecretBytes, WrapAlgorithm,
};
use custody_key_vault::{KeyAnswer, KeyOperation, KeyShape, NewKey, RsaSize};
use custody_names::{ClientId, KeyUri, KeyVersionUri, PrincipalId};
use custody_resources::Refusal;

use crate::failover::{failover_of, require_enough};
use crate::key_access::{Cause, KeyVaultFacts, PLATFORM_KEY_VAULT, managed_identity};
use crate::{Platform, fault};

mod faults;
mod fitness;

pub(crate) use faults::AUTH_FAILURE;
use faults::MISSING_PERMISSION;
pub(crate) use faults::{recommended_action, says_key_is_lost};
pub(crate) use fitness::{state_is_active, state_is_fit};

/// How long an operation waits before it asks a key vault again that gave no answer: unreachable is
/// not refused (DESIGN §5). After the last it fails.
const ASK_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

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

fn kind(shape: KeyShape) -> KekKind {
    match shape {
        KeyShape::Rsa(size) => KekKind::Rsa { bits: size.bits() },
        KeyShape::Ec(_) | KeyShape::Oct(_) => KekKind::Other,
    }
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

fn unexpected() -> KekError {
    KekError {
        fault: KekFault::Unreachable,
        code: "InternalServerError",
        message: "the key vault gave an answer of another kind; this is a bug in custody".into(),
        fix: None,
    }
}
