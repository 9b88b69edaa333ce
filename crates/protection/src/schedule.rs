//! When backups are due by themselves. Pure: instants in, instants out.

use custody_ambient::Timestamp;
use custody_resources::Refusal;
use jiff::SignedDuration;

use crate::policy::not_supported;

/// Most repetitions in one schedule.
const REPETITIONS_MAX: usize = 256;
/// The shortest time between two backups of a schedule, as in Azure.
const EVERY_MIN: SignedDuration = SignedDuration::from_mins(15);
/// A day of UTC, which has no other length.
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Times at which backups are due.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    repetitions: Vec<Repetition>,
}

/// From `start` on, once in each `every`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repetition {
    pub(crate) start: Timestamp,
    pub(crate) every: SignedDuration,
}

impl Schedule {
    /// A schedule of these.
    pub(crate) fn new(repetitions: Vec<Repetition>) -> Result<Self, Refusal> {
        if repetitions.len() > REPETITIONS_MAX {
            let text = format!("a schedule has at most {REPETITIONS_MAX} times");
            return Err(not_supported(text));
        }
        if repetitions.iter().any(|one| one.every < EVERY_MIN) {
            let text = "backups are taken once in 15 minutes at most";
            return Err(not_supported(text));
        }
        Ok(Self { repetitions })
    }

    /// The last time after `after`, and not after `now`, at which a backup was due. Of several that
    /// were missed it is one: they are not made up for one by one.
    pub fn due(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let last = self.repetitions.iter().filter_map(|one| one.last_until(now)).max();
        last.filter(|last| *last > after)
    }
}

impl Repetition {
    /// The last of its times that is not after `now`.
    fn last_until(&self, now: Timestamp) -> Option<Timestamp> {
        let passed = now.duration_since(self.start);
        if passed.is_negative() {
            return None;
        }
        let rounds = i32::try_from(passed.as_nanos() / self.every.as_nanos()).ok()?;
        self.start.checked_add(self.every.checked_mul(rounds)?).ok()
    }
}
