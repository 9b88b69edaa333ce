//! What needs attention about the keys of a vault, each with the command that mends it.

use custody_ambient::Timestamp;
use custody_names::KeyVersion;
use serde::Serialize;

use super::{KeyFacts, KeyRole, KeyVersionFacts, days_between, wrapping_versions};
use crate::encryption::Failover;
use crate::key_probe::{ProbeHistory, ProbeResult};
use crate::rules::follows_newest_version;
use crate::vault::Vault;

/// From so many days before its expiry on a key is warned of.
const EXPIRES_SOON_DAYS: i64 = 30;
/// A standby that was not proven for so many days raises an alert (DESIGN §5).
const UNPROVEN_DAYS_MAX: i64 = 7;

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// Jobs fail by it, or the data can be lost by it.
    Error,
    /// It will come to that.
    Warning,
    /// It would be better otherwise.
    Advice,
}

/// What may need attention.
#[derive(Clone, Copy)]
enum Attention {
    KeyVaultGone,
    KeyGone,
    WrappingVersionGone,
    NewestVersionDisabled,
    NewestVersionNotYetValid,
    WrapsUnderOldVersion,
    NewerVersionAvailable,
    WrappingVersionDisabled,
    WrappingVersionNotYetValid,
    WrappingVersionExpired,
    KeyExpiresSoon,
    SoftDeleteOff,
    PurgeProtectionOff,
    NoRotationPolicy,
    StandbyKeyNotProven,
    KeyProbeFailed,
    FailoverAny,
}

impl Attention {
    fn code(self) -> &'static str {
        match self {
            Self::KeyVaultGone => "KeyVaultGone",
            Self::KeyGone => "KeyGone",
            Self::WrappingVersionGone => "WrappingVersionGone",
            Self::NewestVersionDisabled => "NewestVersionDisabled",
            Self::NewestVersionNotYetValid => "NewestVersionNotYetValid",
            Self::WrapsUnderOldVersion => "WrapsUnderOldVersion",
            Self::NewerVersionAvailable => "NewerVersionAvailable",
            Self::WrappingVersionDisabled => "WrappingVersionDisabled",
            Self::WrappingVersionNotYetValid => "WrappingVersionNotYetValid",
            Self::WrappingVersionExpired => "WrappingVersionExpired",
            Self::KeyExpiresSoon => "KeyExpiresSoon",
            Self::SoftDeleteOff => "SoftDeleteOff",
            Self::PurgeProtectionOff => "PurgeProtectionOff",
            Self::NoRotationPolicy => "NoRotationPolicy",
            Self::StandbyKeyNotProven => "StandbyKeyNotProven",
            Self::KeyProbeFailed => "KeyProbeFailed",
            Self::FailoverAny => "FailoverAny",
        }
    }
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// How urgent it is.
    pub severity: Severity,
    /// Its code.
    pub code: &'static str,
    /// What it is.
    pub message: String,
    /// The command that mends it.
    pub fix: String,
}

/// Everything that needs attention, the worst first.
pub(super) fn of(
    vault: &Vault,
    keys: &[KeyFacts],
    history: &ProbeHistory,
    now: Timestamp,
) -> Vec<Warning> {
    let mut all = Vec::new();
    for facts in keys {
        let desk = Desk { vault, facts, now };
        match (&facts.holder, facts.versions.first()) {
            (None, _) => all.push(desk.holder_is_gone()),
            (Some(_), None) => all.push(desk.key_is_gone()),
            (Some(_), Some(newest)) => {
                desk.versions(newest, &mut all);
                desk.holder(&mut all);
                desk.rotation(newest, &mut all);
            }
        }
        if facts.role == KeyRole::Standby {
            all.extend(desk.unproven(history));
        }
    }
    if keys.len() > 1
        && vault.status.applied.as_ref().is_some_and(|now| now.failover == Failover::Any)
    {
        all.push(either_key_opens(vault));
    }
    for probe in history.last_round().filter(|probe| probe.result != ProbeResult::Succeeded) {
        let word = match probe.result {
            ProbeResult::Unreachable => "gave no answer",
            _ => "refused",
        };
        let why = probe.message.as_deref().unwrap_or_default();
        all.push(Warning {
            severity: Severity::Error,
            code: Attention::KeyProbeFailed.code(),
            message: format!("the last probe {word}: {} {why}", probe.key_version),
            fix: probe.fix.clone().unwrap_or_else(|| "custody backup vault key-health".into()),
        });
    }
    all.sort_by_key(|warning| warning.severity);
    all
}

