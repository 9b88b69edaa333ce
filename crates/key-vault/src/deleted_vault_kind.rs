//! Softly deleted key vaults: `Microsoft.KeyVault/locations/deletedVaults`.

use std::collections::BTreeMap;

use custody_ambient::Timestamp;
use custody_names::{Location, ResourceId, TenantId};
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, ProvisioningState, Record, Refusal, Request, Stop,
    Stored, SystemData, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vault_kind::{KeyVaultKind, key_vault_claim, purge_task};
use crate::{KeyVaultRef, key_vault_ref, vault_rules};

/// A key vault that was deleted and can be recovered until it is purged.
pub struct DeletedKeyVaultKind;

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

impl Kind for DeletedKeyVaultKind {
    const TYPE: &'static str = "Microsoft.KeyVault/locations/deletedVaults";
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
        Ok(Act { status: 202, body: None, task: Some(task), writes })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        serde_json::to_value(&stored.status.shown).map_err(|error| Refusal::bug(error.to_string()))
    }

    /// It holds the name, so that nobody takes it meanwhile.
    fn claim(id: &ResourceId) -> Option<String> {
        vault_rules::name(id).ok().map(|name| key_vault_claim(&name))
    }
}

/// Whether the record is a deleted key vault's.
pub(crate) fn is_deleted(record: &Record) -> bool {
    record.id.resource_type().as_str().eq_ignore_ascii_case(DeletedKeyVaultKind::TYPE)
}

/// The deleted key vault as the key store takes it.
pub fn deleted_key_vault_ref(stored: &Stored<DeletedKeyVaultKind>) -> Result<KeyVaultRef, Refusal> {
    key_vault_ref(&Stored::<KeyVaultKind>::read(&stored.status.vault)?)
}

/// The write that keeps `current` as a deleted key vault.
pub(crate) fn deleted(
    current: &Stored<KeyVaultKind>,
    request: &Request<'_>,
) -> Result<Write, Refusal> {
    let vault = key_vault_ref(current)?;
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
    let system = SystemData {
        last_modified_by: request.caller.name.clone(),
        last_modified_at: request.now,
        ..current.record.system.clone()
    };
    let record = Record::blank(deleted_id(current, &shown.location)?, system);
    let status =
        DeletedKeyVaultStatus { shown, tenant_id: vault.tenant, vault: current.record.clone() };
    Stored::<DeletedKeyVaultKind> { record, spec: NoProperties {}, status }.into_write()
}

/// The error for what is being erased already.
pub(crate) fn being_purged(deleted: &Stored<DeletedKeyVaultKind>) -> Refusal {
    let name = deleted.record.id.name().unwrap_or_default();
    let text = format!("The deleted vault '{name}' is being purged.");
    Refusal::new(409, "AnotherOperationInProgress", text)
}

fn deleted_id(current: &Stored<KeyVaultKind>, location: &Location) -> Result<ResourceId, Refusal> {
    let id = &current.record.id;
    let broken = || Refusal::bug(format!("{id} is no key vault's identifier"));
    let subscription = id.subscription_id().ok_or_else(broken)?;
    let name = id.name().ok_or_else(broken)?;
    format!(
        "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}\
         /deletedVaults/{name}"
    )
    .parse()
    .map_err(|_| broken())
}

/// Purge protection holds until the scheduled date (rule 125).
fn check_purge(current: &Stored<DeletedKeyVaultKind>, now: Timestamp) -> Result<(), Refusal> {
    let shown = &current.status.shown;
    if current.record.state == ProvisioningState::Deleting {
        return Err(being_purged(current));
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
