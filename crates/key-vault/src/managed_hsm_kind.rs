//! Managed HSMs as ARM resources: `Microsoft.KeyVault/managedHSMs`.
//!
//! A managed HSM is a key vault with roles of its own, assigned within it, and with symmetric keys.
//! Of Azure's activation nothing is left to do here: the security domain is what the seal is, so a
//! managed HSM is active once it is created. Its name is one of the key vaults' names: a key's
//! canonical URI tells key vaults and managed HSMs apart by name alone.

use std::collections::BTreeSet;

use custody_names::{KeyVaultName, Location, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    Answers, Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored, World,
    Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::deleted_vault_kind::{self, KeyHolder};
use crate::local_role_kind::{administrators as administrators_of, appoint};
use crate::vault_kind::{CreateMode, key_vault_claim};
use crate::vault_network::{NetworkAcls, NetworkRules, PublicNetworkAccess};
use crate::vault_rules::{self, SOFT_DELETE_DAYS_DEFAULT, bad};
use crate::{KeyVaultRef, Strictness};

/// Most administrators that a new managed HSM is given.
const ADMINISTRATORS_MAX: usize = 1_000;

/// A managed HSM.
pub struct ManagedHsmKind;

/// What a client may write of a managed HSM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedHsmSpec {
    /// The tenant whose principals use it: the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// What it would cost; beside the properties on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<HsmSku>,
    /// Who administers it from the start; fixed when it is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_admin_object_ids: Option<Vec<PrincipalId>>,
    /// Always on.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enable_soft_delete: Option<bool>,
    /// For how long what is deleted can be recovered, in days (7–90); fixed when it is created.
    #[serde(
        deserialize_with = "custody_resources::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub soft_delete_retention_in_days: Option<u32>,
    /// Whether nothing may be purged before that time. Never off again once on.
    #[serde(deserialize_with = "custody_resources::flag", skip_serializing_if = "Option::is_none")]
    pub enable_purge_protection: Option<bool>,
    /// From where its keys may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_acls: Option<NetworkAcls>,
    /// Whether anybody but trusted services may use them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_network_access: Option<PublicNetworkAccess>,
    /// The regions that it reaches into: its own and no other. Never stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<HsmRegion>>,
    /// Whether a PUT makes a new one or brings a deleted one back. Never stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_mode: Option<CreateMode>,
}

/// The price tier; there is no difference here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmSku {
    /// `B` or `C`.
    pub family: String,
    /// `Standard_B1` for example.
    pub name: String,
}

/// A region of a managed HSM, as clients name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmRegion {
    /// Where it is.
    pub name: Location,
}

/// The regions of a managed HSM as clients see them: the one that it lies in.
pub fn managed_hsm_regions(record: &Record) -> Value {
    let own = record.location.iter();
    let shown = own.map(
        |location| json!({ "name": location, "provisioningState": "Succeeded", "isPrimary": true }),
    );
    Value::Array(shown.collect())
}

/// What only the server writes: nothing that is not said by the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedHsmStatus {}

impl KeyHolder for ManagedHsmKind {
    const DELETED: &'static str = "Microsoft.KeyVault/locations/deletedManagedHSMs";
    const DELETED_ID: &'static str = "mhsmId";

    fn vault_ref(stored: &Stored<Self>) -> Result<KeyVaultRef, Refusal> {
        managed_hsm_ref(stored)
    }
}

/// The managed HSM as the key store takes it.
pub fn managed_hsm_ref(stored: &Stored<ManagedHsmKind>) -> Result<KeyVaultRef, Refusal> {
    let unknown = || Refusal::bug(format!("{} has no tenant", stored.record.id));
    let location = stored.record.location.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(KeyVaultRef {
        tenant: stored.spec.tenant_id.ok_or_else(unknown)?,
        vault: vault_rules::name(&stored.record.id)?,
        resource: stored.record.id.clone(),
        soft_delete: true,
        soft_delete_days: stored.spec.soft_delete_days(),
        purge_protection: stored.spec.enable_purge_protection == Some(true),
        managed_hsm: true,
        geography: location.clone(),
        location,
        strictness: Strictness::of_tags(&stored.record.tags),
        network: NetworkRules::new(
            stored.spec.network_acls.as_ref(),
            stored.spec.public_network_access,
        ),
    })
}

