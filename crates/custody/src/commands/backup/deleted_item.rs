//! `custody backup deleted-item`: items that were deleted in a vault that keeps what is deleted.

use clap::{Args, Subcommand};
use serde_json::json;

use super::item::{Named, plain, turn};
use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::items::{self, Which};
use crate::output::{Column, Outcome};

/// Items that were deleted and can be brought back
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List deleted items
    #[command(
        after_help = "Examples:\n  custody backup deleted-item list -o table\n\nExit codes: 0 \
        done, 5 no such vault; the others are in docs/exit-codes.md."
    )]
    List(VaultOption),
    /// Show a deleted item
    #[command(
        after_help = "Examples:\n  custody backup deleted-item get -n documents\n\nExit codes: 0 \
        done, 5 no such deleted item; the others are in docs/exit-codes.md."
    )]
    Get(Named),
    /// Bring a deleted item back with its recovery points
    #[command(
        after_help = "Examples:\n  custody backup deleted-item undelete -n documents\n\nIt comes \
        back with its protection stopped: custody backup item resume-protection -n documents goes \
        on with it.\n\nExit codes: 0 done, 4 not allowed, 5 no such deleted item; the others are in \
        docs/exit-codes.md."
    )]
    Undelete(Named),
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Vault", "/vault"),
    ("DeletedAt", "/deletedAt"),
    ("KeptUntil", "/keptUntil"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let value = match &options.verb {
        Verb::List(vault) => {
            items::all_items(context, vault, Which::Deleted)?.iter().map(plain).collect()
        }
        Verb::Get(named) => plain(&named.find(context, Which::Deleted)?),
        Verb::Undelete(named) => return undelete(named, context),
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

fn undelete(named: &Named, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = named.find(context, Which::Deleted)?;
    let state = json!({ "protectionState": "ProtectionStopped", "isRehydrate": true });
    turn(&item, "undelete", &state, context)?;
    context.say(&format!(
        "back, with its protection stopped; to go on: custody backup item resume-protection -n {} \
         --vault {}",
        item.name,
        item.vault.name().unwrap_or_default()
    ));
    Ok(Outcome::nothing())
}
