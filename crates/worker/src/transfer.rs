//! A subscription passes to another tenant of this installation (rule 41).
//!
//! What was granted to principals of the old tenant ends: role assignments, access policies, and the
//! identities of vaults. Key vaults pass along with their keys, so that a vault comes to life again
//! as soon as it has an identity in the new tenant, that identity its grant, and the encryption
//! settings name it.

use std::sync::Arc;

use custody_access::OWNER;
use custody_backup_vaults::{
    BackupVault, DeletedVaultView, GuardedVault as _, RecoveryServicesVault, Vault,
};
use custody_directory::{
    GroupedSubscription, IdentityStatus, RoleAssignmentKind, Subscription, UserAssignedIdentity,
    principal_of, role_definition_id, tenant_id,
};
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, KeyVaultKind, KeyVaultRef, ManagedHsmKind,
    RequestContext, VaultOperation, deleted_key_vault_ref, key_vault_claim, key_vault_ref,
};
use custody_names::{ClientId, KeyUri, PrincipalId, ResourceId, SubscriptionId, TenantId};
use custody_record_store::OperationFilter;
use custody_resources::{Kind, Record, Refusal, Stop, Stored, Target, World, Write};
use serde::Serialize;

use crate::directory::{Author, no_randomness};
use crate::key_access::PLATFORM_KEY_VAULT;
use crate::{Platform, fault};

/// The permission that a transfer needs at the root: it concerns two tenants.
const TRANSFER: &str = "Microsoft.Authorization/tenants/write";
/// Most running operations that are looked for.
const RUNNING_MAX: usize = 10_000;

/// What a transfer does, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The tenant it belonged to.
    pub from: TenantId,
    /// The tenant it belongs to from now on.
    pub to: TenantId,
    /// Whether it was done; otherwise it was only asked for.
    pub transferred: bool,
    /// Who is Owner of the subscription from now on: the owners of the new tenant's directory.
    pub owners: Vec<PrincipalId>,
    /// Role assignments that end.
    pub role_assignments: usize,
    /// Vaults that cannot use their key until they have an identity anew.
    pub vaults: Vec<StoppedVault>,
    /// Key vaults that pass along.
    pub key_vaults: Vec<PassedKeyVault>,
    /// User-assigned identities that are other principals from now on, of the new tenant.
    pub identities: Vec<ResourceId>,
    /// What keeps it from being done.
    pub blockers: Vec<Blocker>,
}

/// A vault that loses its identities.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoppedVault {
    /// The vault, as it stands or as it is deleted.
    pub id: ResourceId,
    /// The keys that it is under.
    pub keys: Vec<KeyUri>,
}

/// A key vault that passes to the new tenant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedKeyVault {
    /// The key vault.
    pub id: ResourceId,
    /// Access policies that end.
    pub access_policies: usize,
}

/// Something that keeps a transfer from being done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// What it is about.
    pub id: String,
    /// Why.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// A transfer with what it changes.
struct Planned {
    transfer: Transfer,
    writes: Vec<Write>,
    /// The key vaults, bound to the old tenant.
    key_vaults: Vec<KeyVaultRef>,
}

impl Platform {
    /// Rule 41: moves a subscription to another tenant, or says what that would mean. Repeated after
    /// an interruption it finishes what was left.
    ///
    /// # Errors
    /// Refuses without the right to at the root, without such a subscription or tenant, and
    /// (`SubscriptionCannotBeTransferred`) where something would be lost by it.
    pub fn transfer_subscription(
        self: &Arc<Self>,
        author: Author<'_>,
        subscription: SubscriptionId,
        to: TenantId,
        dry_run: bool,
    ) -> Result<Transfer, Refusal> {
        if !self.has_tenant(to)? {
            let text = format!("there is no tenant {to} here");
            return Err(Refusal::new(404, "TenantNotFound", text)
                .with_fix("GET /custody/tenants lists those there are"));
        }
        let running = self.running_in(subscription)?;
        let mut planned = None;
        let applied = self.records.apply(&mut |world| {
            self.engine.permit(author.caller, TRANSFER, &ResourceId::root(), world)?;
            let mut found = self.plan_transfer(author, subscription, to, world)?;
            found.transfer.blockers.extend(running.iter().cloned().map(still_running));
            let mut writes = Vec::new();
            if !dry_run {
                require_free(&found.transfer)?;
                found.transfer.transferred = true;
                writes = std::mem::take(&mut found.writes);
            }
            planned = Some(found);
            Ok(writes)
        });
        applied.map_err(fault::of_apply)?;
        let planned =
            planned.ok_or_else(|| Refusal::bug("a transfer was applied but not planned"))?;
        if !dry_run {
            self.hand_over(author, &planned.key_vaults, to)?;
        }
        Ok(planned.transfer)
    }

    /// Binds the keys to their new tenant. The records say so already: who is interrupted here
    /// repeats the transfer.
    fn hand_over(
        &self,
        author: Author<'_>,
        key_vaults: &[KeyVaultRef],
        to: TenantId,
    ) -> Result<(), Refusal> {
        let context = RequestContext {
            trusted: true,
            ..RequestContext::begun(self.clock.as_ref(), author.correlation)
        };
        let caller = principal_of(author.caller);
        for vault in key_vaults {
            self.key_vaults
                .perform_on_vault(&caller, vault, VaultOperation::HandOver(to), &context)
                .map_err(|error| fault::of_key_vault(&error).with_fix("repeat the transfer"))?;
        }
        Ok(())
    }

    fn running_in(&self, subscription: SubscriptionId) -> Result<Vec<ResourceId>, Refusal> {
        let place = ResourceId::subscription(subscription);
        let running = self.records.operations(&OperationFilter::Unfinished, RUNNING_MAX);
        let running = running.map_err(|error| fault::of_store(&error))?;
        let resources = running.into_iter().map(|tracked| tracked.operation.resource);
        Ok(resources.filter(|resource| place.contains(resource)).collect())
    }

    fn plan_transfer(
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
}

impl Platform {
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

fn still_running(resource: ResourceId) -> Blocker {
    Blocker {
        message: format!("an operation on {resource} has not ended yet"),
        id: resource.to_string(),
        fix: "wait until it has ended, or cancel it".to_owned(),
    }
}

fn require_free(transfer: &Transfer) -> Result<(), Refusal> {
    let Some(first) = transfer.blockers.first() else { return Ok(()) };
    let more = match transfer.blockers.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more, which a dry run lists"),
    };
    let text = format!("the subscription cannot be transferred: {}{more}", first.message);
    Err(Refusal::new(409, "SubscriptionCannotBeTransferred", text).with_fix(first.fix.clone()))
}
