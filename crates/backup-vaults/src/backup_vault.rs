//! `Microsoft.DataProtection/backupVaults`.

use custody_names::VaultGuid;
use custody_resources::{
    Act, Action, Answers, Change, Identity, Kind, Place, Plan, ProvisioningState, Reference,
    Refusal, Removal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::change::{Asked, EncryptionChange, dress_keys};
use crate::drill;
use crate::encryption::EncryptionSettings;
use crate::key_alert::KeyAlert;
use crate::rules;
use crate::soft_delete;
use crate::status::VaultStatus;
use crate::vault::{self, Store};

/// Azure's verb to ask whether something could be protected.
const VALIDATE: &str = "validateForBackup";
const ACTIONS: &[Action] = &[
    vault::VERIFY,
    vault::PRUNE,
    vault::REWRAP,
    vault::REPAIR,
    vault::CHECK_ENCRYPTION,
    vault::PROBE_KEY,
    vault::DRILL_REVOKE,
    Action { name: VALIDATE, permission: "validateForBackup/action" },
];

/// The kind of Backup vaults.
pub struct BackupVault;

/// Security settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecuritySettings {
    /// Which key protects the vault; absent in a PUT keeps what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_settings: Option<EncryptionSettings>,
    /// Whether and for how long the vault can be brought back once it is deleted; absent in a PUT
    /// keeps what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_delete_settings: Option<Value>,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutability_settings: Option<Value>,
}

/// What a client may write of a vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupVaultSpec {
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_settings: Option<Value>,
    /// Security settings.
    pub security_settings: SecuritySettings,
    /// Where the repository lies; fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
}

/// The `properties` that clients see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupVaultView<'a> {
    #[serde(flatten)]
    spec: BackupVaultSpec,
    vault_guid: Option<VaultGuid>,
    keyring: Option<Value>,
    fingerprint: Option<&'a str>,
    encryption_error: Option<&'a Refusal>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    key_alerts: &'a [KeyAlert],
    is_vault_protected_by_resource_guard: bool,
}

impl Kind for BackupVault {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    const TAKES_IDENTITY: bool = true;
    const ANSWERS: Answers = Answers { deleted: 202, ..Answers::USUAL };
    const ACTIONS: &'static [Action] = ACTIONS;

    type Spec = BackupVaultSpec;
    type Status = VaultStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let before = change.before;
        let status = before.map(|stored| stored.status.clone()).unwrap_or_default();
        let place = before.map(|stored| &stored.spec.store);
        let stored =
            before.and_then(|stored| stored.spec.security_settings.encryption_settings.as_ref());
        let encryption = EncryptionChange {
            asked: Asked::read(change.request, ENCRYPTION_POINTER, stored)?,
            stored,
            status: &status,
            identity: change.identity,
            state: before.map(|stored| stored.record.state),
        };
        let (wanted, task) = encryption.plan(rules::check_backup_vault)?;
        let mut spec = change.spec.clone();
        spec.store = rules::store_place_is_fixed(place, spec.store)?;
        spec.security_settings.encryption_settings = wanted;
        let security = before.map(|stored| &stored.spec.security_settings);
        let soft_delete = security.and_then(|security| security.soft_delete_settings.as_ref());
        spec.security_settings.soft_delete_settings =
            soft_delete::BACKUP.settle(spec.security_settings.soft_delete_settings, soft_delete)?;
        Ok(Plan { task, ..Plan::done(spec, status) })
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        vault::plan_delete(&current.record.id, world)
    }

    fn plan_move(current: &Stored<Self>) -> Result<(), Refusal> {
        rules::only_platform_key_moves(&current.record, &current.status)
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        if action == vault::CHECK_ENCRYPTION.name {
            // Whoever speaks to key vaults looks; a vault without a key may ask as well.
            return Ok(Act::default());
        }
        rules::vault_is_usable(&current.record, &current.status)?;
        if action == VALIDATE || action == vault::PROBE_KEY.name {
            // What the vault itself must be is said; the worker looks at folders and keys.
            return Ok(Act::default());
        }
        if action == vault::DRILL_REVOKE.name {
            return Ok(drill::act(&current.record, &current.status, request)?);
        }
        Ok(vault::act(action, &current.status, request))
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let status = &stored.status;
        let mut spec = stored.spec.clone();
        spec.security_settings.encryption_settings = in_sight(stored).cloned();
        spec.store = status.store_place.clone().map(|path| Store { path });
        let view = BackupVaultView {
            spec,
            vault_guid: status.vault_guid,
            keyring: status.shown_keyring(),
            fingerprint: status.fingerprint.as_deref(),
            encryption_error: status.error.as_ref(),
            key_alerts: &status.key_alerts,
            is_vault_protected_by_resource_guard: status.is_guarded,
        };
        serde_json::to_value(view).map_err(|error| Refusal::bug(error.to_string()))
    }

    fn dress(stored: &Stored<Self>, request: &Request<'_>, body: &mut Map<String, Value>) {
        let mut settings = body
            .get_mut("properties")
            .and_then(|properties| properties.pointer_mut("/securitySettings/encryptionSettings"));
        dress_keys(in_sight(stored), request, settings.as_deref_mut());
        let updating = stored.record.state == ProvisioningState::Updating;
        let state = settings.and_then(|settings| settings.get_mut("state"));
        if let (true, Some(state)) = (stored.status.is_inconsistent && !updating, state) {
            *state = "Inconsistent".into();
        }
    }

    fn references(
        spec: &BackupVaultSpec,
        status: &VaultStatus,
        identity: Option<&Identity>,
    ) -> Vec<Reference> {
        status.references(spec.security_settings.encryption_settings.as_ref(), identity)
    }
}

/// The settings that clients see: while an update runs those in force, not those asked for.
fn in_sight(stored: &Stored<BackupVault>) -> Option<&EncryptionSettings> {
    let applied = stored.status.applied.as_ref();
    let updating = stored.record.state == ProvisioningState::Updating;
    applied.filter(|_| updating).or(stored.spec.security_settings.encryption_settings.as_ref())
}

/// Where encryption settings stand in a request's body.
pub(crate) const ENCRYPTION_POINTER: &str = "/properties/securitySettings/encryptionSettings";
