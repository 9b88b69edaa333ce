//! Rotation policies: when a key gets a new version by itself, and when its owner is told.

use std::str::FromStr;

use custody_ambient::Timestamp;
use jiff::Span;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::error::{KeyVaultError, Result};

/// Shortest time between two of: creation, rotation, notice, expiry. Azure's.
pub const ROTATION_DAYS_MIN: i64 = 7;
/// Shortest life of a version that a policy gives, in days. Azure's.
pub const EXPIRY_DAYS_MIN: i64 = 28;
/// When the owner is told of an expiry unless a policy says otherwise.
const NOTICE_DEFAULT: &str = "P30D";
const ACTIONS_MAX: usize = 2;

/// The rotation policy of a key, in the shape of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationPolicy {
    /// What is done when.
    #[serde(default)]
    pub lifetime_actions: Vec<LifetimeAction>,
    /// Expiry of new versions, and when the policy was made.
    #[serde(default)]
    pub attributes: RotationAttributes,
}

/// Expiry of new versions, and when the policy was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationAttributes {
    /// How long a version made by rotation is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<Period>,
    /// When the policy was made, in seconds since 1970; written by the key vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// When it was last changed; written by the key vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<i64>,
}

/// One thing that is done when its time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeAction {
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: ActionKind,
}

/// When something is done: one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// So long after the version was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_after_create: Option<Period>,
    /// So long before the version expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_before_expiry: Option<Period>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionKind {
    /// Rotate or notify.
    #[serde(rename = "type")]
    pub kind: ActionType,
}

/// The actions; their case does not distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub enum ActionType {
    /// Make a new version.
    Rotate,
    /// Tell the owner.
    Notify,
}

impl TryFrom<String> for ActionType {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        match text.to_ascii_lowercase().as_str() {
            "rotate" => Ok(Self::Rotate),
            "notify" => Ok(Self::Notify),
            _ => Err("the type of an action must be Rotate or Notify"),
        }
    }
}

/// A length of time as ISO 8601 writes it (`P90D`, `P2Y`, `P1Y6M`), kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    text: String,
    parts: Parts,
}

/// Its parts, added up to months, days and hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    months: i32,
    days: i32,
    hours: i32,
}

impl Period {
    /// Its length in days, months of 30 and years of 365 days, as limits are measured.
    fn days(&self) -> i64 {
        let Parts { months, days, hours } = self.parts;
        let years = i64::from(months / 12) * 365 + i64::from(months % 12) * 30;
        years + i64::from(days) + i64::from(hours / 24)
    }

    /// The time so long after `start`.
    pub(crate) fn after(&self, start: Timestamp) -> Option<Timestamp> {
        self.moved(start, 1)
    }

    /// The time so long before `end`.
    pub(crate) fn before(&self, end: Timestamp) -> Option<Timestamp> {
        self.moved(end, -1)
    }

    fn moved(&self, from: Timestamp, sign: i32) -> Option<Timestamp> {
        let span = Span::new().try_months(sign * self.parts.months).ok()?;
        let span = span.try_days(sign * self.parts.days).ok()?;
        let span = span.try_hours(sign * self.parts.hours).ok()?;
        let moved = from.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
        Some(moved.timestamp())
    }
}

impl FromStr for Period {
    type Err = KeyVaultError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let text: String = text.chars().take(32).collect();
            KeyVaultError::BadParameter(format!(
                "{text:?} is no ISO 8601 duration of years, months, weeks, days or hours, P90D for \
                 example"
            ))
        };
        let mut parts = Parts { months: 0, days: 0, hours: 0 };
        let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or_else(wrong)?;
        let mut last = 0;
        while !rest.is_empty() {
            if let Some(hours) = rest.strip_prefix('T').filter(|hours| !hours.is_empty()) {
                rest = hours;
            }
            let unit_at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (digits, tail) = rest.split_at_checked(unit_at).ok_or_else(wrong)?;
            let count: u16 = digits.parse().map_err(|_| wrong())?;
            let (unit, tail) = tail.split_at_checked(1).ok_or_else(wrong)?;
            let place = "YMWDH".find(unit).ok_or_else(wrong)? + 1;
            let count = i32::from(count);
            match unit {
                "Y" => parts.months += 12 * count,
                "M" => parts.months += count,
                "W" => parts.days += 7 * count,
                "D" => parts.days += count,
                _ => parts.hours += count,
            }
            if place <= last {
                return Err(wrong());
            }
            (last, rest) = (place, tail);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl TryFrom<String> for Period {
    type Error = KeyVaultError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.text
    }
}

