//! Keys that a live drill disables: what was intended is on record before the key is touched, so that
//! it is enabled again whatever becomes of the drill.

use custody_ambient::Timestamp;
use custody_backup_vaults::{Finding, Vault};
use custody_directory::principal_of;
use custody_key_vault::{
    AttributeChange, Key, KeyAnswer, KeyOperation, KeyVaultError, Purpose, RequestContext,
    key_vault_claim,
};
use custody_names::{KeyVersionUri, OperationId};
use custody_resources::{Caller, Operation, Refusal};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::drill_report::{ENABLED_AGAIN, Protocol, Subject, head, seal};
use crate::key_access::{Cause, KeyVaultFacts};
use crate::{Platform, fault, keks, orphans};

/// A setting of the records holds what a drill intends; its operation follows.
const SETTING: &str = "drill:";
/// A setting of the records holds the report of a drill whose end came after its job's; its operation
/// follows.
const REPORT: &str = "drill-report:";
/// A process that dies right after it disabled a key may not have noted when: a key that was changed
/// within so many seconds of the intent was disabled by the drill.
const UNNOTED_SECONDS_MAX: i64 = 10;
/// How often a key version that is deleted, and may come back, is asked for again.
const DELETED_ASKED_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The status of what is not there.
const NOT_FOUND: u16 = 404;

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
    /// Before when the key is not asked for again: it is deleted, and may come back.
    #[serde(default)]
    not_before: Option<Timestamp>,
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
        let mut intent =
            Intent { operation, key: key.clone(), begun, disabled: None, not_before: None };
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

    fn intent(&self, operation: OperationId) -> Result<Option<Intent>, Refusal> {
        let found = self.records.setting(&setting_of(operation));
        let found = found.map_err(|error| fault::of_store(&error))?;
        let read = found.map(Intent::deserialize).transpose();
        read.map_err(|error| Refusal::bug(error.to_string()))
    }

    /// Enables what the drill of this operation disabled. Says whether there was anything to do.
    pub(crate) fn enable_after_drill(&self, operation: OperationId) -> Result<bool, Refusal> {
        let Some(intent) = self.intent(operation)? else { return Ok(false) };
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
        if self.intent(operation)?.is_some_and(|intent| {
            intent.not_before.is_some_and(|not_before| self.clock.now() < not_before)
        }) {
            return Ok(());
        }
        match self.enable_after_drill(operation) {
            Err(refusal) if refusal.status == NOT_FOUND => self.end_without_key(operation, refusal),
            enabled => enabled.map(drop),
        }
    }

    /// Ends what a drill intended with a key version that is not there. One that is deleted may come
    /// back: its owner knows, and until then nothing is to be done. One that is gone for good is told
    /// once: as this problem, as an alert of the vault, and in a report of the drill.
    fn end_without_key(&self, operation: OperationId, problem: Refusal) -> Result<(), Refusal> {
        let Some(intent) = self.intent(operation)? else { return Ok(()) };
        if self.may_come_back(&intent)? {
            let not_before = self.clock.now().checked_add(DELETED_ASKED_EVERY).ok();
            return self.note(&Intent { not_before, ..intent });
        }
        let text = format!(
            "the key version {} that a drill disabled is gone for good and stays disabled: {}",
            intent.key, problem.message
        );
        let lost = Refusal::new(404, keks::AUTH_FAILURE, text);
        let tracked = self.records.operation(operation).map_err(|error| fault::of_store(&error))?;
        let tracked = tracked.map(|tracked| tracked.operation);
        let report = self.report_of_loss(&intent, tracked.as_ref(), &lost)?;
        let noted = self.records.set_setting(&format!("{REPORT}{operation}"), &report);
        noted.map_err(|error| fault::of_store(&error))?;
        let vault = tracked.and_then(|operation| Vault::around(&operation.resource));
        if let Some(vault) = vault {
            self.note_key_finding(&vault, Some(&fault::advised(lost.clone())), Finding::Probe)?;
        }
        self.forget_intent(operation)?;
        Err(lost)
    }

    /// The report of a drill whose job could not write one: what it left undone, and why.
    fn report_of_loss(
        &self,
        intent: &Intent,
        operation: Option<&Operation>,
        lost: &Refusal,
    ) -> Result<Value, Refusal> {
        let administrator = self.administrator();
        let mut protocol = Protocol::new(&self.clock);
        protocol.step(ENABLED_AGAIN, || Err::<((), Value), _>(lost.clone()));
        let subject = Subject {
            caller: operation.map_or(&administrator, |operation| &operation.caller),
            operation: Some(intent.operation),
            key: intent.key.to_string(),
            live: true,
            begun: intent.begun,
            before: head(self)?,
        };
        let vault = operation.and_then(|operation| Vault::around(&operation.resource));
        let found = json!({
            "vault": vault,
            "steps": protocol.to_json(),
            "passed": false,
            "verdict": format!("the drill failed: {}", lost.message),
        });
        seal(self, &subject, found)
    }

    /// The report of a drill whose end came after its job's.
    pub fn late_drill_report(&self, operation: OperationId) -> Result<Option<Value>, Refusal> {
        let found = self.records.setting(&format!("{REPORT}{operation}"));
        found.map_err(|error| fault::of_store(&error))
    }

    /// Whether the key or its key vault is deleted only softly.
    fn may_come_back(&self, intent: &Intent) -> Result<bool, Refusal> {
        let key = &intent.key;
        let Some(facts) = self.key_holder(&key.versionless())? else {
            return self.look(|world| Ok(world.claimant(&key_vault_claim(&key.vault))?.is_some()));
        };
        let (platform, context) =
            (principal_of(&self.administrator()), self.drill_context(intent)?);
        let deleted = KeyOperation::GetDeleted { name: &key.key };
        match self.key_vaults.perform_managed(&platform, &facts.vault, &deleted, &context) {
            Ok(_) => Ok(true),
            Err(error) if error.answer().status == NOT_FOUND => Ok(false),
            Err(error) => Err(fault::of_key_vault(&error)),
        }
    }

    /// How the platform speaks to key vaults for a drill.
    fn drill_context(&self, intent: &Intent) -> Result<RequestContext, Refusal> {
        let correlation = self.mint_correlation()?;
        Ok(RequestContext {
            job: Some(intent.operation),
            purpose: Some(Purpose::Drill),
            trusted: true,
            ..RequestContext::begun(self.clock.as_ref(), correlation)
        })
    }

    fn enable(&self, intent: &Intent) -> Result<bool, Refusal> {
        let key = &intent.key;
        let facts = self.holder_of(key)?;
        let context = self.drill_context(intent)?;
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
    let since = changed - intent.begun.as_second();
    let by_drill = intent.disabled.map_or_else(
        || (0..=UNNOTED_SECONDS_MAX).contains(&since),
        |noted| noted.as_second() == changed,
    );
    !found.attributes.enabled && by_drill
}
