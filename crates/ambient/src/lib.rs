//! What a process takes from its surroundings, as ports: the clock and the randomness.
//!
//! Nothing below the binary asks the machine for the time or for random bytes; it is handed a
//! [`Clock`] and an [`Entropy`]. A test hands in its own (`custody-test-world`), the binary hands
//! in the machine's. The seeded entropy of tests cannot be linked into the binary, because this
//! crate holds only the ports.

use std::time::Duration;

pub use jiff::Timestamp;

/// The time, as the binary or a test sees it.
pub trait Clock: Send + Sync {
    /// Wall-clock time (UTC). It may jump in either direction.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start that never jumps and goes on while the machine sleeps
    /// (`CLOCK_BOOTTIME`). Leases of keys and sessions are measured with it (DESIGN §5).
    fn since_boot(&self) -> Duration;

    /// Lets `duration` of this clock pass. A test's clock returns at once.
    fn sleep(&self, duration: Duration);
}

/// Random bytes from the operating system, or from a seed in tests.
pub trait Entropy: Send + Sync {
    /// Fills `out` with random bytes fit for keys.
    ///
    /// # Errors
    /// [`EntropyUnavailable`] if the operating system refuses; nothing may be sealed then.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyUnavailable>;
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct EntropyUnavailable(pub String);

/// `N` random bytes.
///
/// # Errors
/// [`EntropyUnavailable`] as for [`Entropy::fill`].
pub fn random_array<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyUnavailable> {
    let mut bytes = [0_u8; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
