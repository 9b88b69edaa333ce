//! `custody restore`: brings an item back.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use custody_client::SourcePath;
use serde_json::{Value, json};

use crate::answers::number;
use crate::arguments::{PointOption, VaultOption};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::in_process::LoneRepository;
use crate::jobs::{self, Done};
use crate::output::Outcome;
use crate::{human, items, terminal};

/// Longest recovery kit, in bytes.
pub(crate) const KIT_BYTES_MAX: u64 = 64 << 20;

/// Restore an item from a recovery point
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody restore documents --to /tmp/restored\n  custody restore \
    documents --point '2026-11-01 12:00' --path letters --to ~/letters --overwrite older\n  \
    custody restore --repository /mnt/backup --recovery-kit kit.custody --to /tmp/restored\n  \
    custody restore documents --to ~/documents --overwrite always --verify-existing\n\n\
    Only what differs is written: a file that stands there with the same size, time and permissions \
    stays as it is, and with --verify-existing only if its content is right. The same command goes \
    on with a restore that was interrupted; after a power cut what stands there is compared \
    unasked. Nothing is written outside of the target folder, whatever stands in it.\n\n\
    Exit codes: 0 done, \
    3 done with warnings (what could not be set is listed), 5 no such item, point or path, 7 the \
    key may not be used, 9 damaged data, 14 target full, 130 interrupted (run it again to go on); \
    the others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    /// The item; with --repository only needed if it holds several
    #[arg(required_unless_present = "repository")]
    item: Option<String>,
    #[command(flatten)]
    point: PointOption,
    /// Folder to restore into
    #[arg(long, value_name = "DIR", required_unless_present = "to_device")]
    to: Option<PathBuf>,
    /// Block device to write the item's one file onto (or the one that --path names); what is on it
    /// is overwritten
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["to", "overwrite", "owner"])]
    to_device: Option<PathBuf>,
    /// Do not ask before a device is overwritten
    #[arg(short, long, requires = "to_device")]
    yes: bool,
    /// Restore only this path of the item
    #[arg(long, value_name = "SUB")]
    path: Option<OsString>,
    /// What happens to other files that are there already
    #[arg(long, value_enum, default_value = "never", value_name = "WHEN")]
    overwrite: Overwrite,
    /// Read files that are there already, and take over only those whose content is right
    #[arg(long)]
    verify_existing: bool,
    /// Whose the files will be: the same numbers, the same names, or whoever restores
    #[arg(long, value_enum, value_name = "WHOSE")]
    owner: Option<Owner>,
    #[command(flatten)]
    vault: VaultOption,
    /// Restore from this repository without the installation's records
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// The repository's fingerprint, as status or the recovery kit has it
    #[arg(long, value_name = "HEX", requires = "repository")]
    fingerprint: Option<String>,
    /// A recovery kit that opens the repository
    #[arg(long, value_name = "FILE", requires = "repository")]
    recovery_kit: Option<PathBuf>,
    /// End only when everything is on the disk, so that it outlives a power cut
    #[arg(long)]
    sync: bool,
}

/// What happens to files that are there already.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Overwrite {
    /// They stay.
    Never,
    /// They are replaced if they are older.
    Older,
    /// They are replaced.
    Always,
}

/// Whose the restored files will be.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Owner {
    /// The user and group numbers of the source.
    Numeric,
    /// The user and group names of the source.
    Name,
    /// Whoever restores.
    None,
}

/// Restores and says what was restored.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    if let Some(folder) = &options.repository {
        let kit =
            options.recovery_kit.as_deref().map(|path| read_kit(context, path)).transpose()?;
        if options.fingerprint.is_none() && kit.is_none() {
            context.warn(
                "warning: without --fingerprint or a recovery kit nothing tells this repository \
                 from a forged one; what is found is trusted",
            );
        }
        context.use_repository(&LoneRepository {
            folder: context.absolute(folder),
            fingerprint: options.fingerprint.clone(),
            recovery_kit: kit,
        })?;
    }
    let item = match &options.item {
        Some(name) => items::find_item(context, &options.vault, name)?,
        None => items::only_item(context, &options.vault)?,
    };
    let target = match (&options.to_device, &options.to) {
        (Some(device), _) => {
            let device = context.absolute(device);
            let shown = terminal::path(device.as_os_str().as_encoded_bytes());
            let consequence = format!("what is on {shown} will be overwritten");
            confirm(context, options.yes, &consequence, &shown)?;
            device
        }
        (None, Some(folder)) => context.absolute(folder),
        (None, None) => return Err(CliError::Usage("say where to, with --to DIR".to_owned())),
    };
    let mut body = json!({
        "point": items::point(context, &options.point.point),
        "target": SourcePath::from(target.as_path()).to_json(),
        "overwrite": word(options.overwrite),
        "verifyExisting": options.verify_existing,
        "device": options.to_device.is_some(),
        "sync": options.sync,
    });
    if let Value::Object(fields) = &mut body {
        if let Some(path) = &options.path {
            fields.insert("path".to_owned(), SourcePath::from(path.as_os_str()).to_json());
        }
        if let Some(owner) = options.owner {
            fields.insert("owner".to_owned(), word(owner).into());
        }
    }
    let done = jobs::run(context, &item.vault, &format!("{}/restore", item.id), &body)?;
    let value = done.to_json(json!({
        "item": item.name,
        "target": SourcePath::from(target.as_path()).to_json(),
        "files": number(&done.job.result, "files"),
        "bytes": number(&done.job.result, "bytes"),
        "result": done.job.result,
    }));
    let text = summary(&done, &target);
    Ok(Outcome::data(value).with_report(text).ending(done.exit()))
}

/// Reads a recovery kit.
pub(crate) fn read_kit(context: &Context<'_>, path: &std::path::Path) -> Result<Vec<u8>, CliError> {
    let path = context.absolute(path);
    let shown = terminal::path(path.as_os_str().as_encoded_bytes());
    let failed = |reason| CliError::Path { path: shown.clone(), reason };
    if std::fs::metadata(&path).map_err(failed)?.len() > KIT_BYTES_MAX {
        return Err(CliError::Usage(format!("{shown} is no recovery kit: it is too long")));
    }
    std::fs::read(&path).map_err(failed)
}

fn summary(done: &Done, target: &std::path::Path) -> String {
    let result = &done.job.result;
    let files = |name| human::count(number(result, name), "file");
    let size = |name| human::size(number(result, name));
    let mut text = format!(
        "restored {} ({}) to {} in {}\n",
        files("files"),
        size("bytes"),
        terminal::path(target.as_os_str().as_encoded_bytes()),
        done.took(),
    );
    let mut line = |name: &str, told: String| {
        if number(result, name) > 0 {
            let _ = writeln!(text, "  {told}");
        }
    };
    line("replacedFiles", format!("{} of them replaced", number(result, "replacedFiles")));
    line("reusedBytes", format!("{} of it stood there already, and right", size("reusedBytes")));
    let compared = match number(result, "comparedFiles") {
        0 => "by size and time",
        _ => "content compared",
    };
    let (taken, bytes) = (files("takenOverFiles"), size("takenOverBytes"));
    line("takenOverFiles", format!("{taken} ({bytes}) stood there already ({compared})"));
    line("keptFiles", format!("{} kept in place of what was to be restored", files("keptFiles")));
    if done.job.warning_count > 0 {
        let warnings = human::count(done.job.warning_count, "warning");
        let _ = writeln!(text, "{warnings}: custody job show -n {}", done.id);
    }
    text
}

fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
