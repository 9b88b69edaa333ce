//! What a transfer changes, decided on the records.

use custody_access::OWNER;
use custody_backup_vaults::{
    BackupVault, DeletedVaultView, GuardedVault as _, RecoveryServicesVault, Vault,
};
use custody_directory::{
    GroupedSubscription, IdentityStatus, RoleAssignmentKind, Subscription, UserAssignedIdentity,
    role_definition_id, tenant_id,
};
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, KeyVaultKind, KeyVaultRef, ManagedHsmKind,
    deleted_key_vault_ref, key_vault_claim, key_vault_ref,
};
use custody_names::{ClientId, KeyUri, PrincipalId, ResourceId, SubscriptionId, TenantId};
use custody_resources::{Kind, Record, Stop, Stored, Target, World, Write};

use super::{Blocker, PassedKeyVault, StoppedVault, TRANSFER, Transfer};
use crate::Platform;
use crate::directory::{Author, no_randomness};
use crate::key_access::PLATFORM_KEY_VAULT;

/// A transfer with what it changes.
pub(super) struct Planned {
    pub(super) transfer: Transfer,
    pub(super) writes: Vec<Write>,
    /// The key vaults, bound to the old tenant.
    pub(super) key_vaults: Vec<KeyVaultRef>,
}

impl Platform {
    pub(super) fn plan_transfer(
        &self,
        author: Author<'_>,
        subscription: SubscriptionId,
        to: TenantId,
        world: &World,
    ) -> Result<Planned, Stop> {
        let place = ResourceId::subscription(subscription);
        let mut stored = world.expect::<Subscription>(&place)?;
        let from = stored.status.tenant_id;
        let mut planned = Planned {
            transfer: Transfer {
                subscription_id: subscription,
                from,
                to,
                transferred: false,
                owners: Vec::new(),
                role_assignments: 0,
                vaults: Vec::new(),
                key_vaults: Vec::new(),
                identities: Vec::new(),
                blockers: Vec::new(),
            },
            writes: vec![Write::RaiseRevocation],
            key_vaults: Vec::new(),
        };
        planned.take_key_vaults(&place, to, world)?;
        if from == to {
            // Done before; what may be left is to bind the keys.
            planned.writes.clear();
            return Ok(planned);
        }
        if subscription == self.installation.subscription_id {
            planned.block(&place, "is the installation's own subscription", "name another one");
        }
        stored.status.tenant_id = to;
        planned.writes.push(stored.into_write()?);
        planned.end_grants(&place, world)?;
        planned.detach_identities(&place, world)?;
        self.renew_identities(&mut planned, &place, to, world)?;
        planned.find_foreign_keys(&place, world)?;
        for owner in owners(to, world)? {
            planned.transfer.owners.push(owner);
            planned.writes.push(self.owner(author, &place, owner)?);
        }
        planned.writes.push(self.directory_event(author, TRANSFER, place));
        Ok(planned)
    }

    /// User-assigned identities become principals of the new tenant: nobody there is to act as one of
    /// the old tenant, which may have grants of its own.
    fn renew_identities(
        &self,
        planned: &mut Planned,
        place: &ResourceId,
        to: TenantId,
        world: &World,
    ) -> Result<(), Stop> {
        let entropy = self.entropy.as_ref();
        for record in world.below(place, UserAssignedIdentity::TYPE)? {
            let mut stored = Stored::<UserAssignedIdentity>::read(record)?;
            stored.status = IdentityStatus {
                principal_id: PrincipalId::mint(entropy).map_err(no_randomness)?,
                client_id: ClientId::mint(entropy).map_err(no_randomness)?,
                tenant_id: to,
            };
            planned.writes.push(stored.into_write()?);
            planned.transfer.identities.push(record.id.clone());
        }
        Ok(())
    }
}

impl Planned {
    fn block(&mut self, id: &ResourceId, why: &str, fix: &str) {
        let (message, fix) = (format!("{id} {why}"), fix.to_owned());
        self.transfer.blockers.push(Blocker { id: id.to_string(), message, fix });
    }

    /// Key vaults, deleted ones too, pass along without the access policies of the old tenant's
    /// principals. Managed HSMs do not, as in Azure.
    fn take_key_vaults(
        &mut self,
        place: &ResourceId,
        to: TenantId,
        world: &World,
    ) -> Result<(), Stop> {
        for record in world.below(place, KeyVaultKind::TYPE)? {
            let mut stored = Stored::<KeyVaultKind>::read(record)?;
            self.key_vaults.push(key_vault_ref(&stored)?);
            let policies = stored.spec.access_policies.replace(Vec::new());
            let access_policies = policies.map_or(0, |policies| policies.len());
            let id = record.id.clone();
            self.transfer.key_vaults.push(PassedKeyVault { id, access_policies });
            stored.spec.tenant_id = Some(to);
            self.writes.push(stored.into_write()?);
        }
        for record in world.below(place, DeletedKeyVaultKind::TYPE)? {
            let mut stored = Stored::<DeletedKeyVaultKind>::read(record)?;
            self.key_vaults.push(deleted_key_vault_ref(&stored)?);
            stored.status.tenant_id = to;
            let mut was = Stored::<KeyVaultKind>::read(&stored.status.vault)?;
            was.spec.tenant_id = Some(to);
            was.spec.access_policies = Some(Vec::new());
            let revision = was.record.revision;
            stored.status.vault = Record { revision, ..was.into_record()? };
            let id = record.id.clone();
            self.transfer.key_vaults.push(PassedKeyVault { id, access_policies: 0 });
            self.writes.push(stored.into_write()?);
        }
        for kind in [ManagedHsmKind::TYPE, DeletedManagedHsmKind::TYPE] {
            for record in world.below(place, kind)? {
                let why = "is a managed HSM: they stay with their tenant";
                self.block(&record.id, why, "delete it, and purge it, first");
            }
        }
        Ok(())
    }

