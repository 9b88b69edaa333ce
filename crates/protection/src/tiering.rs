//! Which recovery points are to lie in an archive tier, by a policy. Pure. There is no archive tier yet:
//! the job that is to move them says so, and they stay where they are, for as long as both tiers
//! together were to keep them.

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use serde::Deserialize as _;
use serde_json::Value;

use crate::policy::not_supported;
use crate::retention::{Aging, Lasting, Unit, Which, oldest_first};
use crate::workload_policy::{Duration, lasting};

/// The age at which Azure begins to recommend points for the archive tier.
const RECOMMENDED_AFTER: Lasting = Lasting { count: 3, unit: Unit::Months };

/// When points are to be moved. One without rules moves none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tiering {
    rules: Vec<Move>,
}

/// One rule: which points, and how long after they were taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    pub(crate) which: Which,
    pub(crate) after: Lasting,
}

impl Tiering {
    /// A tiering by these rules.
    pub(crate) fn new(rules: Vec<Move>) -> Self {
        Self { rules }
    }

    /// The points of one item that are old enough at `now`, oldest first.
    pub fn due(&self, points: &[Aging], now: Timestamp) -> Vec<String> {
        let mut seen = vec![std::collections::BTreeSet::new(); self.rules.len()];
        let mut due = Vec::new();
        for point in oldest_first(points, now) {
            let mut is_due = false;
            for (rule, seen) in self.rules.iter().zip(&mut seen) {
                // Asked of every point: which is the first of its month depends on the older ones.
                is_due |=
                    rule.which.meets(point.taken, seen) && rule.after.after(point.taken) <= now;
            }
            if is_due {
                due.push(point.id.clone());
            }
        }
        due
    }
}

/// When points are to be moved to the archive tier; their retention counts from when they were
/// taken, wherever they lie.
pub(crate) fn of_workload(written: &Value) -> Result<Option<Move>, Refusal> {
    let after = match written.get("tieringMode").and_then(Value::as_str) {
        None | Some("DoNotTier" | "Invalid") => return Ok(None),
        Some("TierRecommended") => RECOMMENDED_AFTER,
        Some("TierAfter") => {
            let duration = Duration::deserialize(written).ok();
            lasting(duration.as_ref()).map_err(|_| {
                not_supported("TierAfter names a duration from 1 to 9999 and a durationType")
            })?
        }
        Some(other) => return Err(not_supported(format!("there is no tieringMode {other:?}"))),
    };
    Ok(Some(Move { which: Which::All, after }))
}
