//! Which moments are shot at.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::crash::act::Act;
use crate::crash::progress::Timeline;
use crate::crash::spread::GOLDEN;
use crate::failure::Failure;

/// Hits that every phase needs.
const HITS_MIN: usize = 10;

/// A kill to be tried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shot {
    pub(crate) act: Act,
    /// The kill comes so long after this phase began.
    pub(crate) phase: String,
    pub(crate) delay: Duration,
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay_ms = self.delay.as_secs_f64() * 1e3;
        write!(f, "{}, {delay_ms:.1} ms into {}", self.act.name(), self.phase)
    }
}

/// Spreads shots over the phases of all acts, and counts hits.
pub(crate) struct Schedule {
    kills: usize,
    /// Where in a phase the first shot is aimed, from 0 to 1.
    offset: f64,
    targets: BTreeMap<(Act, String), Target>,
}

/// A phase of an act.
#[derive(Default)]
struct Target {
    span: Duration,
    wanted: usize,
    hits: usize,
    shots: u32,
}

impl Schedule {
    /// At least `kills` hits in all, aimed differently for each seed.
    pub(crate) fn new(kills: usize, seed: u64) -> Self {
        let offset = f64::from(u32::try_from(seed % 1_000).unwrap_or(0)) / 1_000.0;
        Self { kills, offset, targets: BTreeMap::new() }
    }

    /// Gives an act its share of the kills, and each of its phases a share by its length.
    pub(crate) fn spread(&mut self, act: Act, timeline: &Timeline) {
        let share = self.kills.div_ceil(Act::ALL.len());
        let spans = timeline.spans();
        let total: Duration = spans.iter().map(|(_, span)| *span).sum();
        for (phase, span) in spans {
            let micros = total.as_micros().max(1);
            let part = (share as u128 * span.as_micros()).div_ceil(micros);
            let wanted = usize::try_from(part).unwrap_or(share).max(HITS_MIN);
            let target = Target { span, wanted, ..Target::default() };
            self.targets.insert((act, phase), target);
        }
    }

    /// How many hits are wanted in all.
    pub(crate) fn wanted(&self) -> usize {
        self.targets.values().map(|target| target.wanted).sum()
    }

    /// The next shot, at the phase that lacks most; `None` when enough have hit.
    pub(crate) fn next(&mut self) -> Option<Shot> {
        let lacking = |target: &Target| target.wanted.saturating_sub(target.hits);
        let (key, target) = self.targets.iter_mut().max_by_key(|(_, target)| lacking(target))?;
        if lacking(target) == 0 {
            return None;
        }
        // A phase that is too short to be hit by time alone is shot at as soon as it shows.
        let missed =
            f64::from(target.shots) > 2.0 * f64::from(u32::try_from(target.hits).ok()?) + 10.0;
        let at = (self.offset + GOLDEN * f64::from(target.shots)).fract();
        let delay = if missed { Duration::ZERO } else { target.span.mul_f64(at) };
        target.shots += 1;
        Some(Shot { act: key.0, phase: key.1.clone(), delay })
    }

    /// Counts a kill in the phase that was reached, known before or not.
    pub(crate) fn hit(&mut self, act: Act, phase: &str) {
        let target = self.targets.entry((act, phase.to_owned())).or_default();
        target.wanted = target.wanted.max(HITS_MIN);
        target.hits += 1;
    }

    /// Hits by act and phase.
    pub(crate) fn table(&self) -> String {
        let mut table = "| act | phase | kills |\n|---|---|---:|\n".to_owned();
        for ((act, phase), target) in &self.targets {
            let _ = writeln!(table, "| {} | {phase} | {} |", act.name(), target.hits);
        }
        let total: usize = self.targets.values().map(|target| target.hits).sum();
        table + &format!("| all | | {total} |")
    }

    /// Fails if there were too few hits, in all or in one phase.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let total: usize = self.targets.values().map(|target| target.hits).sum();
        let few = self.targets.iter().filter(|(_, target)| target.hits < HITS_MIN);
        let mut problems: Vec<String> = few
            .map(|((act, phase), target)| {
                format!("only {} of {HITS_MIN} kills in {phase} of {}", target.hits, act.name())
            })
            .collect();
        if total < self.kills {
            problems.push(format!("only {total} of {} kills", self.kills));
        }
        Failure::unless_empty(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kills: usize, long_ms: u64, short_ms: u64) -> Schedule {
        let mut schedule = Schedule::new(kills, 7);
        let ms = Duration::from_millis;
        for act in Act::ALL {
            let seen = [(ms(long_ms), "short".to_owned())];
            schedule.spread(act, &Timeline::new(&seen, ms(long_ms + short_ms)));
        }
        schedule
    }

    #[test]
    fn shots_spread_over_the_measured_time() {
        let mut schedule = schedule(280, 900, 100);
        let mut delays = Vec::new();
        while let Some(shot) = schedule.next() {
            if shot.act == Act::Protect && shot.phase == "start" {
                delays.push(shot.delay.as_millis());
            }
            schedule.hit(shot.act, &shot.phase);
        }
        assert_eq!(delays.len(), 36, "nine tenths of a seventh of the kills");
        for tenth in 0..10 {
            let hits = delays.iter().filter(|ms| **ms / 90 == tenth).count();
            assert!((2..=5).contains(&hits), "{hits} in tenth {tenth}");
        }
        assert!(schedule.verdict().is_ok());
        assert!(schedule.table().contains("| protect | short | 10 |"), "{}", schedule.table());
    }

    #[test]
    fn a_phase_too_short_to_hit_is_shot_at_as_it_shows() {
        let mut schedule = schedule(40, 900, 1);
        let mut shots_at_short = Vec::new();
        for _ in 0..400 {
            let Some(shot) = schedule.next() else { break };
            match shot.phase.as_str() {
                "short" if shot.delay.is_zero() => schedule.hit(shot.act, "short"),
                "short" => {} // it was over before the kill came
                _ => schedule.hit(shot.act, "start"),
            }
            shots_at_short.extend((shot.phase == "short").then_some(shot.delay));
        }
        assert!(schedule.verdict().is_ok(), "{}", schedule.table());
        assert!(shots_at_short.iter().any(Duration::is_zero));
    }

    #[test]
    fn a_phase_that_shows_late_is_wanted_too() {
        let mut schedule = schedule(4, 90, 10);
        schedule.hit(Act::Prune, "sweeping");
        assert!(schedule.verdict().unwrap_err().to_string().contains("1 of 10 kills in sweeping"));
        while let Some(shot) = schedule.next() {
            schedule.hit(shot.act, &shot.phase);
        }
        assert!(schedule.verdict().is_ok());
        assert!(schedule.table().contains("| prune | sweeping | 10 |"));
    }
}
