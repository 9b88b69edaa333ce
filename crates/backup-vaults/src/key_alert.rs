//! What keeps a vault's jobs from its key: one alert a cause, however many jobs fail by it.

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use serde::{Deserialize, Serialize};

/// So many alerts are kept of a vault; the oldest that are resolved go first.
const ALERTS_KEPT_MAX: usize = 16;
/// The status of a failure that passes by itself: the key vault gave no answer.
const UNREACHABLE: u16 = 503;

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
    /// When the first job failed.
    pub since: Timestamp,
    /// When the last did.
    pub last_seen: Timestamp,
    /// How many did.
    pub jobs: u64,
    /// When a job succeeded again; none while the cause stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}

impl KeyAlert {
    /// Whether the cause still stands.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }

    /// Notes that a job failed by the vault's key. Returns whether the cause is new.
    pub fn raise(all: &mut Vec<Self>, error: &Refusal, now: Timestamp) -> bool {
        let unreachable = error.status == UNREACHABLE;
        let same = |alert: &&mut Self| {
            alert.is_open() && alert.code == error.code && alert.unreachable == unreachable
        };
        if let Some(alert) = all.iter_mut().find(same) {
            alert.last_seen = now;
            alert.jobs = alert.jobs.saturating_add(1);
            alert.message.clone_from(&error.message);
            alert.fix.clone_from(&error.fix);
            return false;
        }
        all.push(Self {
            code: error.code.to_string(),
            unreachable,
            message: error.message.clone(),
            fix: error.fix.clone(),
            since: now,
            last_seen: now,
            jobs: 1,
            resolved_at: None,
        });
        while all.len() > ALERTS_KEPT_MAX {
            let oldest = all.iter().position(|alert| !alert.is_open()).unwrap_or_default();
            all.remove(oldest);
        }
        true
    }

    /// Notes that the key could be used again. Returns whether any cause stood.
    pub fn resolve(all: &mut [Self], now: Timestamp) -> bool {
        let mut any = false;
        for alert in all.iter_mut().filter(|alert| alert.is_open()) {
            alert.resolved_at = Some(now);
            any = true;
        }
        any
    }
}
