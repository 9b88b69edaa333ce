//! Nothing that a key blocks fails silently: a vault's record says since when and why (rules 62–64).

use std::sync::atomic::{AtomicU64, Ordering};

use custody_backup_vaults::{
    ApplyEncryption, Finding, KeyAlert, TASK_APPLY_ENCRYPTION, TASK_PRUNE, TASK_REPAIR,
    TASK_VERIFY, Vault,
};
use custody_names::ResourceId;
use custody_protection::{TASK_BACKUP, TASK_EXPIRE, TASK_RESTORE, TASK_TIER};
use custody_resources::{Operation, Refusal};
use serde::Deserialize as _;

use crate::{Platform, fault, keks};

/// The tasks that need the vault's key.
const KEY_TASKS: [&str; 8] = [
    TASK_APPLY_ENCRYPTION,
    TASK_BACKUP,
    TASK_EXPIRE,
    TASK_PRUNE,
    TASK_REPAIR,
    TASK_RESTORE,
    TASK_TIER,
    TASK_VERIFY,
];

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct KeyFailures {
    jobs: AtomicU64,
    alerts: AtomicU64,
}

impl KeyFailures {
    /// Jobs that failed because their vault's key could not be used.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Causes that kept a vault from its key, each counted once.
    pub fn alerts(&self) -> u64 {
        self.alerts.load(Ordering::Relaxed)
    }
}

/// What became of a vault's alerts.
struct Noted {
    is_changed: bool,
    /// Whether a cause is there that was not before.
    is_new: bool,
}

impl Noted {
    fn resolved(is_changed: bool) -> Self {
        Self { is_changed, is_new: false }
    }

    fn raised(is_new: bool) -> Self {
        Self { is_changed: true, is_new }
    }
}

impl Platform {
    /// Notes with the vault what a probe found: the same alert that a job would raise, before one has
    /// to, or that its cause is gone. `unproven` is what there is to say of the standby of a vault that
    /// opens.
    pub(crate) fn note_key_probe(
        &self,
        vault: &ResourceId,
        failure: Option<&Refusal>,
        unproven: Option<&Refusal>,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.change_alerts(vault, &|alerts| {
            let opens = failure.is_none() && KeyAlert::resolve(alerts, now);
            match failure.or(unproven) {
                None => Noted::resolved(KeyAlert::resolve_standby(alerts, now) || opens),
                Some(error) => Noted::raised(KeyAlert::raise(alerts, error, Finding::Probe, now)),
            }
        })
    }

    /// Notes with the vault what a drill or a job that pauses found, or that its cause is gone.
    pub(crate) fn note_key_finding(
        &self,
        vault: &ResourceId,
        failure: Option<&Refusal>,
        by: Finding,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.change_alerts(vault, &|alerts| match failure {
            None => Noted::resolved(KeyAlert::resolve(alerts, now)),
            Some(error) => Noted::raised(KeyAlert::raise(alerts, error, by, now)),
        })
    }

    fn change_alerts(
        &self,
        vault: &ResourceId,
        change: &dyn Fn(&mut Vec<KeyAlert>) -> Noted,
    ) -> Result<(), Refusal> {
        let mut raised = false;
        let noted = self.records.apply(&mut |world| {
            raised = false;
            let Some(record) = world.record(vault)? else { return Ok(Vec::new()) };
            let mut found = Vault::read(record)?;
            let noted = change(&mut found.status.key_alerts);
            raised = noted.is_new;
            if noted.is_changed { Ok(vec![found.into_write()?]) } else { Ok(Vec::new()) }
        });
        noted.map_err(fault::of_apply)?;
        self.key_failures.alerts.fetch_add(u64::from(raised), Ordering::Relaxed);
        Ok(())
    }

    /// Notes with the vault how an operation ends, as far as its key is concerned (rules 62–64): one
    /// alert a cause, resolved by the next success. `failure` is none if it succeeded.
    pub(crate) fn note_key_use(
        &self,
        operation: &Operation,
        failure: Option<&Refusal>,
    ) -> Result<(), Refusal> {
        let task = operation.task.name.as_str();
        let by_key = failure.is_none_or(|error| keks::says_key_is_lost(&error.code));
        let vault = Vault::around(&operation.resource).filter(|_| KEY_TASKS.contains(&task));
        let Some(vault) = vault.filter(|_| by_key) else { return Ok(()) };
        let now = self.clock.now();
        let mut raised = false;
        let noted = self.records.apply(&mut |world| {
            raised = false;
            let Some(record) = world.record(&vault)? else { return Ok(Vec::new()) };
            let mut found = Vault::read(record)?;
            let alerts = &mut found.status.key_alerts;
            let changed = match failure {
                None => KeyAlert::resolve(alerts, now),
                // A key that is asked for and not taken is no key that was lost.
                Some(_) if asks_for_another_key(operation, record)? => false,
                Some(error) => {
                    raised = KeyAlert::raise(alerts, error, Finding::Job, now);
                    true
                }
            };
            if changed { Ok(vec![found.into_write()?]) } else { Ok(Vec::new()) }
        });
        noted.map_err(fault::of_apply)?;
        if failure.is_some() {
            self.key_failures.jobs.fetch_add(1, Ordering::Relaxed);
            self.key_failures.alerts.fetch_add(u64::from(raised), Ordering::Relaxed);
        }
        Ok(())
    }
}

fn asks_for_another_key(
    operation: &Operation,
    record: &custody_resources::Record,
) -> Result<bool, Refusal> {
    if operation.task.name != TASK_APPLY_ENCRYPTION {
        return Ok(false);
    }
    let input = ApplyEncryption::deserialize(&operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    Ok(input.wanted != Vault::read(record)?.status.applied)
}
