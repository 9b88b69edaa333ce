//! What falls due by itself: the purge of what was soft-deleted long enough ago, rotations, vaults
//! that follow their keys, probes of keys, and the signature under the ledger.

use std::sync::Arc;

use custody_backup_vaults::{DeletedBackupVault, DeletedRecoveryServicesVault};
use custody_key_vault::{DeletedKeyVaultKind, DeletedManagedHsmKind, KeyEvent, RequestContext};
use custody_names::{CorrelationId, OperationId, ResourceId};
use custody_protection::Item;
use custody_resources::{Refusal, Request, SoftlyDeleted, Stored, Verb};
use serde_json::Value;

use crate::{Platform, fault, principal_of};

/// The api-version of requests that the platform makes of itself.
const API_VERSION: &str = "2026-02-01";

/// What one round of housekeeping did.
#[derive(Debug, Default)]
pub struct Housekeeping {
    /// Key vaults and managed HSMs whose purge date had come.
    pub purged_key_vaults: usize,
    /// Recovery Services vaults and Backup vaults whose purge date had come.
    pub purged_vaults: usize,
    /// Keys whose purge date had come.
    pub purged_keys: usize,
    /// What happened to keys by itself: new versions, and expiries that are near or past.
    pub key_events: Vec<KeyEvent>,
    /// Vaults that were rewrapped by their key's newest version.
    pub followed: usize,
    /// Vaults whose keys were probed.
    pub probed: usize,
    /// Items that were deleted so long ago that they are gone now.
    pub purged_items: usize,
    /// Backups and expiries that were begun by policies.
    pub scheduled: usize,
    /// What could not be done; the next round tries again.
    pub problems: Vec<Refusal>,
}

impl Housekeeping {
    /// How many there are; what could not be done is a problem of this round.
    fn total<const N: usize>(&mut self, purged: [Result<usize, Refusal>; N]) -> usize {
        let mut total = 0;
        for one in purged {
            match one {
                Ok(count) => total += count,
                Err(refusal) => self.problems.push(refusal),
            }
        }
        total
    }
}

impl Platform {
    /// Does what is due by now. One thing that fails does not keep the others from being done.
    pub fn housekeep(self: &Arc<Self>) -> Housekeeping {
        let mut done = Housekeeping::default();
        // First of all: a key that a drill left disabled keeps jobs from their data.
        done.problems.extend(self.end_abandoned_drills());
        let believed = self.believes_clock().unwrap_or_else(|refusal| {
            done.problems.push(refusal);
            false
        });
        if believed {
            self.give_up_what_is_over(&mut done);
        }
        match self.rotate_due_keys() {
            Ok(events) => done.key_events = events,
            Err(refusal) => done.problems.push(refusal),
        }
        // After the rotations, so that these are followed at once. What a vault's own job says to
        // who reads jobs is no problem of this round.
        done.followed = self.follow_keys().vaults;
        // After the rewraps, so that what is probed is what is in force. That a key is lost is no
        // problem of this round either: it is the vault's alert.
        match self.probe_keys() {
            Ok(count) => done.probed = count,
            Err(refusal) => done.problems.push(refusal),
        }
        self.begin_due_work(believed, &mut done);
        if let Err(error) = self.ledger.sign_head() {
            done.problems.push(Refusal::new(500, error.code(), error.to_string()));
        }
        done
    }

    /// Removes for good what was deleted and whose time is over.
    fn give_up_what_is_over(self: &Arc<Self>, done: &mut Housekeeping) {
        let key_vaults =
            [self.purge_due::<DeletedKeyVaultKind>(), self.purge_due::<DeletedManagedHsmKind>()];
        let vaults = [
            self.purge_due::<DeletedBackupVault>(),
            self.purge_due::<DeletedRecoveryServicesVault>(),
        ];
        done.purged_key_vaults = done.total(key_vaults);
        done.purged_vaults = done.total(vaults);
        match self.purge_due_keys() {
            Ok(count) => done.purged_keys = count,
            Err(refusal) => done.problems.push(refusal),
        }
    }

    /// Whether any recovery point was made here.
    pub fn holds_recovery_points(&self) -> Result<bool, Refusal> {
        let items = self.look(|world| Item::below(&ResourceId::root(), world))?;
        Ok(items.iter().any(|item| item.status.newest_point_time.is_some()))
    }

    /// Purges what was deleted and whose date has come (rule 125: purge protection ends there).
    fn purge_due<K: SoftlyDeleted>(self: &Arc<Self>) -> Result<usize, Refusal> {
        let now = self.clock.now();
        let mut due = Vec::new();
        let looked = self.records.view(&mut |world| {
            due.clear();
            for record in world.below(&ResourceId::root(), K::TYPE)? {
                let stored = Stored::<K>::read(record)?;
                if K::purge_at(&stored) <= now {
                    due.push(stored.record.id);
                }
            }
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        let mut purged = 0;
        for id in due {
            let request = self.own_request(id, Verb::Action("purge".to_owned()))?;
            let answer = self.decide(&request);
            match answer {
                Ok(answer) => {
                    purged += 1;
                    if let Some(operation) = answer.operation {
                        self.carry_out(operation);
                    }
                }
                // Another process is at it.
                Err(refusal) if refusal.status == 409 => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(purged)
    }

    fn purge_due_keys(&self) -> Result<usize, Refusal> {
        let context = self.own_context()?;
        let purged = self.key_vaults.purge_expired(&principal_of(&self.administrator()), &context);
        Ok(purged.map_err(|error| fault::of_key_vault(&error))?.len())
    }

    /// Rotates the keys whose policy says so, and tells of expiries that are near or past.
    fn rotate_due_keys(&self) -> Result<Vec<KeyEvent>, Refusal> {
        let context = self.own_context()?;
        let events = self.key_vaults.tick(&principal_of(&self.administrator()), &context);
        events.map_err(|error| fault::of_key_vault(&error))
    }

    fn own_context(&self) -> Result<RequestContext, Refusal> {
        Ok(RequestContext {
            trusted: true,
            ..RequestContext::begun(self.clock.as_ref(), self.mint_correlation()?)
        })
    }

    pub(crate) fn own_request(&self, id: ResourceId, verb: Verb) -> Result<Request<'_>, Refusal> {
        let entropy = self.entropy.as_ref();
        let mut caller = self.administrator();
        if id.subscription_id().is_some() {
            // What falls due is the platform's to do, whosever it is.
            caller.tenant = self.tenant_around(&id)?;
        }
        Ok(Request {
            id,
            listed: None,
            verb,
            body: Value::Null,
            api_version: API_VERSION.to_owned(),
            if_match: None,
            caller,
            correlation: self.mint_correlation()?,
            operation: OperationId::mint(entropy)
                .map_err(|error| Refusal::bug(error.to_string()))?,
            owner: self.owner.clone(),
            now: self.clock.now(),
            entropy,
            hosts: custody_resources::Hosts::default(),
        })
    }

    pub(crate) fn mint_correlation(&self) -> Result<CorrelationId, Refusal> {
        CorrelationId::mint(self.entropy.as_ref()).map_err(|error| Refusal::bug(error.to_string()))
    }
}
