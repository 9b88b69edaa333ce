//! `custody backup`: Backup vaults.

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

mod deleted_vault;
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
    DeletedVault(deleted_vault::Options),
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.noun {
        Noun::Vault(options) => vault::run(options, context),
        Noun::DeletedVault(options) => deleted_vault::run(options, context),
    }
}
