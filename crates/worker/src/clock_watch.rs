//! Whether the wall clock is believed when something is to be given up for good: a clock that jumped
//! must not shorten what is kept (DESIGN §7).
//!
//! The last time that was seen is on record. Between two looks of one boot the wall clock may have
//! gone on by as much as the boot clock, which never jumps; whatever is beyond that is a jump or, after
//! a restart of the machine, a time that nobody watched. A long one is not believed before the
//! machine has run with it for a day, in which whoever looks after it can put it right.

use std::time::Duration;

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{Platform, fault};

/// The setting that keeps the mark.
const MARK: &str = "clock-mark";
/// From how long on a jump is not believed at once.
const JUMP_MIN: SignedDuration = SignedDuration::from_hours(24);
/// How long the machine runs with it before it is.
const BELIEVED_AFTER: Duration = Duration::from_hours(24);
/// How often the mark is moved while nothing is wrong.
const MARKED_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// A moment by both clocks of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Moment {
    wall: Timestamp,
    /// Which boot of the machine `since_boot_ms` counts from.
    boot: String,
    since_boot_ms: u64,
}

/// The last moment that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    seen: Moment,
    /// A jump that is not believed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    /// The last time before it.
    from: Timestamp,
    /// Since when the machine runs with it.
    since: Moment,
}

impl Moment {
    /// The time since `earlier` that surely passed.
    fn since(&self, earlier: &Self) -> Duration {
        let is_known = self.boot == earlier.boot;
        let passed_ms = self.since_boot_ms.saturating_sub(earlier.since_boot_ms);
        Duration::from_millis(if is_known { passed_ms } else { 0 })
    }
}

/// The mark after a look at the clocks.
fn look(before: Option<&Mark>, now: Moment) -> Mark {
    let Some(before) = before else { return Mark { seen: now, doubt: None } };
    let passed = SignedDuration::try_from(now.since(&before.seen)).unwrap_or(SignedDuration::MAX);
    let jump = now.wall.duration_since(before.seen.wall).saturating_sub(passed);
    let doubt = if jump >= JUMP_MIN {
        let from = before.doubt.as_ref().map_or(before.seen.wall, |doubt| doubt.from);
        Some(Doubt { from, since: now.clone() })
    } else if jump <= -JUMP_MIN {
        // It was put right, or stands before what was seen: nothing falls due too early by that.
        None
    } else {
        let kept = before.doubt.clone().map(|mut doubt| {
            if doubt.since.boot != now.boot {
                doubt.since = now.clone();
            }
            doubt
        });
        kept.filter(|doubt| now.since(&doubt.since) < BELIEVED_AFTER)
    };
    Mark { seen: now, doubt }
}

impl Platform {
    /// Whether what falls due by the wall clock may be given up for good now.
    ///
    /// # Errors
    /// `ClockJumped` if not, once when it is noticed; the records' own.
    pub(crate) fn believes_clock(&self) -> Result<bool, Refusal> {
        let boot = self.owner.split(':').next().unwrap_or_default().to_owned();
        let since_boot_ms = u64::try_from(self.clock.since_boot().as_millis()).unwrap_or(u64::MAX);
        let now = Moment { wall: self.clock.now(), boot, since_boot_ms };
        let kept = self.clock_mark()?;
        let mut after = look(kept.as_ref(), now.clone());
        if kept.is_some_and(|kept| is_fresh(&kept, &after)) {
            return Ok(after.doubt.is_none());
        }
        // Several processes may look at once: the mark that counts is the one that is there now.
        let mut was_known = false;
        let stored = self.records.change_setting(MARK, &mut |kept| {
            let before = kept.and_then(|kept| serde_json::from_value::<Mark>(kept).ok());
            after = look(before.as_ref(), now.clone());
            was_known = before.is_some_and(|before| before.doubt.is_some());
            serde_json::to_value(&after).ok()
        });
        stored.map_err(|error| fault::of_store(&error))?;
        match after.doubt {
            Some(doubt) if !was_known => Err(jumped(&doubt)),
            doubt => Ok(doubt.is_none()),
        }
    }

    fn clock_mark(&self) -> Result<Option<Mark>, Refusal> {
        let kept = self.records.setting(MARK).map_err(|error| fault::of_store(&error))?;
        Ok(kept.and_then(|kept| serde_json::from_value(kept).ok()))
    }

    /// What keeps the clock from being believed, for whoever looks after the server.
    pub(crate) fn clock_doubt(&self) -> Result<Option<Refusal>, Refusal> {
        Ok(self.clock_mark()?.and_then(|mark| mark.doubt).map(|doubt| jumped(&doubt)))
    }
}

/// Whether the mark that is kept will do: it says the same and is not old.
fn is_fresh(kept: &Mark, after: &Mark) -> bool {
    let age = after.seen.wall.duration_since(kept.seen.wall);
    kept.doubt == after.doubt && (SignedDuration::ZERO..MARKED_EVERY).contains(&age)
}

fn jumped(doubt: &Doubt) -> Refusal {
    let Doubt { from, since } = doubt;
    let text = format!(
        "the clock went from {from} to {} while nobody watched it: nothing expires and nothing \
         that was deleted is removed for good until it has run on from there for a day",
        since.wall
    );
    Refusal::new(503, "ClockJumped", text).with_fix("put the machine's clock right if it is wrong")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(hours: i64, boot: &str, boot_hours: u64) -> Moment {
        let start: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
        let wall = start.checked_add(SignedDuration::from_hours(hours)).unwrap();
        Moment { wall, boot: boot.to_owned(), since_boot_ms: boot_hours * 3_600_000 }
    }

    #[test]
    fn a_jump_is_believed_after_a_day() {
        // Looks in order: wall and boot clock in hours, the boot, and whether the time is believed.
        let check = |name: &str, looks: &[(i64, &str, u64, bool)]| {
            let mut mark = None;
            for (number, (hours, boot, boot_hours, believed)) in looks.iter().enumerate() {
                let after = look(mark.as_ref(), moment(*hours, boot, *boot_hours));
                assert_eq!(after.doubt.is_none(), *believed, "{name}, look {number}: {after:?}");
                mark = Some(after);
            }
        };
        check("time passes", &[(0, "a", 0, true), (900, "a", 900, true)]);
        check("the machine was off for a night", &[(0, "a", 50, true), (12, "b", 0, true)]);
        check(
            "it was off for long",
            &[
                (0, "a", 50, true),
                (900, "b", 0, false),
                (923, "b", 23, false),
                (924, "b", 24, true),
            ],
        );
        check(
            "it jumped, and was put right",
            &[(0, "a", 0, true), (87_600, "a", 1, false), (2, "a", 2, true), (3, "a", 3, true)],
        );
        check(
            "it jumped, and the machine was started again",
            &[
                (0, "a", 0, true),
                (87_600, "a", 1, false),
                (87_601, "b", 0, false),
                (87_624, "b", 23, false),
            ],
        );
        check(
            "it went back",
            &[(0, "a", 0, true), (-87_600, "a", 1, true), (-87_599, "a", 2, true)],
        );
        check(
            "two jumps are one doubt",
            &[
                (0, "a", 0, true),
                (100, "a", 1, false),
                (200, "a", 2, false),
                (223, "a", 25, false),
                (224, "a", 26, true),
            ],
        );
    }
}
