//! `custody backup`: vaults and what is protected in them.

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

mod deleted_item;
mod deleted_vault;
mod encryption;
mod item;
mod key_health;
mod vault;

/// Vaults of both kinds, their encryption, and the items in them
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    Vault(vault::Options),
    DeletedVault(deleted_vault::Options),
    Item(item::Options),
    DeletedItem(deleted_item::Options),
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.noun {
        Noun::Vault(options) => vault::run(options, context),
        Noun::DeletedVault(options) => deleted_vault::run(options, context),
        Noun::Item(options) => item::run(options, context),
        Noun::DeletedItem(options) => deleted_item::run(options, context),
    }
}
