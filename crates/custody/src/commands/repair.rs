//! `custody repair`: makes lost indexes again, and the records agree with the repository.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::arguments::VaultOption;
use crate::commands::maintenance;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

/// Rebuild a repository's lost indexes, and the record of its recovery points
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody repair\n  custody repair --vault main --accept-head\n  \
    custody repair --repository /backup/repository\n\n\
    Indexes that are lost or damaged are built again from the packs. Nothing that is stored is \
    ever deleted. --accept-head is for a repository that was deliberately put back \
    to an older state.\n\nExit codes: 0 done, 7 the key may not be used, 9 damage is left; the \
    others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Take the repository's head as it is found, although a newer one was seen before
    #[arg(long)]
    accept_head: bool,
    /// Take the repository in this folder into the records, because they were lost
    #[arg(long, value_name = "DIR", conflicts_with = "accept_head")]
    repository: Option<PathBuf>,
    /// The fingerprint of that repository, as it was written down
    #[arg(long, value_name = "HEX", requires = "repository")]
    fingerprint: Option<String>,
}

/// Repairs one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    if let Some(folder) = &options.repository {
        return take_in(folder, options.fingerprint.as_deref(), context);
    }
    let body = json!({ "acceptHead": options.accept_head });
    maintenance::run(context, &options.vault, "repair", &body)
}

/// Makes the records of a repository anew.
fn take_in(
    folder: &Path,
    fingerprint: Option<&str>,
    context: &Context<'_>,
) -> Result<Outcome, CliError> {
    if fingerprint.is_none() {
        context.warn(
            "warning: without --fingerprint nothing tells this repository from a forged one; what \
             is found is trusted",
        );
    }
    let folder = context.absolute(folder);
    let path = folder
        .to_str()
        .ok_or_else(|| CliError::Usage("the repository's path must be UTF-8".to_owned()))?;
    let body = json!({ "path": path, "fingerprint": fingerprint });
    let taken = context.client()?.post("/custody/repositories", &body)?;
    Ok(Outcome::data(taken))
}