impl ManagedHsmSpec {
    fn soft_delete_days(&self) -> u32 {
        self.soft_delete_retention_in_days.unwrap_or(SOFT_DELETE_DAYS_DEFAULT)
    }
}

impl Kind for ManagedHsmKind {
    const TYPE: &'static str = "Microsoft.KeyVault/managedHSMs";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    // The client takes no 201.
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = ManagedHsmSpec;
    type Status = ManagedHsmStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let name = vault_rules::name(&change.request.id)?;
        let recover = change.spec.create_mode == Some(CreateMode::Recover);
        match change.before {
            Some(stored) if recover => Ok(Plan::done(stored.spec.clone(), ManagedHsmStatus {})),
            Some(stored) => {
                Ok(Plan::done(settle(&change, Some(&stored.spec))?, ManagedHsmStatus {}))
            }
            None if recover => recovered(&change, &name, world),
            None => create(&change, &name, world),
        }
    }

    /// Softly, as a key vault: its local roles go with it, but for who administers it.
    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let administrators = administrators_of(&current.record.id, world)?;
        let deleted = deleted_vault_kind::deleted(current, administrators, request, world)?;
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation, deleted] })
    }

    fn dress(stored: &Stored<Self>, request: &Request<'_>, body: &mut Map<String, Value>) {
        let name = stored.record.id.name().unwrap_or_default().to_ascii_lowercase();
        body.insert("sku".into(), json!(stored.spec.sku));
        let Some(Value::Object(properties)) = body.get_mut("properties") else { return };
        properties.remove("sku");
        let address = format!("https://{name}.{}/", request.hosts.managed_hsms);
        properties.insert("hsmUri".into(), address.into());
        let ready = "The Managed HSM is provisioned and ready to use.";
        properties.insert("statusMessage".into(), ready.into());
        properties.insert("regions".into(), managed_hsm_regions(&stored.record));
        properties.insert("privateEndpointConnections".into(), json!([]));
        let active = json!({
            "activationStatus": "Active",
            "activationStatusMessage": "The security domain is kept by the platform's seal.",
        });
        properties.insert("securityDomainProperties".into(), active);
    }

    fn claim(id: &ResourceId) -> Option<String> {
        vault_rules::name(id).ok().map(|name| key_vault_claim(&name))
    }
}

fn create(
    change: &Change<'_, ManagedHsmKind>,
    name: &KeyVaultName,
    world: &World,
) -> Result<Plan<ManagedHsmKind>, Stop> {
    if let Some(holder) = world.claimant(&key_vault_claim(name))? {
        return Err(vault_rules::name_taken(name, holder).into());
    }
    let spec = settle(change, None)?;
    administered(Plan::done(spec, ManagedHsmStatus {}), Vec::new(), change)
}

/// It comes back without its local roles, as without those above it: who administered it last grants
/// them again. Who was dismissed before stays so.
fn recovered(
    change: &Change<'_, ManagedHsmKind>,
    name: &KeyVaultName,
    world: &World,
) -> Result<Plan<ManagedHsmKind>, Stop> {
    let deleted = deleted_vault_kind::recoverable(change, name, world)?;
    let last = deleted.status.administrators.clone();
    administered(deleted_vault_kind::recovered(deleted, world)?, last, change)
}

/// `last` administered it; if that is nobody, as in a new one, its first administrators do.
fn administered(
    mut plan: Plan<ManagedHsmKind>,
    last: Vec<PrincipalId>,
    change: &Change<'_, ManagedHsmKind>,
) -> Result<Plan<ManagedHsmKind>, Stop> {
    let first = plan.spec.initial_admin_object_ids.as_deref().unwrap_or_default();
    let administrators = if last.is_empty() { first } else { &last };
    let request = change.request;
    plan.writes.extend(appoint(&request.id, administrators, request)?);
    Ok(plan)
}

