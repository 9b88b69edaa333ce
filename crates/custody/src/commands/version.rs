//! `custody version`.

use clap::Args;
use serde_json::json;

use crate::output::Outcome;

/// Show the version
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody version\n  custody version -o json\n\nExit codes: 0.")]
pub(crate) struct Options {}

/// Says the version.
pub(crate) fn run(_options: &Options) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    Outcome::data(json!({ "custody": version })).with_text(format!("custody {version}\n"))
}
