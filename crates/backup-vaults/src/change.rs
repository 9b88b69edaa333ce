//! What a request asks of a vault's encryption: the part that both kinds of vault share.

use custody_resources::{Identity, ProvisioningState, Refusal, Request, Task, Verb};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::encryption::{ApplyEncryption, EncryptionSettings};
use crate::rules;
use crate::status::VaultStatus;

/// What a body says of encryption settings.
pub(crate) enum Asked<T> {
    /// Nothing: what is stored stays.
    Nothing,
    /// That there shall be none.
    Removal,
    /// These, and what is among what they name.
    Settings(T, Named),
}

/// What a body says anything of; the rest stays as it is. Clients that know nothing of a field send
/// the settings back without it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The second layer.
    pub(crate) layer: bool,
    /// The standby key.
    pub(crate) standby: bool,
    /// The failover rule.
    pub(crate) failover: bool,
}

impl<T: Serialize + DeserializeOwned> Asked<T> {
    /// Reads what stands at `pointer`. A PATCH keeps the fields it does not name and replaces the
    /// others whole: an identity is never pieced together from two requests.
    pub(crate) fn read(
        request: &Request<'_>,
        pointer: &str,
        stored: Option<&T>,
    ) -> Result<Self, Refusal> {
        let Some(asked) = request.body.pointer(pointer) else { return Ok(Self::Nothing) };
        let wrong = |error: serde_json::Error| {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            Refusal::bad_request(format!("{field}: {error}"))
        };
        let Value::Object(asked) = asked else {
            return match asked {
                Value::Null => Ok(Self::Removal),
                other => T::deserialize(other)
                    .map(|settings| Self::Settings(settings, Named::default()))
                    .map_err(wrong),
            };
        };
        for field in [KEY, STANDBY] {
            key_is_served_here(request, asked.get(field))?;
        }
        let named = Named {
            layer: asked.get(LAYER).is_some_and(|layer| !layer.is_null()),
            standby: asked.contains_key(STANDBY),
            failover: asked.contains_key(FAILOVER),
        };
        let mut whole = match (stored, &request.verb) {
            (Some(stored), Verb::Patch) => match serde_json::to_value(stored).map_err(wrong)? {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
            _ => Map::new(),
        };
        whole.extend(asked.clone());
        T::deserialize(Value::Object(whole))
            .map(|settings| Self::Settings(settings, named))
            .map_err(wrong)
    }

    /// The same in another shape.
    pub(crate) fn try_map<U>(
        self,
        map: impl FnOnce(T) -> Result<U, Refusal>,
    ) -> Result<Asked<U>, Refusal> {
        Ok(match self {
            Self::Nothing => Asked::Nothing,
            Self::Removal => Asked::Removal,
            Self::Settings(settings, named) => Asked::Settings(map(settings)?, named),
        })
    }
}

/// A key's address is hostile input: it may name keys of this installation alone, and no other host
/// is ever asked.
fn key_is_served_here(request: &Request<'_>, properties: Option<&Value>) -> Result<(), Refusal> {
    let address = properties.and_then(|properties| properties.get("keyUri")?.as_str());
    let Some(address) = address.filter(|address| !request.hosts.serve(address)) else {
        return Ok(());
    };
    let shown: String = address.chars().take(ADDRESS_CHARACTERS_SHOWN).collect();
    let domain = &request.hosts.key_vaults;
    let text = format!(
        "{shown:?} is no key of this installation: the address of a key begins with \
         https://NAME.{domain}/keys/"
    );
    Err(Refusal::new(400, "UserErrorCMKKeyVaultAuthFailure", text)
        .with_fix("az keyvault key show --vault-name NAME --name KEY --query key.kid"))
}

/// So much of an address that is refused is repeated.
const ADDRESS_CHARACTERS_SHOWN: usize = 200;

/// Shows the keys' addresses in the settings at `place` as whoever asks reaches them.
pub(crate) fn dress_keys(
    settings: Option<&EncryptionSettings>,
    request: &Request<'_>,
    place: Option<&mut Value>,
) {
    let (Some(settings), Some(place)) = (settings, place) else { return };
    for (key, field) in settings.addressed_keys().zip([KEY, STANDBY]) {
        let shown = place.get_mut(field).and_then(|field| field.get_mut("keyUri"));
        if let Some(shown) = shown {
            *shown = request.hosts.key_uri_of(&key.key_uri, key.in_managed_hsm).into();
        }
    }
}

// Fields of the same name in both kinds of vault.
const KEY: &str = "keyVaultProperties";
const STANDBY: &str = "standbyKeyProperties";
const FAILOVER: &str = "failover";
const LAYER: &str = "infrastructureEncryption";

/// A vault's encryption as it stands, and what is asked of it.
pub(crate) struct EncryptionChange<'a> {
    pub(crate) asked: Asked<EncryptionSettings>,
    /// What was asked for last, whether it took or not.
    pub(crate) stored: Option<&'a EncryptionSettings>,
    pub(crate) status: &'a VaultStatus,
    /// The identities that will be attached.
    pub(crate) identity: Option<&'a Identity>,
    /// Where the vault stands; none if it is yet to be made.
    pub(crate) state: Option<ProvisioningState>,
}

impl EncryptionChange<'_> {
    /// Whether the vault has no keyring yet: it is being made, or making it failed and is tried
    /// again.
    pub(crate) fn creates(&self) -> bool {
        self.status.keyring.is_none()
    }

    /// What protects the vault now.
    pub(crate) fn applied(&self) -> Option<&EncryptionSettings> {
        self.status.applied.as_ref()
    }

    /// The settings that are wanted from now on (`None` is the platform-managed key: a customer key
    /// is opt-in, rule 1), and the task that brings them about if there is anything to do. Sending
    /// the same again is a task as well: it refreshes identity and key version (rule 76). Tags and all else
    /// that comes with a key is set by the same request (rule 77).
    pub(crate) fn plan(
        self,
        check: impl FnOnce(&Self, &EncryptionSettings) -> Result<(), Refusal>,
    ) -> Result<(Option<EncryptionSettings>, Option<Task>), Refusal> {
        let wanted = rules::wanted_encryption(&self.asked, self.stored, self.applied())?;
        if let Some(wanted) = &wanted {
            check(&self, wanted)?;
        }
        let asked_again = matches!(self.asked, Asked::Settings(..)) && wanted.is_some();
        let failed = self.state == Some(ProvisioningState::Failed);
        let differs = wanted.as_ref() != self.applied();
        let due = self.creates() || failed || differs || asked_again;
        let create = self.status.vault_guid.is_none();
        let task = due.then(|| apply(ApplyEncryption { wanted: wanted.clone(), create }));
        Ok((wanted, task))
    }
}

/// The task that makes a vault's keyring what `input` asks for.
pub(crate) fn apply(input: ApplyEncryption) -> Task {
    Task { name: crate::TASK_APPLY_ENCRYPTION.into(), input: json!(input) }
}
