//! The commands: one file for each verb or noun.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod env;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod group;
pub(crate) mod help_markdown;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod job;
pub(crate) mod keyvault;
pub(crate) mod ledger;
pub(crate) mod ls;
mod maintenance;
pub(crate) mod points;
pub(crate) mod protect;
pub(crate) mod prune;
pub(crate) mod recovery_kit;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod role;
pub(crate) mod status;
pub(crate) mod subscription;
mod tags;
pub(crate) mod trust;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod version;

use crate::arguments::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;

/// Carries out a command.
pub(crate) fn run(command: &Command, context: &Context<'_>) -> Result<Outcome, CliError> {
    match command {
        Command::Protect(options) => protect::run(options, context),
        Command::Points(options) => points::run(options, context),
        Command::Restore(options) => restore::run(options, context),
        Command::Ls(options) => ls::run(options, context),
        Command::Cat(options) => cat::run(options, context),
        Command::Diff(options) => diff::run(options, context),
        Command::Find(options) => find::run(options, context),
        Command::Verify(options) => verify::run(options, context),
        Command::Forget(options) => forget::run(options, context),
        Command::Prune(options) => prune::run(options, context),
        Command::Repair(options) => repair::run(options, context),
        Command::Status(options) => status::run(options, context),
        Command::Drill(options) => drill::run(options, context),
        Command::Keyvault(options) => keyvault::run(options, context),
        Command::Identity(options) => identity::run(options, context),
        Command::Role(options) => role::run(options, context),
        Command::Group(options) => group::run(options, context),
        Command::Subscription(options) => subscription::run(options, context),
        Command::Backup(options) => backup::run(options, context),
        Command::Job(options) => job::run(options, context),
        Command::Audit(options) => audit::run(options, context),
        Command::Ledger(options) => ledger::run(options, context),
        Command::RecoveryKit(options) => recovery_kit::run(options, context),
        Command::Init(options) => init::run(options, context),
        Command::Up(options) => up::run(options, context),
        Command::Env(options) => env::run(options, context),
        Command::Trust(options) => trust::run(options, context),
        Command::Completions(options) => Ok(completions::run(options)),
        Command::Version(options) => Ok(version::run(options)),
        Command::HelpMarkdown(options) => Ok(help_markdown::run(options)),
    }
}

/// Whether the command may set up a data folder that is not there yet: those that make something.
pub(crate) fn may_set_up(command: &Command) -> bool {
    match command {
        Command::Protect(_) | Command::Init(_) | Command::Up(_) => true,
        Command::Keyvault(options) => options.creates(),
        Command::Identity(options) => options.creates(),
        Command::Group(options) => options.creates(),
        _ => false,
    }
}
