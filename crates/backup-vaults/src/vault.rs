//! `Microsoft.DataProtection/backupVaults`.

use custody_ambient::Timestamp;
use custody_names::{KeyVersionUri, VaultGuid};
use custody_resources::{
    Act, Action, Answers, Change, Identity, Kind, Place, Plan, ProvisioningState, Reference,
    Refusal, Removal, Request, Stop, Stored, Target, Task, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::encryption::{ApplyEncryption, EncryptionSettings};
use crate::rules;

/// Type of the items in a vault; a vault that holds any is not deleted.
const ITEM_TYPE: &str = "Microsoft.DataProtection/backupVaults/backupInstances";

/// The kind of Backup vaults.
pub struct BackupVault;

/// Security settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecuritySettings {
    /// Which key protects the vault; absent in a PUT keeps what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_settings: Option<EncryptionSettings>,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_delete_settings: Option<Value>,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutability_settings: Option<Value>,
}

/// Where a vault's repository lies. custody's own; absent, it lies in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// An absolute folder on this machine.
    pub path: String,
}

/// What a client may write of a vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultSpec {
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_settings: Option<Value>,
    /// Security settings.
    pub security_settings: SecuritySettings,
    /// Where the repository lies; fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
}

/// One generation of data keys and what wraps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSummary {
    /// Its number.
    pub generation: u32,
    /// The key versions that wrap it.
    pub wraps: Vec<KeyVersionUri>,
}

/// What the ring in force holds, so that "which key version wraps what" needs no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringSummary {
    /// The ring's number.
    pub number: u64,
    /// SHA-256 of the ring's bytes, hexadecimal: the head the repository must show.
    pub hash: String,
    /// The generations, oldest first.
    pub generations: Vec<GenerationSummary>,
}

/// What only the server writes of a vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultStatus {
    /// The vault as its cryptography knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_guid: Option<VaultGuid>,
    /// What protects the vault now; `None` is the platform-managed key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<EncryptionSettings>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Timestamp>,
    /// The ring in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<KeyringSummary>,
    /// The ring in force itself, base64: the record store's copy (DESIGN §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// The repository's fingerprint, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The last seen head of the repository's log: number and SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_head: Option<(u64, String)>,
    /// Where the repository lies, if a store was named; otherwise it lies in the data folder,
    /// wherever that is moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_place: Option<String>,
    /// Why the last update of the encryption settings failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

/// The `properties` that clients see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VaultView<'a> {
    #[serde(flatten)]
    spec: VaultSpec,
    vault_guid: Option<VaultGuid>,
    keyring: Option<&'a KeyringSummary>,
    fingerprint: Option<&'a str>,
    encryption_error: Option<&'a Refusal>,
}

impl Kind for BackupVault {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    const TAKES_IDENTITY: bool = true;
    const ANSWERS: Answers = Answers { created: 201, replaced: 200, deleted: 202 };
    const ACTIONS: &'static [Action] = &[
        Action { name: "verify", permission: "verify/action" },
        Action { name: "prune", permission: "prune/action" },
        Action { name: "rewrap", permission: "rewrap/action" },
        Action { name: "repair", permission: "repair/action" },
    ];

    type Spec = VaultSpec;
    type Status = VaultStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let before = change.before;
        let mut spec = change.spec.clone();
        let status = before.map(|stored| stored.status.clone()).unwrap_or_default();
        rules::store_place_is_fixed(before.map(|stored| &stored.spec), &mut spec)?;
        let stored =
            before.and_then(|stored| stored.spec.security_settings.encryption_settings.as_ref());
        let asked = spec.security_settings.encryption_settings.take();
        let wanted = rules::wanted_encryption(asked, stored, status.applied.as_ref())?;
        rules::check_change(wanted.as_ref(), &status, change.identity, before.is_none())?;
        spec.security_settings.encryption_settings.clone_from(&wanted);
        let create = status.vault_guid.is_none();
        let failed = before.is_some_and(|s| s.record.state == ProvisioningState::Failed);
        let same = wanted == status.applied;
        let asked_again = change.request.body.pointer(ENCRYPTION_POINTER).is_some();
        let mut plan = Plan::done(spec, status);
        if create || failed || !same || (asked_again && wanted.is_some()) {
            plan.task = Some(apply(ApplyEncryption { wanted, create }));
        }
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let items = world.children(&current.record.id, ITEM_TYPE)?;
        if let Some(first) = items.first() {
            let text = format!(
                "{} still protects {} item(s), the first is {}",
                current.record.id,
                items.len(),
                first.id.name().unwrap_or_default()
            );
            return Err(Refusal::new(409, "VaultHoldsItems", text)
                .with_fix("custody backup item delete ITEM --yes for each of them first")
                .into());
        }
        let task = Task { name: crate::TASK_DELETE_VAULT.into(), input: Value::Null };
        Ok(Removal { task: Some(task), writes: Vec::new() })
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        rules::vault_is_usable(current)?;
        let task = match action {
            "verify" => Task { name: crate::TASK_VERIFY.into(), input: request.body.clone() },
            "prune" => Task { name: crate::TASK_PRUNE.into(), input: request.body.clone() },
            "repair" => Task { name: crate::TASK_REPAIR.into(), input: request.body.clone() },
            _ => apply(ApplyEncryption { wanted: current.status.applied.clone(), create: false }),
        };
        Ok(Act { task: Some(task), ..Act::default() })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let status = &stored.status;
        let mut spec = stored.spec.clone();
        // While an update runs, clients see what is in force, not what is asked for.
        if stored.record.state == ProvisioningState::Updating && status.applied.is_some() {
            spec.security_settings.encryption_settings.clone_from(&status.applied);
        }
        spec.store = status.store_place.clone().map(|path| Store { path });
        let view = VaultView {
            spec,
            vault_guid: status.vault_guid,
            keyring: status.keyring.as_ref(),
            fingerprint: status.fingerprint.as_deref(),
            encryption_error: status.error.as_ref(),
        };
        serde_json::to_value(view).map_err(|error| Refusal::bug(error.to_string()))
    }

    fn references(
        spec: &VaultSpec,
        status: &VaultStatus,
        identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let mut all = Vec::new();
        let wanted = spec.security_settings.encryption_settings.as_ref();
        for settings in wanted.into_iter().chain(&status.applied) {
            if let Some(key) = settings.key() {
                all.push(Reference::new("encryptedBy", Target::key(key)));
            }
        }
        for generation in status.keyring.iter().flat_map(|ring| &ring.generations) {
            for version in &generation.wraps {
                all.push(Reference::new("encryptedBy", Target::key(&version.versionless())));
                all.push(Reference::new("wrappedBy", Target::KeyVersion(version.to_string())));
            }
        }
        for attached in identity.iter().flat_map(|identity| &identity.user_assigned) {
            all.push(Reference::new("usesIdentity", Target::resource(&attached.id)));
        }
        all.sort_by(|one, two| (&one.relation, &one.to).cmp(&(&two.relation, &two.to)));
        all.dedup();
        all
    }
}

/// Where encryption settings stand in a request's body.
const ENCRYPTION_POINTER: &str = "/properties/securitySettings/encryptionSettings";

fn apply(input: ApplyEncryption) -> Task {
    Task { name: crate::TASK_APPLY_ENCRYPTION.into(), input: json!(input) }
}