impl RotationPolicy {
    /// What counts for a key without a policy: its owner is told 30 days before the expiry.
    pub fn unset() -> Self {
        let notify = NOTICE_DEFAULT.parse().ok().map(|period| LifetimeAction {
            trigger: Trigger { time_before_expiry: Some(period), ..Trigger::default() },
            action: ActionKind { kind: ActionType::Notify },
        });
        Self {
            lifetime_actions: notify.into_iter().collect(),
            attributes: RotationAttributes::default(),
        }
    }

    /// # Errors
    /// [`KeyVaultError::BadParameter`] if it can never be carried out as it stands.
    pub(crate) fn check(&self, managed_hsm: bool) -> Result<()> {
        let bad = |text: String| Err(KeyVaultError::BadParameter(text));
        if self.lifetime_actions.len() > ACTIONS_MAX {
            return bad(format!("a rotation policy has at most {ACTIONS_MAX} lifetimeActions"));
        }
        let expiry_days = self.attributes.expiry_time.as_ref().map(Period::days);
        if expiry_days.is_some_and(|days| days < EXPIRY_DAYS_MIN) {
            return bad(format!("expiryTime must be at least P{EXPIRY_DAYS_MIN}D"));
        }
        let mut seen = Vec::new();
        for LifetimeAction { trigger, action } in &self.lifetime_actions {
            if seen.contains(&action.kind) {
                return bad(format!("the action {:?} may stand only once", action.kind));
            }
            seen.push(action.kind);
            check_trigger(trigger, action.kind, expiry_days)?;
        }
        if managed_hsm && seen.contains(&ActionType::Notify) {
            return bad("Notify is not supported in a managed HSM".to_owned());
        }
        Ok(())
    }

    /// When a version that was made and expires then shall be followed by a new one: so long after
    /// it was made, for example (rule 93).
    pub(crate) fn rotates(
        &self,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let trigger = self.trigger(ActionType::Rotate)?;
        match (&trigger.time_after_create, &trigger.time_before_expiry) {
            (Some(period), _) => period.after(created),
            (None, Some(period)) => period.before(expires?),
            (None, None) => None,
        }
    }

    /// When the owner of a version that expires then shall be told.
    pub(crate) fn notifies(&self, expires: Timestamp) -> Option<Timestamp> {
        let period = self.trigger(ActionType::Notify)?.time_before_expiry.as_ref()?;
        period.before(expires)
    }

    fn trigger(&self, kind: ActionType) -> Option<&Trigger> {
        let mut actions = self.lifetime_actions.iter();
        actions.find(|action| action.action.kind == kind).map(|action| &action.trigger)
    }
}

fn check_trigger(trigger: &Trigger, kind: ActionType, expiry_days: Option<i64>) -> Result<()> {
    let bad = |text: String| Err(KeyVaultError::BadParameter(text));
    let least = ROTATION_DAYS_MIN;
    match (&trigger.time_after_create, &trigger.time_before_expiry) {
        (Some(_), None) if kind == ActionType::Notify => {
            bad("Notify is triggered by timeBeforeExpiry".to_owned())
        }
        (Some(after), None) => {
            let days = after.days();
            if days < least {
                return bad(format!("timeAfterCreate must be at least P{least}D"));
            }
            if expiry_days.is_some_and(|expiry| expiry - days < least) {
                return bad(format!("timeAfterCreate must end {least} days before expiryTime"));
            }
            Ok(())
        }
        (None, Some(before)) => {
            let days = before.days();
            if days < least {
                return bad(format!("timeBeforeExpiry must be at least P{least}D"));
            }
            if kind == ActionType::Notify {
                return Ok(());
            }
            match expiry_days {
                None => bad("Rotate with timeBeforeExpiry needs an expiryTime".to_owned()),
                Some(expiry) if expiry - days < least => {
                    bad(format!("timeBeforeExpiry must begin {least} days after the creation"))
                }
                Some(_) => Ok(()),
            }
        }
        _ => bad("a trigger has either timeAfterCreate or timeBeforeExpiry".to_owned()),
    }
}
