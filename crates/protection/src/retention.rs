//! How long recovery points are kept: by the time since each was taken, longer for the first of a
//! day, week, month or year. Pure, and by receipt times alone. What `forget` does by counts, at
//! somebody's request, is another thing: a count never lets points go when no new ones come.

use std::collections::BTreeSet;

use custody_ambient::Timestamp;
use jiff::Span;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

/// How long points are kept. One without rules keeps all of them for ever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retention {
    rules: Vec<Keep>,
}

/// One rule: which points, and how long after they were taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keep {
    pub(crate) which: Which,
    pub(crate) lasting: Lasting,
    /// How long after that in an archive tier: points stay in the vault for that time, too.
    pub(crate) archived: Option<Lasting>,
}

impl Keep {
    /// Until when a point that was taken then is kept.
    pub(crate) fn until(&self, taken: Timestamp) -> Timestamp {
        let until = self.lasting.after(taken);
        self.archived.map_or(until, |archived| archived.after(until))
    }
}

/// A length of time by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasting {
    pub(crate) count: i32,
    pub(crate) unit: Unit,
}

/// A unit of such lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Days,
    Weeks,
    Months,
    Years,
}

/// Which points a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Which {
    /// Every one.
    All,
    /// The first of each of these, by UTC; weeks are those of ISO 8601.
    FirstOf(Unit),
    /// The first of each day that is one of these.
    OnDays(DaySet),
}

/// Days of the calendar; what is empty says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DaySet {
    pub(crate) weekdays: Vec<Weekday>,
    /// 1 to 4, and -1 for the last.
    pub(crate) month_weeks: Vec<i8>,
    /// 1 to 31, and 0 for the last day.
    pub(crate) month_days: Vec<i8>,
    /// 1 to 12.
    pub(crate) months: Vec<i8>,
}

/// A recovery point as retention sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aging {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// Until when whoever asked for it wanted it kept; then no rule is asked.
    pub keep_until: Option<Timestamp>,
}

impl Retention {
    /// A retention by these rules.
    pub(crate) fn new(rules: Vec<Keep>) -> Self {
        Self { rules }
    }

    /// The points of one item that nothing keeps at `now`. A point is kept as long as any rule that
    /// it meets says; one that meets none, as long as the shortest of them. The newest never
    /// expires: there is always something to restore. A point from the future, taken while the clock
    /// was wrong, is not it, and does not expire either.
    pub fn expired(&self, points: &[Aging], now: Timestamp) -> Vec<String> {
        let oldest_first = oldest_first(points, now);
        let Some((_newest, older)) = oldest_first.split_last() else { return Vec::new() };
        let mut seen: Vec<BTreeSet<String>> = vec![BTreeSet::new(); self.rules.len()];
        let mut expired = Vec::new();
        for point in older {
            let until = match point.keep_until {
                Some(until) => Some(until),
                None => self.kept_until(point.taken, &mut seen),
            };
            if until.is_some_and(|until| until <= now) {
                expired.push(point.id.clone());
            }
        }
        expired
    }

    fn kept_until(&self, taken: Timestamp, seen: &mut [BTreeSet<String>]) -> Option<Timestamp> {
        let (mut met, mut shortest) = (None, None);
        for (rule, seen) in self.rules.iter().zip(seen) {
            let until = rule.until(taken);
            shortest = Some(shortest.map_or(until, |other: Timestamp| other.min(until)));
            if rule.which.meets(taken, seen) {
                met = met.max(Some(until));
            }
        }
        met.or(shortest)
    }
}

/// The points that were taken by `now`, the oldest first.
pub(crate) fn oldest_first(points: &[Aging], now: Timestamp) -> Vec<&Aging> {
    let mut taken: Vec<&Aging> = points.iter().filter(|point| point.taken <= now).collect();
    taken.sort_by_key(|point| point.taken);
    taken
}

impl Lasting {
    /// The time so long after `taken`.
    pub(crate) fn after(self, taken: Timestamp) -> Timestamp {
        let span = match self.unit {
            Unit::Days => Span::new().try_days(self.count),
            Unit::Weeks => Span::new().try_weeks(self.count),
            Unit::Months => Span::new().try_months(self.count),
            Unit::Years => Span::new().try_years(self.count),
        };
        let end = span.and_then(|span| taken.to_zoned(TimeZone::UTC).checked_add(span));
        // What lies beyond the calendar never comes.
        end.map_or(Timestamp::MAX, |end| end.timestamp())
    }
}

impl Which {
    /// Whether the rule is about a point, of which older ones were asked for before.
    pub(crate) fn meets(&self, taken: Timestamp, seen: &mut BTreeSet<String>) -> bool {
        let day = taken.to_zoned(TimeZone::UTC).date();
        let period = match self {
            Self::All => return true,
            Self::FirstOf(Unit::Weeks) => day.strftime("%G-W%V").to_string(),
            Self::FirstOf(Unit::Months) => day.strftime("%Y-%m").to_string(),
            Self::FirstOf(Unit::Years) => day.strftime("%Y").to_string(),
            Self::FirstOf(Unit::Days) => day.to_string(),
            Self::OnDays(days) if days.contain(day) => day.to_string(),
            Self::OnDays(_) => return false,
        };
        seen.insert(period)
    }
}

impl DaySet {
    fn contain(&self, day: Date) -> bool {
        let last = day.last_of_month().day();
        let among = |all: &[i8], one: i8| all.is_empty() || all.contains(&one);
        let in_week = self.month_weeks.is_empty()
            || self.month_weeks.contains(&((day.day() - 1) / 7 + 1))
            || (self.month_weeks.contains(&-1) && day.day() + 7 > last);
        let of_month = self.month_days.is_empty()
            || self.month_days.contains(&day.day())
            || (self.month_days.contains(&0) && day.day() == last);
        let on_weekday = self.weekdays.is_empty() || self.weekdays.contains(&day.weekday());
        among(&self.months, day.month()) && in_week && of_month && on_weekday
    }
}
