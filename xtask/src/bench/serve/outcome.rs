//! What came of a load.

use std::collections::BTreeMap;
use std::time::Duration;

/// Answers counted and timed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers of status 200, 201 and 202.
    pub(crate) done: u64,
    /// Answers of status 429: the caller was over its share.
    pub(crate) throttled: u64,
    /// Of those, how many named no time to wait.
    pub(crate) throttled_blindly: u64,
    /// Answers of any other status; there should be none.
    pub(crate) failed: BTreeMap<u16, u64>,
    /// Microseconds until each answer of status 200.
    pub(crate) times_us: Vec<u64>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Processor time of the server in the meantime.
    pub(crate) server_cpu: Duration,
}

impl Outcome {
    /// Counts one answer.
    pub(crate) fn add(&mut self, status: u16, retry_after_s: Option<u64>, took: Duration) {
        match status {
            200..=202 => {
                self.done += 1;
                self.times_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            429 => {
                self.throttled += 1;
                self.throttled_blindly += u64::from(retry_after_s.is_none());
            }
            other => *self.failed.entry(other).or_default() += 1,
        }
    }

    /// Adds what another connection got.
    pub(crate) fn merge(&mut self, other: Self) {
        self.done += other.done;
        self.throttled += other.throttled;
        self.throttled_blindly += other.throttled_blindly;
        for (status, count) in other.failed {
            *self.failed.entry(status).or_default() += count;
        }
        self.times_us.extend(other.times_us);
    }

    /// Answers of status 200 per second.
    #[expect(clippy::cast_precision_loss, reason = "shown to four digits")]
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds of the server's processor time for each answer of status 200.
    #[expect(clippy::cast_precision_loss, reason = "shown to four digits")]
    pub(crate) fn cpu_ms_each(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e3 / self.done as f64
    }

    /// The time within which this share of the answers came, in milliseconds.
    pub(crate) fn percentile_ms(&mut self, percent: u8) -> f64 {
        self.times_us.sort_unstable();
        let time = percentile(&self.times_us, percent).unwrap_or_default();
        Duration::from_micros(time).as_secs_f64() * 1e3
    }

    /// What should not have happened, in words.
    pub(crate) fn problems(&self, what: &str) -> Vec<String> {
        let mut problems: Vec<String> = self
            .failed
            .iter()
            .map(|(status, count)| format!("{what}: {count} answers of status {status}"))
            .collect();
        if self.done == 0 {
            problems.push(format!("{what}: no request was answered with 200"));
        }
        if self.throttled_blindly > 0 {
            let count = self.throttled_blindly;
            problems.push(format!("{what}: {count} answers of status 429 without Retry-After"));
        }
        problems
    }
}

/// The smallest of the sorted values that `percent` of them do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[u64], percent: u8) -> Option<u64> {
    let rank = (sorted.len() * usize::from(percent.min(100))).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let check = |values: &[u64], percent: u8, expected: Option<u64>| {
            assert_eq!(percentile(values, percent), expected, "p{percent} of {values:?}");
        };
        check(&[], 50, None);
        check(&[7], 0, Some(7));
        check(&[7], 99, Some(7));
        check(&[1, 2, 3, 4], 50, Some(2));
        check(&[1, 2, 3, 4, 5], 50, Some(3));
        let hundred: Vec<u64> = (1..=100).collect();
        check(&hundred, 99, Some(99));
        check(&hundred, 100, Some(100));
        let more: Vec<u64> = (1..=101).collect();
        check(&more, 99, Some(100));
    }

    #[test]
    fn answers_are_counted_by_what_they_are() {
        let ms = Duration::from_millis;
        let mut outcome = Outcome::default();
        outcome.add(200, None, ms(4));
        outcome.add(429, Some(1), ms(1));
        let mut other = Outcome::default();
        other.add(200, None, ms(2));
        other.add(429, None, ms(1));
        other.add(503, None, ms(1));
        outcome.merge(other);
        outcome.elapsed = Duration::from_secs(2);
        outcome.server_cpu = ms(500);
        assert_eq!((outcome.done, outcome.throttled), (2, 2));
        assert!((outcome.per_second() - 1.0).abs() < 1e-9);
        assert!((outcome.cpu_ms_each() - 250.0).abs() < 1e-9);
        assert!((outcome.percentile_ms(50) - 2.0).abs() < 1e-9);
        assert_eq!(
            outcome.problems("x"),
            ["x: 1 answers of status 503", "x: 1 answers of status 429 without Retry-After"]
        );
        assert_eq!(Outcome::default().problems("x"), ["x: no request was answered with 200"]);
    }
}
