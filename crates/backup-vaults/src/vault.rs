//! A vault of either kind, as those see it who work on its keys and its data.

use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Kind, Record, Refusal, Removal, Request, Stop, Stored, Task, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup_vault::{self, BackupVault, BackupVaultSpec};
use crate::change::{Asked, apply};
use crate::encryption::{ApplyEncryption, EncryptionSettings};
use crate::recovery_services_vault::{self, RecoveryServicesSpec, RecoveryServicesVault};
use crate::rules;
use crate::soft_delete::{self, SoftDelete, SoftDeleteState, Words};
use crate::status::VaultStatus;

/// The types of vaults.
pub const VAULT_TYPES: [&str; 2] = [BackupVault::TYPE, RecoveryServicesVault::TYPE];
/// Types of what is under protection in a vault, or was and can come back, after the vault's own; a
/// vault that holds any is not deleted.
const ITEM_TYPES: [&str; 3] = [
    "backupInstances",
    "deletedBackupInstances",
    "backupFabrics/protectionContainers/protectedItems",
];

/// So many items are named of those that block the deletion of a vault.
const BLOCKERS_NAMED_MAX: usize = 10;

// The verbs that vaults of both kinds have beside those of Azure.
/// Proves every object of the repository.
pub(crate) const VERIFY: Action = Action { name: "verify", permission: "verify/action" };
/// Frees what no recovery point needs.
pub(crate) const PRUNE: Action = Action { name: "prune", permission: "prune/action" };
/// Wraps the data keys by the key's newest version.
pub(crate) const REWRAP: Action = Action { name: "rewrap", permission: "rewrap/action" };
/// Rebuilds what can be rebuilt.
pub(crate) const REPAIR: Action = Action { name: "repair", permission: "repair/action" };

/// Tries what happens if its key is taken away.
pub(crate) const DRILL_REVOKE: Action =
    Action { name: "drillRevoke", permission: "drillRevoke/action" };

/// Probes its keys now, and says how they stand.
pub(crate) const PROBE_KEY: Action = Action { name: "probeKey", permission: "probeKey/action" };

/// Says what a change of its encryption would meet, and changes nothing.
pub(crate) const CHECK_ENCRYPTION: Action =
    Action { name: "checkEncryption", permission: "checkEncryption/action" };

/// Where soft delete settings stand in a request's body, for both kinds.
const SOFT_DELETE_POINTER: &str = "/properties/securitySettings/softDeleteSettings";

/// Where a vault's repository lies. custody's own; absent, it lies in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// An absolute folder on this machine.
    pub path: String,
}

/// A vault of either kind.
#[derive(Clone)]
pub struct Vault {
    /// Its record; spec and status are superseded by the other fields.
    pub record: Record,
    /// What only the server writes.
    pub status: VaultStatus,
    spec: Spec,
}

#[derive(Clone)]
enum Spec {
    Backup(BackupVaultSpec),
    RecoveryServices(RecoveryServicesSpec),
}

impl Vault {
    /// Whether a resource of this type is a vault.
    pub fn is_vault(id: &ResourceId) -> bool {
        let kind = id.resource_type();
        VAULT_TYPES.iter().any(|vault| vault.eq_ignore_ascii_case(kind.as_str()))
    }

    /// The vault that `id` is or lies in.
    pub fn around(id: &ResourceId) -> Option<ResourceId> {
        id.lineage().find(Self::is_vault)
    }

