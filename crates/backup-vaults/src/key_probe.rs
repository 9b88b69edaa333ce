//! Probes: whether a vault could use its keys, asked before a job has to find out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use custody_ambient::Timestamp;
use custody_names::{KeyUri, KeyVersionUri};
use serde::{Deserialize, Serialize};

use crate::encryption::Failover;

/// So many results are kept of a vault: two days of an hourly probe.
pub const PROBES_KEPT_MAX: usize = 48;

/// How a key version answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// It gave back the data key that it wrapped.
    Succeeded,
    /// A definite no.
    Refused,
    /// No answer: unreachable is not refused.
    Unreachable,
    /// It gave back something else: the wrap is damaged or foreign.
    Failed,
}

/// One probe of one key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyProbe {
    /// When it was asked.
    pub time: Timestamp,
    /// The key version.
    pub key_version: KeyVersionUri,
    /// How long the answer took, in milliseconds.
    pub latency_ms: u64,
    /// The answer.
    pub result: ProbeResult,
    /// The code of what was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The probes of one vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeHistory {
    /// When the vault was last probed.
    pub probed_at: Option<Timestamp>,
    /// The last results, the newest last.
    pub results: VecDeque<KeyProbe>,
    /// How many of them are of the last round: one of each key version.
    pub of_last_round: usize,
    /// When each key last gave back what it wrapped.
    pub proven: BTreeMap<KeyUri, Timestamp>,
}

impl ProbeHistory {
    /// Whether the vault is to be probed again. A probe from the future, as a clock that was set back
    /// leaves it, does not count.
    pub fn is_due(&self, every: Duration, now: Timestamp) -> bool {
        self.next(every).is_none_or(|next| next <= now)
            || self.probed_at.is_some_and(|last| last > now)
    }

    /// When it is due.
    pub fn next(&self, every: Duration) -> Option<Timestamp> {
        self.probed_at?.checked_add(every).ok()
    }

    /// Notes a round of probes, and forgets the oldest. Of keys that were not asked nothing is kept
    /// but the results.
    pub fn add(&mut self, probes: &[KeyProbe], now: Timestamp) {
        self.probed_at = Some(now);
        self.of_last_round = probes.len();
        self.proven
            .retain(|key, _| probes.iter().any(|probe| probe.key_version.versionless() == *key));
        for probe in probes {
            if probe.result == ProbeResult::Succeeded {
                self.proven.insert(probe.key_version.versionless(), probe.time);
            }
            self.results.push_back(probe.clone());
        }
        while self.results.len() > PROBES_KEPT_MAX {
            self.results.pop_front();
        }
    }

    /// The results of the last round.
    pub fn last_round(&self) -> impl Iterator<Item = &KeyProbe> {
        self.results.iter().skip(self.results.len().saturating_sub(self.of_last_round))
    }
}

/// What keeps a vault's jobs from their data, after the failover rule: any refusal unless either key is
/// enough; no answer only if no key answers.
pub fn what_stops(probes: &[KeyProbe], failover: Failover) -> Option<&KeyProbe> {
    let mut keys: BTreeMap<KeyUri, Option<&KeyProbe>> = BTreeMap::new();
    for probe in probes {
        let worst = keys.entry(probe.key_version.versionless()).or_default();
        if probe.result != ProbeResult::Succeeded && worst.is_none() {
            *worst = Some(probe);
        }
    }
    let failed = |result| keys.values().flatten().find(|probe| probe.result == result);
    let damaged = failed(ProbeResult::Failed);
    let refused = failed(ProbeResult::Refused);
    let silent = failed(ProbeResult::Unreachable);
    let all_failed = !keys.is_empty() && keys.values().all(Option::is_some);
    match failover {
        Failover::Stop => damaged.or(refused).or(silent.filter(|_| all_failed)),
        Failover::Any => damaged.or(refused.or(silent).filter(|_| all_failed)),
    }
    .copied()
}
