//! Softly deleted vaults: `Microsoft.RecoveryServices/locations/deletedVaults` and
//! `Microsoft.DataProtection/locations/deletedVaults`, and the way back.
//!
//! Nothing of a vault's data is touched when it is deleted softly: its repository, its keyring and
//! what wraps that stay, and with them what it hangs on. So its record goes on naming its keys, and
//! whoever asks what hangs on a key finds it.

use std::marker::PhantomData;

use custody_ambient::Timestamp;
use custody_names::{KeyUri, ResourceGroupName, ResourceId};
use custody_resources::{
    Act, Action, Caller, Change, Identity, Kind, Place, Plan, ProvisioningState, Record, Reference,
    Refusal, Request, SoftlyDeleted, Stop, Stored, SystemData, Target, Task, World, Write,
    being_purged, carried_along, days_after, deleted_id, not_found, renamed,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::backup_vault::BackupVault;
use crate::recovery_services_vault::RecoveryServicesVault;
use crate::rules;
use crate::status::VaultStatus;
use crate::vault::Vault;

/// Brings it back.
const UNDELETE: Action = Action { name: "undelete", permission: "undelete/action" };
/// Removes it for good, once its time has come. custody's own.
const PURGE: Action = Action { name: "purge", permission: "purge/action" };
/// So much of a vault's GUID tells apart deleted vaults of one name.
const SUFFIX_CHARACTERS: usize = 8;

/// A kind of vaults that are deleted softly.
pub trait DeletableVault: Kind<Status = VaultStatus> {
    /// The type that a deleted one has.
    const DELETED: &'static str;
    /// The place of deleted ones.
    const LOCATIONS: &'static str;

    /// What clients see of a deleted one.
    fn deleted_properties(deleted: &DeletedVaultStatus) -> Value;
}

/// A vault that was deleted and can be brought back until it is purged.
pub struct DeletedVault<K>(PhantomData<K>);

/// A deleted Backup vault.
pub type DeletedBackupVault = DeletedVault<BackupVault>;
/// A deleted Recovery Services vault.
pub type DeletedRecoveryServicesVault = DeletedVault<RecoveryServicesVault>;

/// Nothing of it is the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoProperties {}

/// What is kept of a deleted vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedVaultStatus {
    /// Since when it is deleted.
    pub deleted_at: Timestamp,
    /// From when on it is purged without being asked.
    pub purge_at: Timestamp,
    /// The record as it was.
    pub vault: Record,
}

/// Input of [`crate::TASK_UNDELETE_VAULT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeleteVault {
    /// What the vault is to be again.
    pub to: ResourceId,
}

impl DeletableVault for RecoveryServicesVault {
    const DELETED: &'static str = "Microsoft.RecoveryServices/locations/deletedVaults";
    const LOCATIONS: &'static str = "Microsoft.RecoveryServices/locations";

    fn deleted_properties(deleted: &DeletedVaultStatus) -> Value {
        json!({
            "vaultId": deleted.vault.id,
            "vaultDeletionTime": deleted.deleted_at,
            "purgeAt": deleted.purge_at,
        })
    }
}

impl DeletableVault for BackupVault {
    const DELETED: &'static str = "Microsoft.DataProtection/locations/deletedVaults";
    const LOCATIONS: &'static str = "Microsoft.DataProtection/locations";

    fn deleted_properties(deleted: &DeletedVaultStatus) -> Value {
        let id = &deleted.vault.id;
        json!({
            "originalBackupVaultId": id,
            "originalBackupVaultName": id.name(),
            "originalBackupVaultResourcePath": id,
            "resourceDeletionInfo": {
                "deletionTime": deleted.deleted_at,
                "scheduledPurgeTime": deleted.purge_at,
            },
            "securitySettings": deleted.vault.spec.get("securitySettings"),
            "storageSettings": deleted.vault.spec.get("storageSettings"),
        })
    }
}

impl<K: DeletableVault> Kind for DeletedVault<K> {
    const TYPE: &'static str = K::DELETED;
    const PLACE: Place = Place::Below(K::LOCATIONS);
    const WRITABLE: bool = false;
    const ACTIONS: &'static [Action] = &[UNDELETE, PURGE];

    type Spec = NoProperties;
    type Status = DeletedVaultStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("deleted vaults are not written by clients").into())
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        match current.record.state {
            ProvisioningState::Deleting => return Err(being_purged(&current.record).into()),
            ProvisioningState::Updating => return Err(coming_back(&current.record).into()),
            ProvisioningState::Succeeded | ProvisioningState::Failed => {}
        }
        let mut changed = current.clone();
        if action == PURGE.name {
            check_purge(current, request.now)?;
            changed.record.state = ProvisioningState::Deleting;
            let task = Task { name: crate::TASK_PURGE_VAULT.to_owned(), input: Value::Null };
            let writes = vec![changed.into_write()?];
            return Ok(Act { task: Some(task), writes, ..Act::default() });
        }
        let to = place_to_return_to(&current.status.vault, request, world)?;
        changed.record.state = ProvisioningState::Updating;
        let input = json!(UndeleteVault { to: to.clone() });
        Ok(Act {
            task: Some(Task { name: crate::TASK_UNDELETE_VAULT.to_owned(), input }),
            writes: vec![changed.into_write()?],
            // Whoever brings a vault back makes one there.
            linked: vec![(format!("{}/write", K::TYPE), to)],
            ..Act::default()
        })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        Ok(K::deleted_properties(&stored.status))
    }

    /// It hangs on the same keys and identities as before.
    fn references(
        _spec: &NoProperties,
        status: &DeletedVaultStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        status.vault.references.clone()
    }
}