    /// Reads the record of a vault.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        if is_a::<BackupVault>(record) {
            return Ok(Stored::<BackupVault>::read(record)?.into());
        }
        Ok(Stored::<RecoveryServicesVault>::read(record)?.into())
    }

    /// The vault, which must be there.
    pub fn expect(id: &ResourceId, world: &World) -> Result<Self, Stop> {
        let record = world.record(id)?.ok_or_else(|| custody_resources::not_found(id))?;
        Ok(Self::read(record)?)
    }

    /// Every vault below a place.
    pub fn below(place: &ResourceId, world: &World) -> Result<Vec<Self>, Stop> {
        // Both are asked for before either is read: a plan begins again after each answer.
        let mut found = Vec::new();
        for kind in VAULT_TYPES {
            found.push(world.below(place, kind)?);
        }
        found.into_iter().flatten().map(Self::read).collect::<Result<_, _>>().map_err(Stop::from)
    }

    /// The vaults among these records.
    pub fn among(records: &[Record]) -> Result<Vec<Self>, Refusal> {
        records.iter().filter(|record| Self::is_vault(&record.id)).map(Self::read).collect()
    }

    /// Whether it is a Recovery Services vault.
    pub fn is_recovery_services(&self) -> bool {
        matches!(self.spec, Spec::RecoveryServices(_))
    }

    /// Makes these the settings that are asked for.
    pub fn set_wanted(&mut self, settings: Option<EncryptionSettings>) {
        match &mut self.spec {
            Spec::Backup(spec) => spec.security_settings.encryption_settings = settings,
            Spec::RecoveryServices(spec) => spec.encryption = settings.map(Into::into),
        }
    }

    /// The store that was named for it.
    pub fn store(&self) -> Option<&Store> {
        match &self.spec {
            Spec::Backup(spec) => spec.store.as_ref(),
            Spec::RecoveryServices(spec) => spec.store.as_ref(),
        }
    }

    /// Whether and for how long it can be brought back once it is deleted. What never got a keyring
    /// holds nothing to bring back.
    pub fn soft_delete(&self) -> SoftDelete {
        if self.status.keyring.is_none() {
            return SoftDelete { state: SoftDeleteState::Off, ..SoftDelete::default() };
        }
        self.soft_delete_settings()
    }

    /// Its soft delete as it is set.
    pub(crate) fn soft_delete_settings(&self) -> SoftDelete {
        let (words, stored) = self.stored_soft_delete();
        words.read(stored)
    }

    /// Its soft delete as it would be after a request; none if that says nothing of it, or nothing
    /// that can be done.
    pub(crate) fn soft_delete_asked(&self, request: &Request<'_>) -> Option<SoftDelete> {
        let asked = request.body.pointer(SOFT_DELETE_POINTER)?;
        let (words, stored) = self.stored_soft_delete();
        let whole = words.settle(Some(asked.clone()), stored).ok()?;
        Some(words.read(whole.as_ref()))
    }

    fn stored_soft_delete(&self) -> (&'static Words, Option<&Value>) {
        match &self.spec {
            Spec::Backup(spec) => {
                (&soft_delete::BACKUP, spec.security_settings.soft_delete_settings.as_ref())
            }
            Spec::RecoveryServices(spec) => {
                (&soft_delete::RECOVERY_SERVICES, spec.soft_delete_settings())
            }
        }
    }

    /// Whether a request asks for other encryption settings than are in force. What cannot be
    /// understood is refused by the vault itself.
    pub(crate) fn changes_encryption(&self, request: &Request<'_>) -> bool {
        let asked = match &self.spec {
            Spec::Backup(spec) => {
                let stored = spec.security_settings.encryption_settings.as_ref();
                Asked::read(request, backup_vault::ENCRYPTION_POINTER, stored)
            }
            Spec::RecoveryServices(spec) => {
                let pointer = recovery_services_vault::ENCRYPTION_POINTER;
                Asked::read(request, pointer, spec.encryption.as_ref())
                    .and_then(|asked| asked.try_map(EncryptionSettings::try_from))
            }
        };
        let Ok(asked @ (Asked::Settings(..) | Asked::Removal)) = asked else { return false };
        let applied = self.status.applied.as_ref();
        rules::wanted_encryption(&asked, None, applied)
            .is_ok_and(|wanted| wanted.as_ref() != applied)
    }

    /// The record with the present status, one revision on.
    pub fn into_record(self) -> Result<Record, Refusal> {
        let Self { record, status, spec } = self;
        match spec {
            Spec::Backup(spec) => Stored::<BackupVault> { record, spec, status }.into_record(),
            Spec::RecoveryServices(spec) => {
                Stored::<RecoveryServicesVault> { record, spec, status }.into_record()
            }
        }
    }

    /// The write that stores the present status.
    pub fn into_write(self) -> Result<Write, Refusal> {
        Ok(Write::Put(Box::new(self.into_record()?)))
    }

    /// Refuses to work with a vault that never got its key.
    pub fn require_usable(&self) -> Result<(), Refusal> {
        rules::vault_is_usable(&self.record, &self.status)
    }
}