fn either_key_opens(vault: &Vault) -> Warning {
    let name = vault.record.id.name().unwrap_or_default();
    Warning {
        severity: Severity::Advice,
        code: Attention::FailoverAny.code(),
        message: "disabling one key alone does not revoke: either opens the vault".to_owned(),
        fix: format!("custody backup vault encryption update -n {name} --failover Stop"),
    }
}

/// One key of one vault.
struct Desk<'a> {
    vault: &'a Vault,
    facts: &'a KeyFacts,
    now: Timestamp,
}

impl Desk<'_> {
    fn warn(&self, severity: Severity, about: Attention, what: &str, fix: String) -> Warning {
        let message = format!("the key {} {what}", self.facts.key.key_uri);
        Warning { severity, code: about.code(), message, fix }
    }

    /// A command about the key.
    fn key_command(&self, verb: &str, flags: &str) -> String {
        let uri = &self.facts.key.key_uri;
        let place = format!("--vault-name {} --name {}", uri.vault, uri.key);
        format!("custody keyvault key {verb} {place} {flags}").trim_end().to_owned()
    }

    fn set(&self, version: &KeyVersion, flags: &str) -> String {
        self.key_command("set-attributes", &format!("--version {version} {flags}"))
    }

    fn holder_is_gone(&self) -> Warning {
        let name = &self.facts.key.key_uri.vault;
        let fix = format!("custody keyvault recover --name {name}");
        self.warn(Severity::Error, Attention::KeyVaultGone, "lies in a key vault that is gone", fix)
    }

    fn key_is_gone(&self) -> Warning {
        let fix = self.key_command("recover", "");
        self.warn(Severity::Error, Attention::KeyGone, "is deleted, or never was", fix)
    }

    /// The newest version, and those that wrap something.
    fn versions(&self, newest: &KeyVersionFacts, all: &mut Vec<Warning>) {
        let wrapping = wrapping_versions(self.vault, &self.facts.key.key_uri);
        let follows = follows_newest_version(&self.facts.key.key_uri);
        for (version, _) in &wrapping {
            match self.facts.version(version) {
                None => {
                    let what = format!("has no version {version} any more, which wraps data keys");
                    let fix = self.key_command("recover", "");
                    all.push(self.warn(
                        Severity::Error,
                        Attention::WrappingVersionGone,
                        &what,
                        fix,
                    ));
                }
                Some(known) => self.standing(known, all),
            }
        }
        let newest_wraps = wrapping.iter().any(|(version, _)| *version == newest.version);
        let only_newest = newest_wraps && wrapping.len() == 1;
        if wrapping.is_empty() || only_newest {
            return;
        }
        if !newest.enabled {
            let what = format!(
                "has a newest version, {}, that is disabled: vaults stay under the version before \
                 it",
                newest.version
            );
            let fix = self.set(&newest.version, "--enabled true");
            all.push(self.warn(Severity::Warning, Attention::NewestVersionDisabled, &what, fix));
        } else if newest.not_before.is_some_and(|start| self.now < start) {
            let what = format!("has a newest version that is not valid yet: {}", newest.version);
            let fix = self.set(&newest.version, "--not-before 2020-01-01T00:00:00Z");
            all.push(self.warn(Severity::Advice, Attention::NewestVersionNotYetValid, &what, fix));
        } else if follows {
            let what = "has a newer version than wraps the data keys: an older one is needed yet";
            let fix = self.settings_again(&self.facts.key.key_uri.to_string());
            all.push(self.warn(Severity::Warning, Attention::WrapsUnderOldVersion, what, fix));
        } else {
            let what = "has a newer version than the vault is pinned to";
            let fix =
                self.settings_again(&self.facts.key.key_uri.at(newest.version.clone()).to_string());
            all.push(self.warn(Severity::Advice, Attention::NewerVersionAvailable, what, fix));
        }
    }

    /// The command that sets the key again, which wraps by it anew (rule 76).
    fn settings_again(&self, uri: &str) -> String {
        let name = self.vault.record.id.name().unwrap_or_default();
        let (tool, flag) = match (self.vault.is_recovery_services(), self.facts.role) {
            (true, _) => ("az", "--encryption-key-id"),
            (false, KeyRole::Primary) => ("custody", "--encryption-key-id"),
            (false, KeyRole::Standby) => ("custody", "--standby-key"),
        };
        format!("{tool} backup vault encryption update --name {name} {flag} {uri}")
    }

    /// A version that is needed: whether it may be used, and for how long yet (rules 17 and 18).
    fn standing(&self, known: &KeyVersionFacts, all: &mut Vec<Warning>) {
        let version = &known.version;
        if !known.enabled {
            let what = format!("has its version {version} disabled, which wraps data keys");
            let fix = self.set(version, "--enabled true");
            all.push(self.warn(Severity::Error, Attention::WrappingVersionDisabled, &what, fix));
        }
        if known.not_before.is_some_and(|start| self.now < start) {
            let what = format!("has a version {version} that wraps data keys and is not valid yet");
            let fix = self.set(version, "--not-before 2020-01-01T00:00:00Z");
            all.push(self.warn(Severity::Error, Attention::WrappingVersionNotYetValid, &what, fix));
        }
        let Some(end) = known.expires else { return };
        let left = days_between(self.now, end);
        // A new version is followed; one that is pinned to must live on.
        let fix = if follows_newest_version(&self.facts.key.key_uri) && left >= 0 {
            self.key_command("rotate", "")
        } else {
            self.set(version, "--expires 2030-01-01T00:00:00Z")
        };
        if end <= self.now {
            let what = format!("has expired in its version {version}, which wraps data keys");
            all.push(self.warn(Severity::Error, Attention::WrappingVersionExpired, &what, fix));
        } else if left < EXPIRES_SOON_DAYS {
            let what = format!("expires in {left} day(s), in its version {version}");
            all.push(self.warn(Severity::Warning, Attention::KeyExpiresSoon, &what, fix));
        }
    }

    /// Rule 19 holds when a key is assigned; that it does later is for its owner to keep.
    fn holder(&self, all: &mut Vec<Warning>) {
        let Some(holder) = &self.facts.holder else { return };
        let name = &holder.name;
        if !holder.soft_delete {
            let flag = "--set properties.enableSoftDelete=true";
            let fix = format!("az keyvault update --name {name} {flag}");
            let what = "can be deleted for good at once: its key vault has no soft delete";
            all.push(self.warn(Severity::Warning, Attention::SoftDeleteOff, what, fix));
        }
        if !holder.purge_protection {
            let fix = format!("az keyvault update --name {name} --enable-purge-protection true");
            let what = "can be purged: its key vault has no purge protection";
            all.push(self.warn(Severity::Warning, Attention::PurgeProtectionOff, what, fix));
        }
    }

    fn rotation(&self, newest: &KeyVersionFacts, all: &mut Vec<Warning>) {
        if self.facts.rotation_policy.is_some() || !newest.enabled {
            return;
        }
        let uri = &self.facts.key.key_uri;
        let place = format!("--vault-name {} --name {}", uri.vault, uri.key);
        let fix = format!("az keyvault key rotation-policy update {place} --value FILE");
        all.push(self.warn(
            Severity::Advice,
            Attention::NoRotationPolicy,
            "is rotated by nobody",
            fix,
        ));
    }

    /// A standby that has not opened the vault for long is none.
    fn unproven(&self, history: &ProbeHistory) -> Option<Warning> {
        let key = self.facts.key.key_uri.versionless();
        let since = history.proven.get(&key).copied().or(self.vault.status.applied_at)?;
        let days = days_between(since, self.now);
        (days >= UNPROVEN_DAYS_MAX).then(|| {
            let what = format!("is the standby, and was not proven for {days} days");
            let fix = "custody backup vault key-health --probe".to_owned();
            self.warn(Severity::Error, Attention::StandbyKeyNotProven, &what, fix)
        })
    }
}
