//! Key vaults as ARM resources: `Microsoft.KeyVault/vaults`.
//!
//! The record says which key vaults there are and how they decide; the keys themselves lie in
//! `keys.db`. A name is claimed over all tenants and stays claimed while the key vault is deleted
//! softly (`deleted_vault_kind`).

use custody_access::PermissionModel;
use custody_names::{KeyVaultName, ResourceId, TenantId};
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, Task, World,
    Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::deleted_vault_kind::{self, KeyHolder};
use crate::vault_network::{NetworkAcls, NetworkRules, PublicNetworkAccess};
use crate::vault_policies::{PolicyChange, PolicyEntry, change_policies};
use crate::vault_rules::{self, SOFT_DELETE_DAYS_DEFAULT};
use crate::{KeyVaultRef, PurgeKeyVault, Strictness};

/// A key vault.
pub struct KeyVaultKind;

/// What a client may write of a key vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyVaultSpec {
    /// The tenant whose principals use it: the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// What it would cost.
    pub sku: Sku,
    /// Who may do what with its keys, where it decides by access policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_policies: Option<Vec<PolicyEntry>>,
    /// Whether it decides by role assignments; access policies are ignored then (rule 47).
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enable_rbac_authorization: Option<bool>,
    /// Whether what is deleted can be recovered for a while. Never off again once on.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enable_soft_delete: Option<bool>,
    /// For how long, in days (7–90); fixed when it is created.
    #[serde(
        deserialize_with = "custody_resources::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub soft_delete_retention_in_days: Option<u32>,
    /// Whether nothing may be purged before that time (rule 125). Never off again once on.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enable_purge_protection: Option<bool>,
    /// Kept and shown: whether virtual machines may take certificates.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enabled_for_deployment: Option<bool>,
    /// Kept and shown: whether disk encryption may take secrets.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enabled_for_disk_encryption: Option<bool>,
    /// Kept and shown: whether deployments may take secrets.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enabled_for_template_deployment: Option<bool>,
    /// From where its keys may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_acls: Option<NetworkAcls>,
    /// Whether anybody but trusted services may use them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_network_access: Option<PublicNetworkAccess>,
    /// Whether a PUT makes a new key vault or brings a deleted one back. Never stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_mode: Option<CreateMode>,
}

/// What only the server writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyVaultStatus {
    /// Where its keys are spoken to, with a slash at the end.
    pub vault_uri: String,
}

/// The price tier; there is no difference here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sku {
    /// Always `A`.
    pub family: String,
    /// Standard or premium.
    pub name: SkuName,
}

impl Default for Sku {
    fn default() -> Self {
        Self { family: "A".to_owned(), name: SkuName::Standard }
    }
}

/// The names of price tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkuName {
    /// Keys in software.
    #[default]
    #[serde(alias = "Standard")]
    Standard,
    /// Keys in hardware where there is any.
    #[serde(alias = "Premium")]
    Premium,
}

/// What a PUT is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CreateMode {
    /// To create or change.
    #[serde(alias = "Default")]
    Default,
    /// To bring a softly deleted key vault back.
    #[serde(alias = "Recover")]
    Recover,
}

impl KeyVaultSpec {
    /// How the key vault decides who may use its keys. A policy for a principal through one
    /// application grants nothing to the principal alone.
    pub fn permission_model(&self) -> PermissionModel {
        if self.enable_rbac_authorization == Some(true) {
            return PermissionModel::Rbac;
        }
        let entries = self.access_policies.iter().flatten();
        PermissionModel::AccessPolicies(entries.filter_map(PolicyEntry::grant).collect())
    }

    /// Whether deletion can be undone.
    pub fn soft_delete(&self) -> bool {
        self.enable_soft_delete != Some(false)
    }

    /// Whether purging is refused while it can.
    pub fn purge_protection(&self) -> bool {
        self.enable_purge_protection == Some(true)
    }

    /// For how many days what is deleted can be recovered.
    pub fn soft_delete_days(&self) -> u32 {
        self.soft_delete_retention_in_days.unwrap_or(SOFT_DELETE_DAYS_DEFAULT)
    }
}

/// The claim that holds a key vault's name.
pub fn key_vault_claim(name: &KeyVaultName) -> String {
    format!("key-vault-name:{}", name.as_str().to_ascii_lowercase())
}

/// The key vault as the key store takes it.
pub fn key_vault_ref(stored: &Stored<KeyVaultKind>) -> Result<KeyVaultRef, Refusal> {
    let unknown = || Refusal::bug(format!("{} has no tenant", stored.record.id));
    let location = stored.record.location.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(KeyVaultRef {
        tenant: stored.spec.tenant_id.ok_or_else(unknown)?,
        vault: vault_rules::name(&stored.record.id)?,
        resource: stored.record.id.clone(),
        soft_delete: stored.spec.soft_delete(),
        soft_delete_days: stored.spec.soft_delete_days(),
        purge_protection: stored.spec.purge_protection(),
        managed_hsm: false,
        geography: location.clone(),
        location,
        strictness: Strictness::of_tags(&stored.record.tags),
        network: NetworkRules::new(
            stored.spec.network_acls.as_ref(),
            stored.spec.public_network_access,
        ),
    })
}

