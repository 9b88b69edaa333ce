//! `custody help-markdown`: prints `docs/cli.md`.

use clap::Args;

use crate::documentation;
use crate::output::Outcome;

/// Print docs/cli.md
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print docs/exit-codes.md instead
    #[arg(long)]
    exit_codes: bool,
}

/// Prints a generated document.
pub(crate) fn run(options: &Options) -> Outcome {
    let text = if options.exit_codes {
        documentation::exit_codes_markdown()
    } else {
        documentation::cli_markdown()
    };
    Outcome { text: Some(text), ..Outcome::nothing() }
}
