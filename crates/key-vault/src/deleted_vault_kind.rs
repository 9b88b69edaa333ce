//! Softly deleted key vaults and managed HSMs: `Microsoft.KeyVault/locations/deletedVaults` and
//! `…/deletedManagedHSMs`, and the way back.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use custody_ambient::Timestamp;
use custody_names::{KeyVaultName, Location, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, ProvisioningState, Query, Record, Refusal, Request,
    SoftlyDeleted, Stop, Stored, Target, World, Write, being_purged, deleted_id,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::managed_hsm_kind::ManagedHsmKind;
use crate::vault_kind::{KeyVaultKind, key_vault_claim, purge_task};
use crate::{KeyVaultRef, vault_rules};

/// The type of the settings that say where the records of a resource are sent.
const DIAGNOSTIC_SETTING: &str = "Microsoft.Insights/diagnosticSettings";

/// How the identifier that it had is stored, of whatever kind it was.
const STORED_ID: &str = "vaultId";

/// A kind whose resources hold keys, and are deleted softly with them.
pub trait KeyHolder: Kind {
    /// The type that a deleted one has.
    const DELETED: &'static str;
    /// What a deleted one calls the identifier that it had.
    const DELETED_ID: &'static str;

    /// The key vault as the key store takes it.
    fn vault_ref(stored: &Stored<Self>) -> Result<KeyVaultRef, Refusal>;
}

/// A key vault or managed HSM that was deleted and can be recovered until it is purged.
pub struct Deleted<K>(PhantomData<K>);

/// A deleted key vault.
pub type DeletedKeyVaultKind = Deleted<KeyVaultKind>;
/// A deleted managed HSM.
pub type DeletedManagedHsmKind = Deleted<ManagedHsmKind>;

/// Nothing of it is the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoProperties {}

/// What is kept of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedKeyVaultStatus {
    /// What clients see.
    #[serde(flatten)]
    pub shown: DeletedKeyVaultProperties,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// The record as it was.
    pub vault: Record,
    /// Who administered a managed HSM when it was deleted. Earlier versions did not keep it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub administrators: Vec<PrincipalId>,
    /// Its diagnostic settings, which come back with it: else its keys would be used again and
    /// nobody told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostic_settings: Vec<Record>,
}

/// The properties of a deleted key vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedKeyVaultProperties {
    /// What it was, and will be when it is recovered.
    pub vault_id: ResourceId,
    /// Where it lay.
    pub location: Location,
    /// Since when it is deleted.
    pub deletion_date: Timestamp,
    /// From when on it is purged without being asked.
    pub scheduled_purge_date: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it cannot be purged before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_protection_enabled: Option<bool>,
}

impl<K: KeyHolder> Kind for Deleted<K> {
    const TYPE: &'static str = K::DELETED;
    const PLACE: Place = Place::Below("Microsoft.KeyVault/locations");
    const WRITABLE: bool = false;
    const ACTIONS: &'static [Action] = &[Action { name: "purge", permission: "purge/action" }];

    type Spec = NoProperties;
    type Status = DeletedKeyVaultStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("deleted key vaults are not written by clients").into())
    }

    /// Purging is the only action.
    fn act(
        _action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        check_purge(current, request.now)?;
        let name = vault_rules::name(&current.record.id)?;
        let task = purge_task(Some(current.status.tenant_id), &name)?;
        let mut leaving = current.clone();
        leaving.record.state = ProvisioningState::Deleting;
        let writes = vec![leaving.into_write()?];
        Ok(Act { task: Some(task), writes, ..Act::default() })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let shown = serde_json::to_value(&stored.status.shown);
        let mut shown = shown.map_err(|error| Refusal::bug(error.to_string()))?;
        if let Value::Object(shown) = &mut shown
            && let Some(id) = shown.remove(STORED_ID)
        {
            shown.insert(K::DELETED_ID.to_owned(), id);
        }
        Ok(shown)
    }

    /// It holds the name, so that nobody takes it meanwhile.
    fn claim(id: &ResourceId) -> Option<String> {
        vault_rules::name(id).ok().map(|name| key_vault_claim(&name))
    }
}

impl<K: KeyHolder> SoftlyDeleted for Deleted<K> {
    fn purge_at(stored: &Stored<Self>) -> Timestamp {
        stored.status.shown.scheduled_purge_date
    }
}

/// Whether the record is a deleted key vault's or managed HSM's.
pub(crate) fn is_deleted(record: &Record) -> bool {
    let kind = record.id.resource_type();
    [DeletedKeyVaultKind::TYPE, DeletedManagedHsmKind::TYPE]
        .iter()
        .any(|deleted| kind.as_str().eq_ignore_ascii_case(deleted))
}

/// The deleted key vault as the key store takes it.
pub fn deleted_key_vault_ref<K: KeyHolder>(
    stored: &Stored<Deleted<K>>,
) -> Result<KeyVaultRef, Refusal> {
    K::vault_ref(&Stored::<K>::read(&stored.status.vault)?)
}

