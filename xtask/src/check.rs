//! `check`: everything that needs no test run.

use crate::failure::Failure;
use crate::process::{command, run as run_command};
use crate::{banned, clients, docs, layers, rules, steps};

/// Runs all checks.
pub(crate) fn run() -> Result<(), Failure> {
    steps::run(&[
        ("fmt", format),
        ("clippy", clippy),
        ("layers", layers::run),
        ("rules", rules::run),
        ("docs", docs::run),
        ("banned", banned::run),
    ])
}

fn format() -> Result<(), Failure> {
    run_command(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    let apart = ["fmt", "--check", "--manifest-path", clients::RUST_MANIFEST];
    run_command(&mut command("cargo", &apart))
}

fn clippy() -> Result<(), Failure> {
    // With what only measurements use, so that they compile on the day they are wanted.
    let features = "custody-repository/measure";
    let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked"];
    let arguments = [&arguments[..], &["--features", features, "--", "-D", "warnings"]].concat();
    run_command(&mut command("cargo", &arguments))
}