impl<K: DeletableVault> SoftlyDeleted for DeletedVault<K> {
    fn purge_at(stored: &Stored<Self>) -> Timestamp {
        stored.status.purge_at
    }
}

/// A softly deleted vault of either kind, as those see it who work on keys and data.
pub struct DeletedVaultView {
    /// The record of the deleted vault.
    pub record: Record,
    /// The vault as it was.
    pub vault: Vault,
}

impl DeletedVaultView {
    /// Whether a resource of this type is a deleted vault.
    pub fn is_deleted_vault(id: &ResourceId) -> bool {
        let kind = id.resource_type();
        DELETED_TYPES.iter().any(|deleted| deleted.eq_ignore_ascii_case(kind.as_str()))
    }

    /// Reads the record of a deleted vault.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        let status = DeletedVaultStatus::deserialize(&record.status)
            .map_err(|error| Refusal::bug(format!("{} cannot be read: {error}", record.id)))?;
        Ok(Self { record: record.clone(), vault: Vault::read(&status.vault)? })
    }

    /// The deleted vault, which must be there.
    pub fn expect(id: &ResourceId, world: &World) -> Result<Self, Stop> {
        Ok(Self::read(world.record(id)?.ok_or_else(|| not_found(id))?)?)
    }

    /// Every deleted vault below a place.
    pub fn below(place: &ResourceId, world: &World) -> Result<Vec<Self>, Stop> {
        // Both are asked for before either is read: a plan begins again after each answer.
        let mut found = Vec::new();
        for kind in DELETED_TYPES {
            found.push(world.below(place, kind)?);
        }
        found.into_iter().flatten().map(Self::read).collect::<Result<_, _>>().map_err(Stop::from)
    }

    /// The deleted vaults among these records.
    pub fn among(records: &[Record]) -> Result<Vec<Self>, Refusal> {
        records.iter().filter(|record| Self::is_deleted_vault(&record.id)).map(Self::read).collect()
    }

    /// What it was and how long it is kept.
    pub fn summary(&self) -> Value {
        let purge_at = self.record.status.get("purgeAt");
        json!({ "id": self.record.id, "vaultId": self.vault.record.id, "purgeAt": purge_at })
    }

    /// The write that takes its identities away.
    pub fn without_identity(&self) -> Result<Write, Refusal> {
        let mut record = self.record.clone();
        record.revision += 1;
        if let Some(vault) = record.status.get_mut("vault").and_then(Value::as_object_mut) {
            vault.remove("identity");
        }
        Ok(Write::Put(Box::new(record)))
    }

    /// The writes that bring it back as `to`, with all that stood below it but role assignments.
    ///
    /// # Errors
    /// Refuses if something else stands there by now.
    pub fn returned(
        &self,
        to: &ResourceId,
        caller: &Caller,
        now: Timestamp,
        world: &World,
    ) -> Result<Vec<Write>, Stop> {
        is_free(to, world)?;
        let mut vault = renamed(&self.vault.record, &self.vault.record.id, to)?;
        vault.state = ProvisioningState::Succeeded;
        vault.system = vault.system.changed_by(caller, now);
        let mut writes = vec![Write::Remove(self.record.id.clone()), Write::Put(Box::new(vault))];
        writes.extend(carried_along(&self.record.id, to, world)?);
        Ok(writes)
    }
}

/// The vaults of which a keyring is wrapped by a key, or that ask for it. Softly deleted ones are
/// among them, by the identifier that they have now: they come back under the same key (rule 124).
pub fn vaults_that_name(key: &KeyUri, world: &World) -> Result<Vec<Vault>, Stop> {
    let referrers = world.referrers(Target::key(key))?;
    let mut all = Vault::among(referrers)?;
    all.extend(DeletedVaultView::among(referrers)?.into_iter().map(|deleted| {
        let mut vault = deleted.vault;
        vault.record.id = deleted.record.id;
        vault
    }));
    Ok(all)
}

/// The types of deleted vaults.
const DELETED_TYPES: [&str; 2] = [BackupVault::DELETED, RecoveryServicesVault::DELETED];

