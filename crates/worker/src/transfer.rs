//! A subscription passes to another tenant of this installation (rule 41).
//!
//! What was granted to principals of the old tenant ends: role assignments, access policies, and the
//! identities of vaults. Key vaults pass along with their keys, so that a vault comes to life again
//! as soon as it has an identity in the new tenant, that identity its grant, and the encryption
//! settings name it.

mod plan;

use std::sync::Arc;

use custody_directory::principal_of;
use custody_key_vault::{KeyVaultRef, RequestContext, VaultOperation};
use custody_names::{KeyUri, PrincipalId, ResourceId, SubscriptionId, TenantId};
use custody_record_store::OperationFilter;
use custody_resources::Refusal;
use serde::Serialize;

use crate::directory::Author;
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
