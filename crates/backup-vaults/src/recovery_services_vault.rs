//! `Microsoft.RecoveryServices/vaults`.

use custody_names::{ResourceId, VaultGuid};
use custody_resources::{
    Act, Action, Answers, Change, Hosts, Identity, Kind, Place, Plan, ProvisioningState, Reference,
    Refusal, Removal, Request, Stop, Stored, SystemData, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::backup_policy::default_policy;
use crate::change::{Asked, EncryptionChange, dress_keys};
use crate::drill;
use crate::encryption::{
    EncryptionSettings, EncryptionState, Failover, IdentityType, InfrastructureEncryption,
    KekIdentity, KeyVaultProperties,
};
use crate::key_alert::KeyAlert;
use crate::rules;
use crate::soft_delete;
use crate::status::VaultStatus;
use crate::vault::{self, Store};

/// Where encryption settings stand in a request's body.
pub(crate) const ENCRYPTION_POINTER: &str = "/properties/encryption";

/// The kind of Recovery Services vaults.
pub struct RecoveryServicesVault;

/// Which identity speaks to the key vault, as this kind of vault names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CmkKekIdentity {
    /// The vault's own.
    pub use_system_assigned_identity: Option<bool>,
    /// An attached one.
    pub user_assigned_identity: Option<ResourceId>,
}

/// Encryption settings as this kind of vault names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultEncryption {
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_vault_properties: Option<KeyVaultProperties>,
    /// Who speaks to the key vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_identity: Option<CmkKekIdentity>,
    /// The second layer.
    pub infrastructure_encryption: InfrastructureEncryption,
    /// A second key. custody's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby_key_properties: Option<KeyVaultProperties>,
    /// What a refusal of one of the two means. custody's own.
    #[serde(skip_serializing_if = "Failover::is_usual")]
    pub failover: Failover,
}

impl TryFrom<VaultEncryption> for EncryptionSettings {
    type Error = Refusal;

    fn try_from(asked: VaultEncryption) -> Result<Self, Refusal> {
        let identity = asked.kek_identity.map(kek_identity).transpose()?;
        Ok(Self {
            state: EncryptionState::Enabled,
            key_vault_properties: asked.key_vault_properties,
            kek_identity: identity,
            infrastructure_encryption: asked.infrastructure_encryption,
            standby_key_properties: asked.standby_key_properties,
            failover: asked.failover,
        })
    }
}

impl From<EncryptionSettings> for VaultEncryption {
    fn from(settings: EncryptionSettings) -> Self {
        let identity = settings.kek_identity.map(|identity| CmkKekIdentity {
            use_system_assigned_identity: Some(
                identity.identity_type == IdentityType::SystemAssigned,
            ),
            user_assigned_identity: identity.identity_id,
        });
        Self {
            key_vault_properties: settings.key_vault_properties,
            kek_identity: identity,
            infrastructure_encryption: settings.infrastructure_encryption,
            standby_key_properties: settings.standby_key_properties,
            failover: settings.failover,
        }
    }
}

fn kek_identity(named: CmkKekIdentity) -> Result<KekIdentity, Refusal> {
    let own = named.use_system_assigned_identity;
    let (identity_type, identity_id) = match (own, named.user_assigned_identity) {
        (Some(true), None) => (IdentityType::SystemAssigned, None),
        (None | Some(false), Some(id)) => (IdentityType::UserAssigned, Some(id)),
        (Some(true), Some(_)) | (None | Some(false), None) => {
            let text = "cmkIdentity parameter is invalid: name either userAssignedIdentity or \
                        useSystemAssignedIdentity";
            return Err(Refusal::new(400, "InvalidRestApiParameter", text));
        }
    };
    Ok(KekIdentity { identity_type, identity_id })
}

/// What a client may write of a vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecoveryServicesSpec {
    /// Which key protects the vault; absent in a PUT keeps what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<VaultEncryption>,
    /// Where the repository lies; fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Beside the properties in what clients read and write: `{"name": "Standard"}`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub sku: Value,
    /// What decides nothing here, kept as the client wrote it: `securitySettings`,
    /// `monitoringSettings`, `redundancySettings` and so on.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl RecoveryServicesSpec {
    /// Whether and for how long the vault can be brought back once it is deleted.
    pub(crate) fn soft_delete_settings(&self) -> Option<&Value> {
        self.settings.get(SECURITY)?.get("softDeleteSettings")
    }
}

