//! `custody backup`: Backup vaults.

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

mod encryption;
mod key_health;
mod vault;

/// Backup vaults and their encryption
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    Vault(vault::Options),
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let Noun::Vault(options) = &options.noun;
    vault::run(options, context)
}
