//! Suites over a simulated disk, which are tests of the engine: here with all of their cases.

use crate::failure::Failure;
use crate::options::Options;
use crate::process::{command, run};

/// Every state that a power loss may leave: eighty rounds give more than ten thousand that differ
/// in an object.
pub(super) fn states(options: &Options) -> Result<(), Failure> {
    let rounds: u32 = options.value("rounds", 80)?;
    let seed: u32 = options.value("seed", 1)?;
    let mut suite = suite("crash::");
    suite
        .env("CUSTODY_CRASH_ROUNDS", rounds.to_string())
        .env("CUSTODY_CRASH_SEED", seed.to_string());
    run(suite.env("CUSTODY_CRASH_STRIDE", "1"))
}

/// Every call that fails, once and for ever.
pub(super) fn calls() -> Result<(), Failure> {
    run(suite("failing_calls::").env("CUSTODY_CALLS_STRIDE", "1"))
}

fn suite(filter: &str) -> std::process::Command {
    let words = ["test", "--workspace", "--locked", "--test", "it", "--", filter, "--nocapture"];
    command("cargo", &words)
}
