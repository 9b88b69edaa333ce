//! Keys that a live drill disables: what was intended is on record before the key is touched, so that
//! it is enabled again whatever becomes of the drill.

use custody_ambient::Timestamp;
use custody_directory::principal_of;
use custody_key_vault::{
    AttributeChange, Key, KeyAnswer, KeyOperation, KeyVaultError, Purpose, RequestContext,
};
use custody_names::{KeyVersionUri, OperationId};
use custody_resources::{Caller, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::key_access::{Cause, KeyVaultFacts};
use crate::{Platform, fault, orphans};

/// A setting of the records holds what a drill intends; its operation follows.
const SETTING: &str = "drill:";
/// A process that dies right after it disabled a key may not have noted when: a key that was changed
/// within so many seconds of the intent was disabled by the drill.
const UNNOTED_SECONDS_MAX: i64 = 10;

/// What a drill intends.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intent {
    operation: OperationId,
    key: KeyVersionUri,
    /// When it was noted, before the key was touched.
    begun: Timestamp,
    /// When the key vault says that the drill changed the key.
    disabled: Option<Timestamp>,
}

impl Platform {
    /// Disables a key version for a drill, as the caller who asked for it: it takes his right on the
    /// key. That it is to be enabled again is on record before.
    pub(crate) fn disable_for_drill(
        &self,
        key: &KeyVersionUri,
        caller: &Caller,
        cause: Cause,
    ) -> Result<(), Refusal> {
        let operation = cause.job.ok_or_else(|| Refusal::bug("a drill is a job"))?;
        let facts = self.holder_of(key)?;
        if facts.vault.strictness.guards_dependants {
            let text = format!("the key vault {} lets no key go that vaults hang on", key.vault);
            return Err(Refusal::new(409, "KeyHasDependants", text)
                .with_fix("take the tag custody-guard-dependants off the key vault"));
        }
        let begun = self.clock.now();
        let mut intent = Intent { operation, key: key.clone(), begun, disabled: None };
        self.note(&intent)?;
        let change = AttributeChange { enabled: Some(false), ..AttributeChange::nothing() };
        let update = update(key, &change);
        let answer = self.ask_key_vault(&principal_of(caller), &facts, &update, cause);
        match answer {
            Ok(KeyAnswer::Key(changed)) => {
                intent.disabled = Some(changed.attributes.updated);
                self.note(&intent)
            }
            Ok(_) => Err(Refusal::bug("the key vault gave an answer of another kind")),
            Err(error) => {
                // Refused, and so unchanged; what else it may be is left to the intent.
                if matches!(error, KeyVaultError::Denied(_) | KeyVaultError::Barred(_)) {
                    self.forget_intent(operation)?;
                }
                let grant = format!(
                    "custody role assignment create --assignee {} --role \"Key Vault Crypto \
                     Officer\" --scope {}",
                    caller.principal, facts.vault.resource
                );
                Err(fault::of_key_vault(&error).with_fix(grant))
            }
        }
    }

    /// Enables what the drill of this operation disabled. Says whether there was anything to do.
    pub(crate) fn enable_after_drill(&self, operation: OperationId) -> Result<bool, Refusal> {
        let found = self.records.setting(&setting_of(operation));
        let Some(found) = found.map_err(|error| fault::of_store(&error))? else { return Ok(false) };
        let intent = Intent::deserialize(found).map_err(|error| Refusal::bug(error.to_string()))?;
        let enabled = self.enable(&intent)?;
        self.forget_intent(operation)?;
        Ok(enabled)
    }

    /// Enables keys that drills left disabled whose process is gone, or which ended without it.
    pub(crate) fn end_abandoned_drills(&self) -> Vec<Refusal> {
        let intents = match self.records.settings(SETTING) {
            Ok(intents) => intents,
            Err(error) => return vec![fault::of_store(&error)],
        };
        let ids = intents.iter().filter_map(|name| name.strip_prefix(SETTING)?.parse().ok());
        ids.filter_map(|id| self.end_if_abandoned(id).err()).collect()
    }

    fn end_if_abandoned(&self, operation: OperationId) -> Result<(), Refusal> {
        let found = self.records.operation(operation).map_err(|error| fault::of_store(&error))?;
        let goes_on = found.is_some_and(|tracked| {
            !tracked.operation.state.is_final() && !orphans::is_dead(&tracked.operation.owner)
        });
        if goes_on {
            return Ok(());
        }
        self.enable_after_drill(operation).map(drop)
    }

    fn enable(&self, intent: &Intent) -> Result<bool, Refusal> {
        let key = &intent.key;
        let facts = self.holder_of(key)?;
        let correlation = self.mint_correlation()?;
        let context = RequestContext {
            job: Some(intent.operation),
            purpose: Some(Purpose::Drill),
            trusted: true,
            ..RequestContext::begun(self.clock.as_ref(), correlation)
        };
        let ask = |operation: &KeyOperation<'_>| {
            let platform = principal_of(&self.administrator());
            let answer =
                self.key_vaults.perform_managed(&platform, &facts.vault, operation, &context);
            match answer.map_err(|error| fault::of_key_vault(&error))? {
                KeyAnswer::Key(key) => Ok(key),
                _ => Err(Refusal::bug("the key vault gave an answer of another kind")),
            }
        };
        let found = ask(&KeyOperation::Get { name: &key.key, version: Some(&key.version) })?;
        if !was_disabled_by(intent, &found) {
            return Ok(false);
        }
        let change = AttributeChange { enabled: Some(true), ..AttributeChange::nothing() };
        ask(&update(key, &change)).map(|_| true)
    }

    /// What holds a key version.
    pub(crate) fn holder_of(
        &self,
        key: &KeyVersionUri,
    ) -> Result<std::sync::Arc<KeyVaultFacts>, Refusal> {
        self.key_holder(&key.versionless())?.ok_or_else(|| {
            let text = format!("the key vault {} does not exist or is deleted", key.vault);
            Refusal::new(404, "VaultNotFound", text)
        })
    }

    fn note(&self, intent: &Intent) -> Result<(), Refusal> {
        let noted = self.records.set_setting(&setting_of(intent.operation), &json!(intent));
        noted.map_err(|error| fault::of_store(&error))
    }

    fn forget_intent(&self, operation: OperationId) -> Result<(), Refusal> {
        let forgotten = self.records.change_setting(&setting_of(operation), &mut |_| None);
        forgotten.map_err(|error| fault::of_store(&error))
    }
}

fn setting_of(operation: OperationId) -> String {
    format!("{SETTING}{operation}")
}

fn update<'a>(key: &'a KeyVersionUri, change: &'a AttributeChange) -> KeyOperation<'a> {
    KeyOperation::Update { name: &key.key, version: Some(&key.version), change }
}

/// Whether the key is disabled, and by the drill: what its owner did meanwhile is not undone.
fn was_disabled_by(intent: &Intent, found: &Key) -> bool {
    let changed = found.attributes.updated.as_second();
    let by_drill = match intent.disabled {
        Some(noted) => noted.as_second() == changed,
        None => {
            let since = changed - intent.begun.as_second();
            (0..=UNNOTED_SECONDS_MAX).contains(&since)
        }
    };
    !found.attributes.enabled && by_drill
}