/// The writes that put a deleted vault in the place of `vault`, with all that stands below it but
/// role assignments: whoever is to use it when it is back is let in anew, as in Azure.
///
/// # Errors
/// Stops until the place is known to be free.
pub fn softly_deleted(
    vault: &Vault,
    days: u32,
    caller: &Caller,
    now: Timestamp,
    world: &World,
) -> Result<Vec<Write>, Stop> {
    let id = &vault.record.id;
    let kind = if vault.is_recovery_services() {
        RecoveryServicesVault::DELETED
    } else {
        BackupVault::DELETED
    };
    let location = vault.record.location.clone();
    let location = location.ok_or_else(|| Refusal::bug(format!("{id} lies nowhere")))?;
    let to = free_place(deleted_id(id, &location, kind)?, vault, world)?;
    let status = DeletedVaultStatus {
        // In whole seconds, as the end is.
        deleted_at: days_after(now, 0),
        purge_at: days_after(now, days),
        vault: vault.record.clone(),
    };
    let system = SystemData::by(caller, now);
    let record = Record::blank(to.clone(), system);
    let put = if vault.is_recovery_services() {
        stored::<RecoveryServicesVault>(record, status)?
    } else {
        stored::<BackupVault>(record, status)?
    };
    let mut writes = vec![Write::Remove(id.clone()), put];
    writes.extend(carried_along(id, &to, world)?);
    Ok(writes)
}

fn stored<K: DeletableVault>(record: Record, status: DeletedVaultStatus) -> Result<Write, Refusal> {
    Stored::<DeletedVault<K>> { record, spec: NoProperties {}, status }.into_write()
}

/// The name is the vault's own, unless another of that name was deleted in the same place before.
fn free_place(named: ResourceId, vault: &Vault, world: &World) -> Result<ResourceId, Stop> {
    if world.record(&named)?.is_none() {
        return Ok(named);
    }
    let guid = vault.status.vault_guid.map(|guid| guid.to_string()).unwrap_or_default();
    let suffix: String = guid.chars().take(SUFFIX_CHARACTERS).collect();
    let broken = |_| Refusal::bug(format!("{named} has no other name"));
    Ok(format!("{named}-{suffix}").parse().map_err(broken)?)
}

/// Where the vault is to lie again: in the group that the request names, by identifier or name, or
/// else in its own. Under a customer's key it comes back where it was (rule 61).
fn place_to_return_to(
    vault: &Record,
    request: &Request<'_>,
    world: &World,
) -> Result<ResourceId, Stop> {
    let home = vault.id.parent().unwrap_or_else(ResourceId::root);
    let asked = request.body.pointer("/properties/recoveryResourceGroupId");
    let group = match asked.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        None => home.clone(),
        Some(text) => group(text, &home)?,
    };
    let record = world.record(&group)?.ok_or_else(|| not_found(&group))?;
    if record.state == ProvisioningState::Deleting {
        let text = format!("the group {group} is being deleted");
        return Err(Refusal::new(409, "ResourceGroupBeingDeleted", text).into());
    }
    let group = record.id.clone();
    if group != home {
        rules::only_platform_key_moves(vault, &Vault::read(vault)?.status)?;
    }
    let name = vault.id.name().unwrap_or_default().parse();
    let name = name.map_err(|_| Refusal::bug("a vault's name is a name"))?;
    let to = group.resource(&vault.id.resource_type(), &name);
    is_free(&to, world)?;
    Ok(to)
}

/// The group as clients name it: `az` sends its name alone.
fn group(text: &str, home: &ResourceId) -> Result<ResourceId, Refusal> {
    let wrong = || {
        let text = format!("properties.recoveryResourceGroupId: {text:?} names no resource group");
        Refusal::new(400, "InvalidRestApiParameter", text)
    };
    if text.starts_with('/') {
        let group: ResourceId = text.parse().map_err(|_| wrong())?;
        let kind = group.resource_type();
        let is_group = kind.as_str().eq_ignore_ascii_case(RESOURCE_GROUP);
        return if is_group { Ok(group) } else { Err(wrong()) };
    }
    let name: ResourceGroupName = text.parse().map_err(|_| wrong())?;
    let subscription = home.subscription_id().ok_or_else(wrong)?;
    Ok(ResourceId::resource_group(subscription, &name))
}

/// The type of resource groups.
const RESOURCE_GROUP: &str = "Microsoft.Resources/subscriptions/resourceGroups";

fn is_free(to: &ResourceId, world: &World) -> Result<(), Stop> {
    if world.record(to)?.is_none() {
        return Ok(());
    }
    let text = format!("{to} is there: the deleted vault cannot come back beside it");
    Err(Refusal::new(409, "VaultAlreadyExists", text)
        .with_fix("delete that vault, or bring this one back into another resource group")
        .into())
}

fn coming_back(deleted: &Record) -> Refusal {
    let name = deleted.id.name().unwrap_or_default();
    let text = format!("the deleted vault '{name}' is being brought back");
    Refusal::new(409, "AnotherOperationInProgress", text)
}

fn check_purge<K: DeletableVault>(
    current: &Stored<DeletedVault<K>>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let purge_at = current.status.purge_at;
    if now >= purge_at {
        return Ok(());
    }
    let name = current.record.id.name().unwrap_or_default();
    let text = format!("the deleted vault '{name}' is kept until {purge_at} and removed then");
    Err(Refusal::new(409, "VaultStillKept", text))
}
