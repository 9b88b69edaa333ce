//! `custody repair`: makes the records agree with the repository again.

use clap::Args;
use serde_json::json;

use crate::arguments::VaultOption;
use crate::commands::maintenance;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

/// Rebuild the record of a vault's recovery points from its repository
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody repair\n  custody repair --vault main --accept-head\n\n\
    It never deletes stored data. --accept-head is for a repository that was deliberately put back \
    to an older state.\n\nExit codes: 0 done, 7 the key may not be used, 9 damage is left; the \
    others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Take the repository's head as it is found, although a newer one was seen before
    #[arg(long)]
    accept_head: bool,
}

/// Repairs one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let body = json!({ "acceptHead": options.accept_head });
    maintenance::run(context, &options.vault, "repair", &body)
}