impl Kind for RecoveryServicesVault {
    const TYPE: &'static str = "Microsoft.RecoveryServices/vaults";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    const TAKES_IDENTITY: bool = true;
    const ANSWERS: Answers = Answers { patching: 202, deleted: 202, ..Answers::USUAL };
    const ACTIONS: &'static [Action] = &[
        vault::VERIFY,
        vault::PRUNE,
        vault::REWRAP,
        vault::REPAIR,
        vault::CHECK_ENCRYPTION,
        vault::PROBE_KEY,
        vault::DRILL_REVOKE,
    ];

    type Spec = RecoveryServicesSpec;
    type Status = VaultStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let before = change.before;
        let status = before.map(|stored| stored.status.clone()).unwrap_or_default();
        let place = before.map(|stored| &stored.spec.store);
        let shown = before.and_then(|stored| stored.spec.encryption.as_ref());
        let stored = shown.cloned().map(EncryptionSettings::try_from).transpose()?;
        let asked = Asked::read(change.request, ENCRYPTION_POINTER, shown)?;
        let encryption = EncryptionChange {
            asked: asked.try_map(EncryptionSettings::try_from)?,
            stored: stored.as_ref(),
            status: &status,
            identity: change.identity,
            state: before.map(|stored| stored.record.state),
        };
        let (wanted, task) = encryption.plan(rules::check_recovery_services_vault)?;
        let mut spec = change.spec.clone();
        spec.store = rules::store_place_is_fixed(place, spec.store)?;
        spec.encryption = wanted.map(VaultEncryption::from);
        spec.sku = sku(change.request, before);
        spec.settings.retain(|name, _| !SERVER_FIELDS.contains(&name.as_str()));
        if let Some(Value::Object(security)) = spec.settings.get_mut(SECURITY) {
            security.remove(MULTI_USER);
        }
        let known = before.and_then(|stored| stored.spec.soft_delete_settings());
        let wanted = spec.soft_delete_settings().cloned();
        let wanted = soft_delete::RECOVERY_SERVICES.settle(wanted, known)?;
        soft_delete::put_below_security(&mut spec.settings, wanted);
        let request = change.request;
        let system = SystemData::new(&request.caller.name, request.now);
        let policy = before.is_none().then(|| default_policy(&request.id, system)).transpose()?;
        Ok(Plan { task, writes: policy.into_iter().collect(), ..Plan::done(spec, status) })
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
        if action == vault::PROBE_KEY.name {
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
        spec.sku = Value::Null;
        spec.encryption = in_sight(stored).map(VaultEncryption::from);
        spec.store = status.store_place.clone().map(|path| Store { path });
        show_guard(&mut spec.settings, status.is_guarded);
        let view = RecoveryServicesView {
            spec,
            private_endpoint_state_for_backup: "None",
            private_endpoint_state_for_site_recovery: "None",
            vault_guid: status.vault_guid,
            keyring: status.shown_keyring(),
            fingerprint: status.fingerprint.as_deref(),
            encryption_error: status.error.as_ref(),
            key_alerts: &status.key_alerts,
        };
        serde_json::to_value(view).map_err(|error| Refusal::bug(error.to_string()))
    }

    fn dress(stored: &Stored<Self>, request: &Request<'_>, body: &mut Map<String, Value>) {
        body.insert("sku".into(), stored.spec.sku.clone());
        let place = body.get_mut("properties");
        let place = place.and_then(|properties| properties.pointer_mut("/encryption"));
        dress_keys(in_sight(stored).as_ref(), request, place);
    }

    fn references(
        spec: &RecoveryServicesSpec,
        status: &VaultStatus,
        identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let wanted = spec.encryption.clone().map(EncryptionSettings::try_from);
        status.references(wanted.and_then(Result::ok).as_ref(), identity)
    }
}