/// The deleted one of this name, if it may be brought back as is asked.
pub(crate) fn recoverable<K: KeyHolder>(
    change: &Change<'_, K>,
    name: &KeyVaultName,
    world: &World,
) -> Result<Stored<Deleted<K>>, Stop> {
    let holder = world.claimant(&key_vault_claim(name))?;
    let holder = holder.ok_or_else(|| vault_rules::nothing_deleted(name))?;
    if !holder.id.resource_type().as_str().eq_ignore_ascii_case(K::DELETED) {
        return Err(vault_rules::name_taken(name, holder).into());
    }
    let deleted = Stored::<Deleted<K>>::read(holder)?;
    check_recoverable(&deleted, &change.request.id, change.location)?;
    Ok(deleted)
}

/// What bringing it back means: it is as it was, and the record of the deleted one goes.
pub(crate) fn recovered<K: KeyHolder>(
    deleted: Stored<Deleted<K>>,
    world: &World,
) -> Result<Plan<K>, Stop> {
    let original = Stored::<K>::read(&deleted.status.vault)?;
    let tags: BTreeMap<String, String> = original.record.tags;
    let mut plan = Plan::done(original.spec, original.status);
    plan.tags = Some(tags);
    for setting in deleted.status.diagnostic_settings {
        plan.writes.extend(restored(setting, world)?);
    }
    plan.writes.push(Write::Remove(deleted.record.id));
    Ok(plan)
}

/// The write that brings a diagnostic setting back, without the destinations that are gone; `None`
/// if all of them are.
fn restored(mut setting: Record, world: &World) -> Result<Option<Write>, Stop> {
    for reference in std::mem::take(&mut setting.references) {
        let Target::Resource(destination) = &reference.to else { continue };
        if world.ask(Query::Record(destination.clone()))?.is_empty() {
            if let Value::Object(spec) = &mut setting.spec {
                spec.retain(|_, value| !names(value, destination));
            }
        } else {
            setting.references.push(reference);
        }
    }
    // It is made anew.
    setting.revision = 1;
    Ok((!setting.references.is_empty()).then(|| Write::Put(Box::new(setting))))
}

/// Whether `value` is the identifier of this resource, in whatever case.
fn names(value: &Value, canonical: &str) -> bool {
    let id = value.as_str().and_then(|text| text.parse::<ResourceId>().ok());
    id.is_some_and(|id| id.canonical() == canonical)
}

/// A deleted key vault comes back where it was, and not while it is being purged.
fn check_recoverable<K: KeyHolder>(
    deleted: &Stored<Deleted<K>>,
    id: &ResourceId,
    location: Option<&Location>,
) -> Result<(), Refusal> {
    let shown = &deleted.status.shown;
    if deleted.record.state == ProvisioningState::Deleting {
        return Err(being_purged(&deleted.record));
    }
    if shown.vault_id != *id || location != Some(&shown.location) {
        let text = format!(
            "The deleted vault can be recovered only as {} in {}.",
            shown.vault_id, shown.location
        );
        return Err(Refusal::new(409, "ConflictError", text));
    }
    Ok(())
}

/// The write that keeps `current` as a deleted key vault. `administrators` get a managed HSM back.
pub(crate) fn deleted<K: KeyHolder>(
    current: &Stored<K>,
    administrators: Vec<PrincipalId>,
    request: &Request<'_>,
    world: &World,
) -> Result<Write, Stop> {
    let vault = K::vault_ref(current)?;
    let location = current.record.location.clone();
    let location =
        location.ok_or_else(|| Refusal::bug(format!("{} lies nowhere", current.record.id)))?;
    let shown = DeletedKeyVaultProperties {
        vault_id: current.record.id.clone(),
        location,
        deletion_date: request.now,
        scheduled_purge_date: vault.purge_after(request.now),
        tags: current.record.tags.clone(),
        purge_protection_enabled: vault.purge_protection.then_some(true),
    };
    let system = current.record.system.clone().changed_by(&request.caller, request.now);
    let record =
        Record::blank(deleted_id(&current.record.id, &shown.location, K::DELETED)?, system);
    let status = DeletedKeyVaultStatus {
        shown,
        tenant_id: vault.tenant,
        vault: current.record.clone(),
        administrators,
        diagnostic_settings: world.children(&current.record.id, DIAGNOSTIC_SETTING)?.to_vec(),
    };
    Ok(Stored::<Deleted<K>> { record, spec: NoProperties {}, status }.into_write()?)
}

/// Purge protection holds until the scheduled date (rule 125).
fn check_purge<K: KeyHolder>(current: &Stored<Deleted<K>>, now: Timestamp) -> Result<(), Refusal> {
    let shown = &current.status.shown;
    if current.record.state == ProvisioningState::Deleting {
        return Err(being_purged(&current.record));
    }
    if shown.purge_protection_enabled == Some(true) && now < shown.scheduled_purge_date {
        let text = format!(
            "Operation 'DeletedVaultPurge' is not allowed. Purge protection is enabled for this \
             vault; it will be purged by itself after {}.",
            shown.scheduled_purge_date
        );
        return Err(Refusal::new(405, "MethodNotAllowed", text));
    }
    Ok(())
}
