//! `custody prune`: gives back the room of forgotten points.

use clap::Args;
use serde_json::json;

use crate::arguments::VaultOption;
use crate::commands::maintenance;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

/// Free the room that no recovery point needs any more
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody prune --dry-run\n  custody prune --vault main\n\nNo \
    recovery point is touched: forget decides what goes, prune frees its room.\n\nExit codes: 0 \
    done, 7 the key may not be used, 11 another process is busy with it; the others are in \
    docs/exit-codes.md.")]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Show what would be freed, and free nothing
    #[arg(long)]
    dry_run: bool,
}

/// Prunes one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let body = json!({ "dryRun": options.dry_run });
    maintenance::run(context, &options.vault, "prune", &body)
}
