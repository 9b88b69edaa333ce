//! When a server is shot at: moments spread evenly over the time that an act takes.

use std::time::Duration;

/// The golden section: multiples of it, without their whole part, fill an interval evenly.
pub(crate) const GOLDEN: f64 = 0.618_033_988_749_895;
/// Shots come up to this part of an act's usual time after its request.
const REACH: f64 = 1.15;

/// How long after the request of an act that takes `usual` the shot of this number comes.
pub(crate) fn delay(usual: Duration, number: usize, seed: u64) -> Duration {
    let offset = f64::from(u32::try_from(seed % 1_000).unwrap_or(0)) / 1_000.0;
    let at = offset + GOLDEN * f64::from(u32::try_from(number).unwrap_or(0));
    usual.mul_f64(at.fract() * REACH)
}
