//! Vaults follow the newest version of their key by themselves (rules 86, 87, 89): each vault that
//! is behind is rewrapped by an operation of its own, which shows as a job and in the activity log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_backup_vaults::{EncryptionSettings, Vault, rules, rules::Behind};
use custody_key_vault::Standing;
use custody_names::{KeyUri, KeyVersionUri, ResourceId};
use custody_resources::{OperationState, ProvisioningState, Refusal, Request, Verb};

use crate::at_once::a_few_at_once;
use crate::{Platform, fault};

/// Rule 89: a new version of a key is in use within the hour at the latest. With the embedded key
/// vault a change is seen at once; this long after the last look all vaults are looked at anyway,
/// since a version may have become valid by the time alone.
const FOLLOWED_WITHIN: Duration = Duration::from_hours(1);
/// So many vaults are rewrapped in one round; the next round goes on.
const VAULTS_A_ROUND_MAX: usize = 64;
/// So many at once.
const VAULTS_AT_ONCE: usize = 4;
/// A vault that could not follow is tried again after this time; its jobs try as they start.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// The platform, as the activity log and the jobs name it.
pub(crate) const PLATFORM_NAME: &str = "custody";

/// What the rounds before have seen and tried.
#[derive(Default)]
pub(crate) struct Following {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The counters of the last look, after which nothing was left to do.
    seen: Option<(u64, u64)>,
    /// When everything is looked at anyway, since boot.
    look_again: Duration,
    /// When those that failed are tried again, since boot.
    failed: HashMap<ResourceId, (Behind, Duration)>,
}

/// What one round did.
#[derive(Debug, Default)]
pub struct Followed {
    /// Vaults that are wrapped by their key's newest version now.
    pub vaults: usize,
    /// What kept others from it; the vault's job says so too, and it is tried again.
    pub problems: Vec<Refusal>,
}

impl Platform {
    /// Rewraps vaults whose key has a newer version than wraps them. Two numbers are read if nothing
    /// changed; else each vault's record and each key is looked at once.
    pub fn follow_keys(self: &Arc<Self>) -> Followed {
        let mut done = Followed::default();
        // Another thread of this process is at it.
        let Ok(mut state) = self.following.state.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) else {
            return done;
        };
        if let Err(problem) = self.follow(&mut state, &mut done) {
            done.problems.push(problem);
        }
        done
    }

    fn follow(self: &Arc<Self>, state: &mut State, done: &mut Followed) -> Result<(), Refusal> {
        // Read before the look: what changes during it is seen by the next.
        let counters = (
            self.records.revocation_counter().map_err(|error| fault::of_store(&error))?,
            self.key_vaults.store().changes().map_err(|error| fault::of_key_vault(&error))?,
        );
        let now = self.clock.since_boot();
        if state.seen == Some(counters) && now < state.look_again {
            return Ok(());
        }
        let behind = self.vaults_behind(&mut done.problems)?;
        state.failed.retain(|vault, (lack, again)| {
            *again > now && behind.iter().any(|(id, lacks)| id == vault && lacks == lack)
        });
        let mut due: Vec<&(ResourceId, Behind)> =
            behind.iter().filter(|(vault, _)| !state.failed.contains_key(vault)).collect();
        let mut all_tried = due.len() <= VAULTS_A_ROUND_MAX && done.problems.is_empty();
        due.truncate(VAULTS_A_ROUND_MAX);
        // One that fails does not hold up the others.
        let rewrapped = a_few_at_once(VAULTS_AT_ONCE, &due, |one| self.rewrap_as_platform(&one.0));
        for (one, result) in rewrapped {
            match result {
                Ok(()) => done.vaults += 1,
                // Something else is being done to the vault: the next round looks again.
                Err(refusal) if refusal.status == 409 => all_tried = false,
                Err(refusal) => {
                    let again = now.saturating_add(TRIED_AGAIN_AFTER);
                    state.failed.insert(one.0.clone(), (one.1.clone(), again));
                    done.problems.push(refusal);
                }
            }
        }
        let latest = now.saturating_add(FOLLOWED_WITHIN);
        let again = state.failed.values().map(|(_, again)| *again).min();
        state.look_again = again.unwrap_or(latest).min(latest);
        state.seen = all_tried.then_some(counters);
        Ok(())
    }

    fn rewrap_as_platform(self: &Arc<Self>, vault: &ResourceId) -> Result<(), Refusal> {
        let request = self.own_request(vault.clone(), Verb::Action("rewrap".to_owned()))?;
        let mut caller = request.caller.clone();
        PLATFORM_NAME.clone_into(&mut caller.name);
        let answer = self.decide(&Request { caller, ..request })?;
        let Some(id) = answer.operation else { return Ok(()) };
        self.carry_out(id);
        let ended = self.records.operation(id).map_err(|error| fault::of_store(&error))?;
        match ended.map(|tracked| tracked.operation) {
            Some(operation) if operation.state == OperationState::Failed => {
                let error = operation.error;
                Err(error.unwrap_or_else(|| Refusal::bug("an operation failed without a reason")))
            }
            _ => Ok(()),
        }
    }

    /// The vaults that follow their key and are not wrapped by its newest version, and those whose
    /// last change is unfinished.
    fn vaults_behind(
        &self,
        problems: &mut Vec<Refusal>,
    ) -> Result<Vec<(ResourceId, Behind)>, Refusal> {
        let mut following = Vec::new();
        let looked = self.records.view(&mut |world| {
            following.clear();
            let vaults = Vault::below(&ResourceId::root(), world)?;
            following.extend(vaults.into_iter().filter(|vault| {
                let deleting = vault.record.state == ProvisioningState::Deleting;
                vault.status.keyring.is_some() && !deleting
            }));
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        let mut newest: BTreeMap<KeyUri, Option<KeyVersionUri>> = BTreeMap::new();
        let mut behind = Vec::new();
        for vault in following {
            let keys = vault.status.applied.iter().flat_map(EncryptionSettings::addressed_keys);
            let keys =
                keys.map(|key| &key.key_uri).filter(|key| rules::follows_newest_version(key));
            let versions = keys.filter_map(|key| {
                if !newest.contains_key(key) {
                    // A key that cannot be looked at does not hold up the others.
                    let version = self.newest_active_version(key).unwrap_or_else(|problem| {
                        problems.push(problem);
                        None
                    });
                    newest.insert(key.clone(), version);
                }
                newest.get(key).cloned().flatten()
            });
            let lack = rules::behind(&vault.status, versions);
            behind.extend(lack.map(|lack| (vault.record.id, lack)));
        }
        Ok(behind)
    }

    /// The newest version of a key, if it may be used now. One that is disabled or not valid yet is
    /// not passed over for one before it: a key without a version means its newest one (rules 86
    /// and 88), whose owner took it out of use, and not one that he has replaced. Until it is enabled the
    /// vault stays as it is wrapped, and its key health says so. The platform asks its own key store which
    /// that is: no key is used, and whether a vault may use it is proven by the rewrap that follows.
    fn newest_active_version(&self, key: &KeyUri) -> Result<Option<KeyVersionUri>, Refusal> {
        let Some(facts) = self.key_holder(key)? else { return Ok(None) };
        let found = self.key_vaults.newest_version(&facts.vault, &key.key);
        let found = found.map_err(|error| fault::of_key_vault(&error))?;
        let active =
            found.filter(|found| found.attributes.standing(self.clock.now()) == Standing::Active);
        Ok(active.map(|found| found.id))
    }
}
