//! The commands: one file for each verb or noun.

pub mod cat;
pub mod help_markdown;
pub mod init;
pub mod ls;
pub mod points;
pub mod protect;
pub mod restore;
pub mod status;
pub mod version;

use crate::arguments::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

/// Carries out a command.
pub fn run(command: &Command, context: &Context<'_>) -> Result<Outcome, CliError> {
    match command {
        Command::Protect(options) => protect::run(options, context),
        Command::Points(options) => points::run(options, context),
        Command::Restore(options) => restore::run(options, context),
        Command::Ls(options) => ls::run(options, context),
        Command::Cat(options) => cat::run(options, context),
        Command::Status(options) => status::run(options, context),
        Command::Init(options) => init::run(options, context),
        Command::Version(options) => Ok(version::run(options)),
        Command::HelpMarkdown(options) => Ok(help_markdown::run(options)),
    }
}

/// Whether the command may set up a data folder that is not there yet.
pub fn may_set_up(command: &Command) -> bool {
    matches!(command, Command::Protect(_) | Command::Init(_))
}
