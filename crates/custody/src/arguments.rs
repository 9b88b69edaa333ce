//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::output::Format;
use crate::progress::ProgressMode;

/// Backup in which you hold the key.
#[derive(Debug, Parser)]
#[command(
    name = "custody",
    version,
    about = "Backup in which you hold the key",
    long_about = "Backup in which you hold the key.\n\nEvery vault's data is encrypted under a key \
                  that lives in a key vault you control: rotate it, revoke it, and see every use \
                  of it. The first `custody protect FOLDER` sets up everything it needs and says \
                  what it made.",
    after_help = "First steps:\n  custody protect ~/documents\n  custody points\n  custody restore \
                  documents --to /tmp/restored\n\nExit codes are listed in docs/exit-codes.md; 0 is \
                  success, 3 success with warnings.",
    term_width = 100,
    disable_help_subcommand = true,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder that holds everything custody keeps [default: $CUSTODY_DATA_DIR, else
    /// $XDG_DATA_HOME/custody]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file [default: config.toml in the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of the data on stdout
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// JMESPath query over the data
    #[arg(long, global = true, value_name = "JMESPATH")]
    pub query: Option<String>,
    /// How progress is shown on stderr; docs/progress.md describes the lines of JSON
    #[arg(long, global = true, value_enum, value_name = "MODE")]
    pub progress: Option<ProgressMode>,
    /// File with the passphrase, if one is needed [default: $CUSTODY_PASSPHRASE_FILE, else asked]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Say only what went wrong: no progress, and no summary of what was done
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say which requests are made, with their answers' status and time
    #[arg(long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// Whether errors are read by a script.
    pub(crate) fn wants_json_errors(&self) -> bool {
        matches!(self.output, Some(Format::Json | Format::Jsonc))
            || self.progress == Some(ProgressMode::Json)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Protect(commands::protect::Options),
    Points(commands::points::Options),
    Restore(commands::restore::Options),
    Ls(commands::ls::Options),
    Cat(commands::cat::Options),
    Diff(commands::diff::Options),
    Find(commands::find::Options),
    Verify(commands::verify::Options),
    Forget(commands::forget::Options),
    Prune(commands::prune::Options),
    Repair(commands::repair::Options),
    Status(commands::status::Options),
    Drill(commands::drill::Options),
    Keyvault(commands::keyvault::Options),
    Identity(commands::identity::Options),
    Role(commands::role::Options),
    Group(commands::group::Options),
    Subscription(commands::subscription::Options),
    Backup(commands::backup::Options),
    Job(commands::job::Options),
    Audit(commands::audit::Options),
    Ledger(commands::ledger::Options),
    RecoveryKit(commands::recovery_kit::Options),
    Init(commands::init::Options),
    Up(commands::up::Options),
    Env(commands::env::Options),
    Trust(commands::trust::Options),
    Completions(commands::completions::Options),
    Version(commands::version::Options),
    #[command(hide = true)]
    HelpMarkdown(commands::help_markdown::Options),
}

/// In which resource group.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GroupOption {
    /// Resource group [default: the installation's]
    #[arg(short = 'g', long, value_name = "GROUP")]
    pub resource_group: Option<String>,
}

/// Of which resource groups.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WithinOption {
    /// Only those in this resource group [default: all]
    #[arg(short = 'g', long, value_name = "GROUP")]
    pub resource_group: Option<String>,
}

/// In which vault.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VaultOption {
    /// Vault of either kind, by its name or resource id [default: the one that has the item, else
    /// all]
    #[arg(long, alias = "vault-name", value_name = "NAME")]
    pub vault: Option<String>,
    /// The vault's resource group [default: the installation's; all if no vault is named]
    #[arg(short = 'g', long, value_name = "GROUP")]
    pub resource_group: Option<String>,
}

/// In which vault something comes under protection.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TargetOption {
    /// Vault of either kind, by its name or resource id; if there is none of the name, a Backup
    /// vault is made [default: the installation's]
    #[arg(long, alias = "vault-name", value_name = "NAME")]
    pub vault: Option<String>,
    /// The vault's resource group.
    #[command(flatten)]
    pub group: GroupOption,
}

/// Which recovery point.
#[derive(Clone, Debug, Args)]
pub(crate) struct PointOption {
    /// Recovery point: latest, an id (its beginning will do), or a time: the newest point of then
    #[arg(long, value_name = "POINT", default_value = "latest")]
    pub point: String,
}
