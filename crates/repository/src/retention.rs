//! Which points a retention policy keeps: grandfather, father, son.
//!
//! Pure, and by receipt time alone: the time in a point's commit entry, not what its source
//! claims. A point from the future counts for no rule, so nobody can push old points out of
//! retention with it (docs/formats/repository-log.md, "Forget and prune").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use custody_ambient::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::log::ObjectId;

/// How far ahead of the present a receipt time may lie before it is held for wrong: clocks of
/// well-kept hosts differ by less.
pub const FUTURE_TOLERANCE: Duration = Duration::from_mins(5);

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// How many points of each kind are kept. A policy that asks for nothing forgets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The newest so many points.
    pub last: u32,
    /// The newest point of each of the newest so many hours that have one.
    pub hourly: u32,
    /// The same for days.
    pub daily: u32,
    /// The same for ISO weeks.
    pub weekly: u32,
    /// The same for months.
    pub monthly: u32,
    /// The same for years.
    pub yearly: u32,
    /// Every point that is at most this much older than the newest.
    pub within: Option<Duration>,
}

/// A point as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The point.
    pub point: ObjectId,
    /// Its receipt time.
    pub received: Timestamp,
}

/// What becomes of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The point.
    pub point: ObjectId,
    /// Its receipt time.
    pub received: Timestamp,
    /// Why it is kept; empty if it is to be forgotten.
    pub kept_because: Vec<KeepReason>,
}

/// Why a point is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The policy has no rule.
    NoRule,
    /// Its receipt time lies in the future. It should be looked into.
    FromTheFuture,
    /// It is this many-th newest, from 1.
    Last(u32),
    /// It is the newest of this period.
    NewestOf(Period, String),
    /// It is young enough.
    Within(Duration),
}

/// The periods of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// An hour of the calendar.
    Hourly,
    /// A day.
    Daily,
    /// An ISO week.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl RetentionPolicy {
    /// Decides about the points of one item, at `now`, with the calendar of `zone`; newest first.
    pub fn select(&self, points: &[Candidate], now: Timestamp, zone: &TimeZone) -> Vec<Decision> {
        let mut newest_first = points.to_vec();
        newest_first.sort_by_key(|point| std::cmp::Reverse((point.received, point.point)));
        let latest_believed = now.saturating_add(FUTURE_TOLERANCE).unwrap_or(Timestamp::MAX);
        let (future, counted): (Vec<_>, Vec<_>) =
            newest_first.iter().copied().partition(|point| point.received > latest_believed);

        let mut reasons = BTreeMap::<ObjectId, Vec<KeepReason>>::new();
        for point in &future {
            reasons.entry(point.point).or_default().push(KeepReason::FromTheFuture);
        }
        for (point, reason) in self.reasons(&counted, zone) {
            reasons.entry(point).or_default().push(reason);
        }
        newest_first
            .into_iter()
            .map(|Candidate { point, received }| {
                let kept_because = reasons.get(&point).cloned().unwrap_or_default();
                Decision { point, received, kept_because }
            })
            .collect()
    }

    /// Every reason for every point of `counted`, which is sorted newest first.
    fn reasons(&self, counted: &[Candidate], zone: &TimeZone) -> Vec<(ObjectId, KeepReason)> {
        if *self == Self::default() {
            return counted.iter().map(|point| (point.point, KeepReason::NoRule)).collect();
        }
        let last = (1..=self.last).zip(counted);
        let mut reasons: Vec<_> =
            last.map(|(rank, point)| (point.point, KeepReason::Last(rank))).collect();
        let rules = [
            (Period::Hourly, self.hourly),
            (Period::Daily, self.daily),
            (Period::Weekly, self.weekly),
            (Period::Monthly, self.monthly),
            (Period::Yearly, self.yearly),
        ];
        for (period, periods) in rules {
            reasons.extend(newest_of_each(period, periods, counted, zone));
        }
        if let (Some(within), Some(newest)) = (self.within, counted.first()) {
            let oldest = newest.received.saturating_sub(within).unwrap_or(Timestamp::MIN);
            let young = counted.iter().filter(|point| point.received >= oldest);
            reasons.extend(young.map(|point| (point.point, KeepReason::Within(within))));
        }
        reasons
    }
}

/// The newest point of each of the newest `periods` periods that have one.
fn newest_of_each(
    period: Period,
    periods: u32,
    counted: &[Candidate],
    zone: &TimeZone,
) -> Vec<(ObjectId, KeepReason)> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for point in counted {
        let name = period.name_of(&point.received.to_zoned(zone.clone()));
        if seen.contains(&name) {
            continue;
        }
        if seen.len() as u64 >= u64::from(periods) {
            break;
        }
        seen.insert(name.clone());
        kept.push((point.point, KeepReason::NewestOf(period, name)));
    }
    kept
}

impl Period {
    fn name_of(self, time: &Zoned) -> String {
        match self {
            // With the offset: the hour that a clock change repeats is two hours.
            Self::Hourly => time.strftime("%Y-%m-%dT%H%:z").to_string(),
            Self::Daily => time.strftime("%Y-%m-%d").to_string(),
            Self::Weekly => time.strftime("%G-W%V").to_string(),
            Self::Monthly => time.strftime("%Y-%m").to_string(),
            Self::Yearly => time.strftime("%Y").to_string(),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule"),
            Self::FromTheFuture => f.write_str("receipt time lies in the future"),
            Self::Last(rank) => write!(f, "last {rank}"),
            Self::NewestOf(period, name) => write!(f, "{period} {name}"),
            Self::Within(duration) => {
                match (duration.as_secs() / DAY_S, duration.as_secs() % DAY_S) {
                    (1, 0) => f.write_str("within a day"),
                    (days, 0) => write!(f, "within {days} days"),
                    _ => write!(f, "within {duration:?}"),
                }
            }
        }
    }
}