impl From<Stored<BackupVault>> for Vault {
    fn from(stored: Stored<BackupVault>) -> Self {
        let Stored { record, spec, status } = stored;
        Self { record, status, spec: Spec::Backup(spec) }
    }
}

impl From<Stored<RecoveryServicesVault>> for Vault {
    fn from(stored: Stored<RecoveryServicesVault>) -> Self {
        let Stored { record, spec, status } = stored;
        Self { record, status, spec: Spec::RecoveryServices(spec) }
    }
}

fn is_a<K: Kind>(record: &Record) -> bool {
    record.id.resource_type().as_str().eq_ignore_ascii_case(K::TYPE)
}

/// The items in a vault, also in one that is deleted softly.
pub fn items_of<'w>(vault: &ResourceId, world: &'w World) -> Result<Vec<&'w Record>, Stop> {
    let mut all = Vec::new();
    for kind in ITEM_TYPES {
        all.extend(world.below(vault, &format!("{}/{kind}", vault.resource_type()))?);
    }
    Ok(all)
}

/// Deletes a vault that holds nothing; one that does is named with what it holds. `az` looks for
/// the words "existing resources within the vault".
pub(crate) fn plan_delete(id: &ResourceId, world: &World) -> Result<Removal, Stop> {
    let items = items_of(id, world)?;
    if !items.is_empty() {
        let text = format!(
            "Vault cannot be deleted as there are existing resources within the vault: {id} still \
             holds {} item(s): {}",
            items.len(),
            named(&items)
        );
        return Err(Refusal::new(409, "VaultHoldsItems", text)
            .with_fix(
                "custody backup item delete --name ITEM for each, and wait until soft-deleted ones \
                 are gone",
            )
            .into());
    }
    let task = Task { name: crate::TASK_DELETE_VAULT.into(), input: Value::Null };
    Ok(Removal { task: Some(task), writes: Vec::new() })
}

/// What blocks a deletion: items by name, those that go by themselves with the time when they do.
fn named(items: &[&Record]) -> String {
    let name = |item: &&Record| {
        let name = item.id.name().unwrap_or_default();
        match item.status.pointer("/deletion/purgeAt").and_then(Value::as_str) {
            Some(gone_at) => format!("{name} (soft-deleted, gone at {gone_at})"),
            None => name.to_owned(),
        }
    };
    let mut all: Vec<String> = items.iter().take(BLOCKERS_NAMED_MAX).map(name).collect();
    all.extend((items.len() > BLOCKERS_NAMED_MAX).then(|| "…".to_owned()));
    all.join(", ")
}

/// One of these verbs.
pub(crate) fn act(action: &str, status: &VaultStatus, request: &Request<'_>) -> Act {
    let input = request.body.clone();
    let task = match action {
        "verify" => Task { name: crate::TASK_VERIFY.into(), input },
        "prune" => Task { name: crate::TASK_PRUNE.into(), input },
        "repair" => Task { name: crate::TASK_REPAIR.into(), input },
        _ => apply(ApplyEncryption { wanted: status.applied.clone(), create: false }),
    };
    Act { task: Some(task), ..Act::default() }
}