/// The settings that clients see: while an update runs those in force, not those asked for.
fn in_sight(stored: &Stored<RecoveryServicesVault>) -> Option<EncryptionSettings> {
    if stored.record.state == ProvisioningState::Updating {
        return stored.status.applied.clone();
    }
    stored.spec.encryption.clone().and_then(|asked| asked.try_into().ok())
}

/// Fields that clients send back as they read them, and that only the server writes.
const SERVER_FIELDS: [&str; 9] = [
    "provisioningState",
    "privateEndpointStateForBackup",
    "privateEndpointStateForSiteRecovery",
    "vaultGuid",
    "keyring",
    "fingerprint",
    "encryptionError",
    "keyAlerts",
    // What a guard was asked, which is no property of the vault.
    "resourceGuardOperationRequests",
];

/// The settings of its security, and in them whether a resource guard protects it: only the server
/// writes that.
const SECURITY: &str = "securitySettings";
const MULTI_USER: &str = "multiUserAuthorization";

fn show_guard(settings: &mut Map<String, Value>, is_guarded: bool) {
    let security = settings.entry(SECURITY).or_insert_with(|| json!({}));
    if let Some(security) = security.as_object_mut() {
        let word = if is_guarded { "Enabled" } else { "Disabled" };
        security.insert(MULTI_USER.to_owned(), word.into());
    }
}

/// The `properties` that clients see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecoveryServicesView<'a> {
    #[serde(flatten)]
    spec: RecoveryServicesSpec,
    private_endpoint_state_for_backup: &'static str,
    private_endpoint_state_for_site_recovery: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_guid: Option<VaultGuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyring: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_error: Option<&'a Refusal>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    key_alerts: &'a [KeyAlert],
}

fn sku(request: &Request<'_>, before: Option<&Stored<RecoveryServicesVault>>) -> Value {
    let asked = request.body.get("sku").filter(|sku| sku.is_object()).cloned();
    let stored = before.map(|stored| stored.spec.sku.clone());
    asked.or(stored).unwrap_or_else(|| json!({ "name": "Standard" }))
}

/// The encryption of a vault as `backupEncryptionConfigs/backupResourceEncryptionConfig` shows it
/// (rules 71–73, 127).
pub fn encryption_config(stored: &Stored<RecoveryServicesVault>, hosts: &Hosts) -> Value {
    let status = &stored.status;
    let updating = stored.record.state == ProvisioningState::Updating;
    let asked = stored.spec.encryption.is_some();
    let last = match (&status.applied, &status.error) {
        (None, _) if updating && asked => "FirstInitialization",
        (Some(_), _) if updating => "Initialized",
        // The key is in force; what follows its change is not all done (rule 70).
        _ if status.is_inconsistent => "PartiallySucceeded",
        (_, Some(_)) => "Failed",
        (None, None) => "NotEnabled",
        (Some(_), None) => "Succeeded",
    };
    let key =
        status.applied.as_ref().and_then(EncryptionSettings::key).map(|key| hosts.key_uri(key));
    let identity = status.applied.as_ref().and_then(|applied| applied.kek_identity.as_ref());
    let own =
        identity.is_none_or(|identity| identity.identity_type == IdentityType::SystemAssigned);
    let layer = status.applied.as_ref().map(|applied| applied.infrastructure_encryption);
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    if let Some(id) = identity.and_then(|identity| identity.identity_id.as_ref()) {
        put("userAssignedIdentity", json!(id));
    }
    put("useSystemAssignedIdentity", own.into());
    put(
        "encryptionAtRestType",
        if key.is_some() { "CustomerManaged" } else { "MicrosoftManaged" }.into(),
    );
    if let Some(key) = key {
        put("keyUri", key.into());
        put("subscriptionId", "".into());
    }
    put("lastUpdateStatus", last.into());
    put("infrastructureEncryptionState", json!(layer.unwrap_or_default()));
    json!({
        "id": format!("{}/backupEncryptionConfigs/{ENCRYPTION_CONFIG}", stored.record.id),
        "name": ENCRYPTION_CONFIG,
        "type": format!("{}/backupEncryptionConfigs", RecoveryServicesVault::TYPE),
        "properties": Value::Object(shown),
    })
}

/// The name of the one encryption configuration that a vault has.
pub const ENCRYPTION_CONFIG: &str = "backupResourceEncryptionConfig";
