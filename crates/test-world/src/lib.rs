//! Fixed clock, seeded randomness, keys in memory and fault injection, for tests alone.
//!
//! No crate may name this one outside `[dev-dependencies]` (`cargo xtask layers` checks it), so
//! predictable randomness can never reach the binary.

#[cfg(feature = "control-plane")]
pub mod control_plane;
pub mod disk;
pub mod faults;
pub mod keks;
pub mod object_store;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use custody_ambient::{Clock, Entropy, EntropyUnavailable, Timestamp};

/// A clock that stands still until a test moves it. `sleep` moves it and returns at once.
#[derive(Debug)]
pub struct FixedClock {
    state: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    boot: Duration,
    /// How often anyone looked at the boot clock.
    looks: usize,
    /// Before which look it moves on, and by how much.
    jump: Option<(usize, Duration)>,
}

impl FixedClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        let boot = Duration::from_secs(1_000);
        Self { state: Mutex::new(Times { wall: now, boot, looks: 0, jump: None }) }
    }

    /// A clock that stands at an RFC 3339 time, `2026-11-22T06:00:00Z` for example.
    ///
    /// # Panics
    /// If `text` is no such time.
    #[expect(clippy::expect_used, reason = "a test's own constant")]
    pub fn at_text(text: &str) -> Self {
        Self::at(text.parse().expect("a test gives a valid time"))
    }

    /// Moves wall clock and boot clock forward together.
    pub fn advance(&self, by: Duration) {
        self.lock().advance(by);
    }

    /// Sets the wall clock alone, as an operator or NTP may, in either direction.
    pub fn set_wall(&self, now: Timestamp) {
        self.lock().wall = now;
    }

    /// Lets the clock move on by `by` before so many more looks at the boot clock, as it does for a
    /// machine that slept in the middle of its work.
    pub fn jump_after(&self, looks: usize, by: Duration) {
        let mut times = self.lock();
        times.jump = Some((times.looks + looks, by));
    }

    /// How often anyone looked at the boot clock.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Times> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Times {
    fn advance(&mut self, by: Duration) {
        self.wall = self.wall.checked_add(by).unwrap_or(Timestamp::MAX);
        self.boot += by;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.lock().wall
    }

    fn since_boot(&self) -> Duration {
        let mut times = self.lock();
        let looks = times.looks;
        if let Some((_, by)) = times.jump.take_if(|(at, _)| *at <= looks) {
            times.advance(by);
        }
        times.looks += 1;
        times.boot
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Predictable bytes from a seed (SplitMix64). Never for real keys.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// The same seed gives the same bytes in the same order.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
        for block in out.chunks_mut(8) {
            let mut z = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            for (byte, random) in block.iter_mut().zip(z.to_le_bytes()) {
                *byte = random;
            }
        }
        Ok(())
    }
}