    /// Everything that was granted, and the place below a management group.
    fn end_grants(&mut self, place: &ResourceId, world: &World) -> Result<(), Stop> {
        for record in world.below(place, RoleAssignmentKind::TYPE)? {
            self.transfer.role_assignments += 1;
            self.writes.push(Write::Remove(record.id.clone()));
        }
        for record in world.below(&ResourceId::root(), GroupedSubscription::TYPE)? {
            if record.id.name() == place.name() {
                self.writes.push(Write::Remove(record.id.clone()));
            }
        }
        Ok(())
    }

    /// The principals belong to the old tenant.
    fn detach_identities(&mut self, place: &ResourceId, world: &World) -> Result<(), Stop> {
        for mut vault in Vault::below(place, world)? {
            if vault.record.identity.take().is_some() {
                self.stop(&vault, vault.record.id.clone());
                self.writes.push(vault.into_write()?);
            }
        }
        for deleted in DeletedVaultView::below(place, world)? {
            if deleted.vault.record.identity.is_some() {
                self.stop(&deleted.vault, deleted.record.id.clone());
                self.writes.push(deleted.without_identity()?);
            }
        }
        Ok(())
    }

    fn stop(&mut self, vault: &Vault, id: ResourceId) {
        self.transfer.vaults.push(StoppedVault { id, keys: keys_of(&vault.record) });
    }

    /// A vault and its key must pass, or stay, together: what is in the vault were lost otherwise.
    fn find_foreign_keys(&mut self, place: &ResourceId, world: &World) -> Result<(), Stop> {
        let root = ResourceId::root();
        let deleted = DeletedVaultView::below(&root, world)?;
        let standing = Vault::below(&root, world)?;
        let standing = standing.iter().map(|vault| (&vault.record, &vault.record.id));
        let deleted = deleted.iter().map(|deleted| (&deleted.vault.record, &deleted.record.id));
        for (vault, id) in standing.chain(deleted) {
            for key in keys_of(vault) {
                let holder = world.claimant(&key_vault_claim(&key.vault))?;
                let Some(holder) = holder.filter(|_| key.vault.as_str() != PLATFORM_KEY_VAULT)
                else {
                    continue;
                };
                if place.contains(&holder.id) != place.contains(id) {
                    let why = format!("is under the key {key}, which would be another tenant's");
                    self.block(id, &why, "change it to a key in its own subscription first");
                }
            }
        }
        self.find_foreign_guards(place, world)
    }

    /// A guard of another tenant could never be asked, nor taken away.
    fn find_foreign_guards(&mut self, place: &ResourceId, world: &World) -> Result<(), Stop> {
        for kind in [RecoveryServicesVault::PROXY, BackupVault::PROXY] {
            for proxy in world.below(&ResourceId::root(), kind)? {
                let guarded_by =
                    proxy.references.iter().filter_map(|reference| match &reference.to {
                        Target::Resource(id) => id.parse::<ResourceId>().ok(),
                        Target::Key(_) | Target::KeyVersion(_) => None,
                    });
                for guard in guarded_by {
                    if place.contains(&guard) != place.contains(&proxy.id) {
                        let why = format!("names {guard}, which would be another tenant's");
                        self.block(&proxy.id, &why, "take the resource guard away first");
                    }
                }
            }
        }
        Ok(())
    }
}

fn keys_of(vault: &Record) -> Vec<KeyUri> {
    let keys = vault.references.iter().filter_map(|reference| match &reference.to {
        Target::Key(uri) => uri.parse::<KeyUri>().ok(),
        Target::Resource(_) | Target::KeyVersion(_) => None,
    });
    keys.filter(|key| key.vault.as_str() != PLATFORM_KEY_VAULT).collect()
}

/// The owners of a tenant's directory. Of the first tenant they are owners of everything.
fn owners(tenant: TenantId, world: &World) -> Result<Vec<PrincipalId>, Stop> {
    let owner = role_definition_id(OWNER);
    let mut all = Vec::new();
    for record in world.children(&tenant_id(tenant)?, RoleAssignmentKind::TYPE)? {
        let stored = Stored::<RoleAssignmentKind>::read(record)?;
        if stored.spec.role_definition_id == owner {
            all.push(stored.spec.principal_id);
        }
    }
    Ok(all)
}