impl KeyHolder for KeyVaultKind {
    const DELETED: &'static str = "Microsoft.KeyVault/locations/deletedVaults";
    const DELETED_ID: &'static str = "vaultId";

    fn vault_ref(stored: &Stored<Self>) -> Result<KeyVaultRef, Refusal> {
        key_vault_ref(stored)
    }
}

impl Kind for KeyVaultKind {
    const TYPE: &'static str = "Microsoft.KeyVault/vaults";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    const ACTIONS: &'static [Action] = &[
        Action { name: "accessPolicies/add", permission: "accessPolicies/write" },
        Action { name: "accessPolicies/replace", permission: "accessPolicies/write" },
        Action { name: "accessPolicies/remove", permission: "accessPolicies/write" },
    ];

    type Spec = KeyVaultSpec;
    type Status = KeyVaultStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let name = vault_rules::name(&change.request.id)?;
        let recover = change.spec.create_mode == Some(CreateMode::Recover);
        match change.before {
            Some(stored) if recover => Ok(Plan::done(stored.spec.clone(), stored.status.clone())),
            Some(stored) => update(&change, stored),
            None if recover => {
                let deleted = deleted_vault_kind::recoverable(&change, &name, world)?;
                deleted_vault_kind::recovered(deleted, world)
            }
            None => create(&change, &name, world),
        }
    }

    /// Softly: a record of the deleted key vault takes its place, and its name. What stands below
    /// it, role assignments too, goes and does not come back when it is recovered, as in Azure; its
    /// diagnostic settings do, as there.
    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let mut writes = vec![Write::RaiseRevocation];
        if current.spec.soft_delete() {
            writes.push(deleted_vault_kind::deleted(current, Vec::new(), request, world)?);
            return Ok(Removal { task: None, writes });
        }
        let task = purge_task(current.spec.tenant_id, &vault_rules::name(&current.record.id)?)?;
        Ok(Removal { task: Some(task), writes })
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        let verb = PolicyChange::parse(action)
            .ok_or_else(|| Refusal::bug(format!("{action} on a key vault has no plan")))?;
        let asked = request.body.pointer("/properties/accessPolicies").cloned();
        let asked: Vec<PolicyEntry> = serde_json::from_value(asked.unwrap_or_else(|| json!([])))
            .map_err(|error| Refusal::bad_request(format!("properties.accessPolicies: {error}")))?;
        let mut changed = current.clone();
        let policies = changed.spec.access_policies.take().unwrap_or_default();
        let policies = change_policies(policies, verb, asked)?;
        let body = json!({
            "id": format!("{}/accessPolicies/", current.record.id),
            "type": "Microsoft.KeyVault/vaults/accessPolicies",
            "properties": { "accessPolicies": policies },
        });
        changed.spec.access_policies = Some(policies);
        changed.record.system = changed.record.system.changed_by(&request.caller, request.now);
        let writes = vec![changed.into_write()?, Write::RaiseRevocation];
        Ok(Act { status: 200, body: Some(body), writes, ..Act::default() })
    }

    /// Its address is the one that the caller reaches it by, whatever it was created through.
    fn dress(stored: &Stored<Self>, request: &Request<'_>, body: &mut Map<String, Value>) {
        let name = stored.record.id.name().unwrap_or_default().to_ascii_lowercase();
        let address = format!("https://{name}.{}/", request.hosts.key_vaults);
        if let Some(Value::Object(properties)) = body.get_mut("properties") {
            properties.insert("vaultUri".into(), address.into());
        }
    }

    fn claim(id: &ResourceId) -> Option<String> {
        vault_rules::name(id).ok().map(|name| key_vault_claim(&name))
    }
}

fn create(
    change: &Change<'_, KeyVaultKind>,
    name: &KeyVaultName,
    world: &World,
) -> Result<Plan<KeyVaultKind>, Stop> {
    if let Some(holder) = world.claimant(&key_vault_claim(name))? {
        return Err(vault_rules::name_taken(name, holder).into());
    }
    let spec = vault_rules::settle(change.spec.clone(), None, change.request)?;
    Ok(Plan::done(spec, KeyVaultStatus { vault_uri: format!("{}/", name.uri()) }))
}

fn update(
    change: &Change<'_, KeyVaultKind>,
    stored: &Stored<KeyVaultKind>,
) -> Result<Plan<KeyVaultKind>, Stop> {
    let spec = vault_rules::settle(change.spec.clone(), Some(&stored.spec), change.request)?;
    let revokes = spec.permission_model() != stored.spec.permission_model();
    let mut plan = Plan::done(spec, stored.status.clone());
    if revokes {
        plan.writes.push(Write::RaiseRevocation);
    }
    Ok(plan)
}

/// The task that erases a key vault's keys and then removes the record that the operation is on.
pub(crate) fn purge_task(
    tenant: Option<TenantId>,
    key_vault: &KeyVaultName,
) -> Result<Task, Refusal> {
    let tenant_id =
        tenant.ok_or_else(|| Refusal::bug(format!("the key vault {key_vault} has no tenant")))?;
    let input = PurgeKeyVault { tenant_id, key_vault: key_vault.clone() };
    let input = serde_json::to_value(input).map_err(|error| Refusal::bug(error.to_string()))?;
    Ok(Task { name: crate::TASK_PURGE_KEY_VAULT.to_owned(), input })
}
