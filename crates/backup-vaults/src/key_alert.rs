//! What keeps a vault's jobs from its key: one alert a cause, however many jobs fail by it.

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use serde::{Deserialize, Serialize};

/// So many alerts are kept of a vault; the oldest that are resolved go first.
const ALERTS_KEPT_MAX: usize = 16;
/// The status of a failure that passes by itself: the key vault gave no answer.
const UNREACHABLE: u16 = 503;

/// The code of a standby that was not proven for long.
pub const STANDBY_NOT_PROVEN: &str = "StandbyKeyNotProven";

/// How a cause was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A job failed by it.
    Job,
    /// A probe did, before any job had to.
    Probe,
    /// A job pauses by it and may yet go on.
    Pause,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyAlert {
    /// The code that the jobs failed with.
    pub code: String,
    /// Whether the key vault gave no answer, rather than a definite no.
    pub unreachable: bool,
    /// What the last of them said.
    pub message: String,
    /// The command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// When it was first met.
    pub since: Timestamp,
    /// When it was last met.
    pub last_seen: Timestamp,
    /// How many jobs failed by it.
    pub jobs: u64,
    /// How many probes did.
    #[serde(default, skip_serializing_if = "is_none")]
    pub probes: u64,
    /// How many jobs paused by it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pauses: u64,
    /// When the key could be used again; none while the cause stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}

impl KeyAlert {
    /// Whether the cause still stands.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }

    /// Notes that a vault's key could not be used. Returns whether the cause is new.
    pub fn raise(all: &mut Vec<Self>, error: &Refusal, by: Finding, now: Timestamp) -> bool {
        let unreachable = error.status == UNREACHABLE;
        let same = |alert: &&mut Self| {
            alert.is_open() && alert.code == error.code && alert.unreachable == unreachable
        };
        if let Some(alert) = all.iter_mut().find(same) {
            alert.last_seen = now;
            alert.count(by);
            alert.message.clone_from(&error.message);
            alert.fix.clone_from(&error.fix);
            return false;
        }
        let mut alert = Self {
            code: error.code.to_string(),
            unreachable,
            message: error.message.clone(),
            fix: error.fix.clone(),
            since: now,
            last_seen: now,
            jobs: 0,
            probes: 0,
            pauses: 0,
            resolved_at: None,
        };
        alert.count(by);
        all.push(alert);
        while all.len() > ALERTS_KEPT_MAX {
            let oldest = all.iter().position(|alert| !alert.is_open()).unwrap_or_default();
            all.remove(oldest);
        }
        true
    }

    fn count(&mut self, by: Finding) {
        let counter = match by {
            Finding::Job => &mut self.jobs,
            Finding::Probe => &mut self.probes,
            Finding::Pause => &mut self.pauses,
        };
        *counter = counter.saturating_add(1);
    }

    /// Notes that the vault's data could be used again. Returns whether any cause stood. That a standby
    /// was not proven stands until it is: the vault opens without it.
    pub fn resolve(all: &mut [Self], now: Timestamp) -> bool {
        Self::resolve_those(all, now, |code| code != STANDBY_NOT_PROVEN)
    }

    /// Notes that the standby is none that was not proven for long. Returns whether it was.
    pub fn resolve_standby(all: &mut [Self], now: Timestamp) -> bool {
        Self::resolve_those(all, now, |code| code == STANDBY_NOT_PROVEN)
    }

    fn resolve_those(all: &mut [Self], now: Timestamp, meant: impl Fn(&str) -> bool) -> bool {
        let mut any = false;
        for alert in all.iter_mut().filter(|alert| alert.is_open() && meant(&alert.code)) {
            alert.resolved_at = Some(now);
            any = true;
        }
        any
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}