/// What is asked, with what was left out filled in: from what is stored, else with the defaults.
fn settle(
    change: &Change<'_, ManagedHsmKind>,
    stored: Option<&ManagedHsmSpec>,
) -> Result<ManagedHsmSpec, Refusal> {
    let asked = &change.spec;
    let tenant = change.request.caller.tenant;
    if asked.tenant_id.is_some_and(|asked| asked != tenant) {
        return Err(bad("properties.tenantId must be the tenant of the subscription"));
    }
    if asked.enable_soft_delete == Some(false) {
        return Err(bad("The property \"enableSoftDelete\" of a managed HSM cannot be false."));
    }
    let elsewhere = |region: &&HsmRegion| Some(&region.name) != change.location;
    if let Some(region) = asked.regions.iter().flatten().find(elsewhere) {
        return Err(bad(format!(
            "A managed HSM lies in one region and cannot be extended to '{}'.",
            region.name
        )));
    }
    let fixed = stored.map(ManagedHsmSpec::soft_delete_days);
    let days = vault_rules::retention(asked.soft_delete_retention_in_days, fixed)?;
    let protected = stored.is_some_and(|stored| stored.enable_purge_protection == Some(true));
    let protection = vault_rules::purge_protection(asked.enable_purge_protection, protected, true)?;
    let rules = stored.and_then(|stored| stored.network_acls.as_ref());
    Ok(ManagedHsmSpec {
        tenant_id: Some(tenant),
        sku: Some(sku(change, stored)?),
        initial_admin_object_ids: Some(administrators(asked, stored)?),
        enable_soft_delete: Some(true),
        soft_delete_retention_in_days: Some(days),
        enable_purge_protection: protection.then_some(true),
        network_acls: vault_rules::network_acls(asked.network_acls.clone(), rules)?,
        public_network_access: asked
            .public_network_access
            .or_else(|| stored.and_then(|stored| stored.public_network_access))
            .or_else(|| Some(PublicNetworkAccess::default())),
        regions: None,
        create_mode: None,
    })
}

/// It stands beside the properties.
fn sku(
    change: &Change<'_, ManagedHsmKind>,
    stored: Option<&ManagedHsmSpec>,
) -> Result<HsmSku, Refusal> {
    let asked = change.request.body.get("sku").filter(|sku| !sku.is_null());
    let Some(asked) = asked else {
        let kept = stored.and_then(|stored| stored.sku.clone());
        return kept
            .ok_or_else(|| bad("sku is missing: {\"family\":\"B\",\"name\":\"Standard_B1\"}"));
    };
    let sku = HsmSku::deserialize(asked).map_err(|error| bad(format!("sku: {error}")))?;
    if matches!(sku.family.as_str(), "B" | "C") {
        return Ok(sku);
    }
    Err(bad("sku.family of a managed HSM must be B or C"))
}

/// Somebody must administer it: nobody's role above it reaches into it.
fn administrators(
    asked: &ManagedHsmSpec,
    stored: Option<&ManagedHsmSpec>,
) -> Result<Vec<PrincipalId>, Refusal> {
    let fixed = stored.and_then(|stored| stored.initial_admin_object_ids.clone());
    match (&asked.initial_admin_object_ids, fixed) {
        (Some(asked), Some(fixed)) if !asked.iter().all(|one| fixed.contains(one)) => Err(bad(
            "The property \"initialAdminObjectIds\" is fixed when the managed HSM is created; \
             assign roles within it instead.",
        )),
        (_, Some(fixed)) => Ok(fixed),
        (Some(asked), None) if (1..=ADMINISTRATORS_MAX).contains(&asked.len()) => {
            let distinct: BTreeSet<PrincipalId> = asked.iter().copied().collect();
            Ok(distinct.into_iter().collect())
        }
        _ => Err(bad(format!(
            "The property \"initialAdminObjectIds\" must name 1 to {ADMINISTRATORS_MAX} principals."
        ))),
    }
}
