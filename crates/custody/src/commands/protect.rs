//! `custody protect`: puts folders under protection and takes a recovery point.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use custody_client::SourcePath;
use custody_names::ResourceId;
use serde_json::{Value, json};

use crate::answers::number;
use crate::arguments::TargetOption;
use crate::commands::points;
use crate::context::Context;
use crate::error::CliError;
use crate::items::Item;
use crate::jobs::{self, Done};
use crate::output::Outcome;
use crate::set_up;
use crate::{human, terminal, vaults};

mod registration;
mod scan;
mod stream;

use registration::Registration;
use stream::{Feed, Producer};

/// Back up folders or files: put them under protection and take a recovery point
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "Examples:\n  custody protect ~/documents\n  custody protect /etc /root \
    --item machine --exclude '*.tmp' --one-file-system\n  custody protect /srv --store \
    /mnt/backup/srv --vault srv\n  custody protect ~/documents --dry-run\n  \
    pg_dump shop | custody protect --stdin shop.sql\n  custody protect --stdin shop.sql \
    --stdin-command pg_dump shop\n  custody protect /dev/vg/snapshot --item disk\n  \
    custody protect /dev/vg/snapshot --item disk --changed-blocks changed.txt\n\n\
    A block device is read as one file, zeros as holes: give a snapshot, for a device that is in use \
    may mix states. A list of changed blocks is believed, but for every 32nd block, which is read \
    all the same.\n\nA stream becomes an item with one file. Nobody learns whether the \
    command before a pipe failed, so that an empty one is refused; with --stdin-command, which \
    takes the rest of the line, no point is made if the command fails.\n\nThe first run makes what \
    is missing (key vault, key, grants, Backup vault) and says so. The same paths again are the \
    next point of the same item; patterns are kept with the item.\n\nExit codes: 0 done, 3 done \
    with warnings (unreadable or changing files are listed), 5 a path does not exist, 6 the item \
    has other paths, 7 the key may not be used, 8 key vault or store unreachable, 14 disk full, 130 \
    interrupted; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// Folders, files or block devices
    #[arg(required_unless_present = "stdin", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Take the standard input, as a file of this name
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = [
            "paths", "exclude", "include", "exclude_caches", "one_file_system", "reset_patterns",
            "dry_run",
        ]
    )]
    stdin: Option<String>,
    /// Run the rest of the command line and take what it writes instead; no point is made if it
    /// fails
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "stdin",
        num_args = 1..,
        allow_hyphen_values = true
    )]
    stdin_command: Vec<OsString>,
    /// Name of the item [default: the first path's last part]
    #[arg(long, value_name = "NAME")]
    item: Option<String>,
    #[command(flatten)]
    vault: TargetOption,
    /// Folder for a new vault's repository [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Leave out what matches (gitignore syntax); may be given again
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Take what matches although it is excluded; may be given again
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out folders that a CACHEDIR.TAG marks as caches
    #[arg(long)]
    exclude_caches: bool,
    /// Stay on the file systems of the paths
    #[arg(long)]
    one_file_system: bool,
    /// How much time compressing may take; kept with the item [default: auto]
    #[arg(long, value_enum, value_name = "EFFORT")]
    compression: Option<Compression>,
    /// Forget the patterns and options kept with the item first
    #[arg(long)]
    reset_patterns: bool,
    /// Read of an image or block device only what this list says has changed since the newest point
    /// (docs/formats/changed-blocks.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdin", "dry_run"])]
    changed_blocks: Option<PathBuf>,
    /// Show what would be taken, and take nothing
    #[arg(long)]
    dry_run: bool,
}

/// How much time compressing may take.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Compression {
    /// More bytes, stored sooner
    Fast,
    /// What pays: bytes that do not shrink are not tried
    Auto,
    /// Fewer bytes, at several times the work
    Best,
}

impl Compression {
    /// As the item has it.
    const fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Auto => "auto",
            Self::Best => "best",
        }
    }
}

/// Registers the paths and takes a recovery point.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let producer = options.producer(context)?;
    let paths = source_paths(context, &options.paths)?;
    if options.dry_run {
        return scan::run(options, context, &paths);
    }
    let vault = options.vault(context)?;
    let store = options.store.as_deref().map(|store| context.absolute(store));
    let wanted = set_up::Wanted {
        group: context.group(options.vault.group.resource_group.as_deref())?,
        vault: &vault,
        store: store.as_deref(),
    };
    let made = set_up::ensure(context, &wanted)?;
    let item = Registration { options, paths: &paths }.ensure(context, &vault)?;
    let action = format!("{}/backup", item.id);
    let done = match producer {
        None => jobs::run(context, &vault, &action, &options.body(context))?,
        Some(producer) => {
            let feed = Feed::begin(context, producer)?;
            feed.explain(jobs::run(context, &vault, &action, &json!({ "stream": feed.id() })))?
        }
    };
    let point = taken_point(context, &item, &done)?;
    if !made.is_empty() {
        say_what_to_keep(context, &vault, &paths)?;
    }
    let restore = restore_command(context, options, &item, &point);
    let value = done.to_json(json!({
        "item": item.name,
        "vault": vault.name(),
        "recoveryPoint": point,
        "leftOut": done.job.result.get("leftOut"),
        "result": done.job.result,
        "made": made,
        "restoreCommand": restore,
    }));
    let text = summary(context, &item, &done, &point, &restore);
    Ok(Outcome::data(value).with_report(text).ending(done.exit()))
}

impl Options {
    /// What the stream is made of, if one is to be taken.
    fn producer(&self, context: &Context<'_>) -> Result<Option<Producer>, CliError> {
        match (&self.stdin, self.stdin_command.as_slice()) {
            (None, _) => Ok(None),
            (Some(_), []) => Producer::stdin(context).map(Some),
            (Some(_), command) => Ok(Some(Producer::Command(command.to_vec()))),
        }
    }

    /// What a backup of paths is told.
    fn body(&self, context: &Context<'_>) -> Value {
        match &self.changed_blocks {
            None => json!({}),
            Some(list) => {
                let list = context.absolute(list);
                json!({ "changedBlocks": SourcePath::from(list.as_path()).to_json() })
            }
        }
    }

    fn vault(&self, context: &Context<'_>) -> Result<ResourceId, CliError> {
        let TargetOption { vault, group } = &self.vault;
        vaults::target(context, group.resource_group.as_deref(), vault.as_deref())
    }
}

/// The paths as they really are: absolute, without links, each once.
fn source_paths(context: &Context<'_>, given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::with_capacity(given.len());
    for path in given {
        let real = context.absolute(path).canonicalize().map_err(|reason| CliError::Path {
            path: terminal::path(path.as_os_str().as_encoded_bytes()),
            reason,
        })?;
        if !paths.contains(&real) {
            paths.push(real);
        }
    }
    Ok(paths)
}

/// The recovery point that the job took, without the envelope of ARM.
fn taken_point(context: &Context<'_>, item: &Item, done: &Done) -> Result<Value, CliError> {
    let id = done.job.result.get("recoveryPointId").and_then(Value::as_str);
    let Some(id) = id else { return Ok(Value::Null) };
    let point = context.client()?.get(&format!("{}/recoveryPoints/{id}", item.id))?;
    Ok(points::plain(item, &point))
}

fn summary(
    context: &Context<'_>,
    item: &Item,
    done: &Done,
    point: &Value,
    restore: &str,
) -> String {
    let of_point = |name| number(point, name);
    let word = |name: &str| point.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut text = format!(
        "recovery point {} of {}, {}\n{}, {} read, {} newly stored, {}\n",
        terminal::line(word("id")),
        item.name,
        human::time(word("time"), &context.world.time_zone),
        human::count(of_point("files"), "file"),
        human::size(of_point("size")),
        human::size(of_point("newBytes")),
        done.took(),
    );
    text.push_str(&made_of(&done.job.result));
    text.push_str(&left_out(&done.job.result));
    text.push_str(&warned(done));
    let _ = writeln!(text, "to restore it: {restore}");
    text
}

/// What was known already, and how small the rest became: deduplication and compression.
fn made_of(result: &Value) -> String {
    let [bytes, new, stored, unchanged] =
        ["bytes", "newBytes", "storedBytes", "unchangedFiles"].map(|name| number(result, name));
    let mut parts = Vec::new();
    if unchanged > 0 {
        parts.push(format!("{} unchanged", human::count(unchanged, "file")));
    }
    if bytes > 0 && stored > 0 {
        parts.push(format!(
            "{} of the bytes new, stored in {} ({} of the new)",
            human::percent(new, bytes),
            human::size(stored),
            human::percent(stored, new),
        ));
    }
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join("; ")) }
}

/// How many warnings there were, by their codes.
fn warned(done: &Done) -> String {
    if done.job.warning_count == 0 {
        return String::new();
    }
    let by_code = done.job.result.get("warningsByCode").and_then(Value::as_object);
    let codes = by_code.into_iter().flatten();
    let codes: Vec<String> =
        codes.map(|(code, count)| format!("{count} {}", terminal::line(code))).collect();
    let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
    let warnings = human::count(done.job.warning_count, "warning");
    format!("{warnings}{codes}: custody job show -n {}\n", done.id)
}

/// What was left out and why, in numbers: `--dry-run` names it.
fn left_out(result: &Value) -> String {
    const REASONS: [(&str, &str); 4] = [
        ("byPattern", "by pattern"),
        ("own", "custody's own"),
        ("caches", "marked as caches"),
        ("otherFileSystems", "on other file systems"),
    ];
    let counts = result.get("leftOut").unwrap_or(&Value::Null);
    let parts: Vec<String> = REASONS
        .iter()
        .filter_map(|(name, words)| {
            let count = counts.get(name).and_then(Value::as_u64).filter(|count| *count > 0)?;
            Some(format!("{count} {words}"))
        })
        .collect();
    if parts.is_empty() { String::new() } else { format!("left out: {}\n", parts.join(", ")) }
}

/// What must be kept to be able to restore, said once.
fn say_what_to_keep(
    context: &Context<'_>,
    vault: &ResourceId,
    paths: &[PathBuf],
) -> Result<(), CliError> {
    let installation = context.installation()?;
    let folder = &installation.data_folder;
    let shown = |path: &Path| terminal::path(path.as_os_str().as_encoded_bytes());
    context.say("");
    context.say("To be able to restore, keep these apart from this machine:");
    let seal = installation.seal.place.as_deref().map(terminal::line).unwrap_or_default();
    context.say(&format!("  the seal {seal} and {}/keys.db", shown(folder)));
    context.say("  or a recovery kit: custody recovery-kit create --file kit.custody");
    let store = context.client()?.get(vault.as_str())?;
    let place = store.pointer("/properties/store/path").and_then(SourcePath::from_json);
    let place = place.map_or_else(|| folder.clone(), |place| place.to_path());
    if let Some(source) = paths.iter().find(|source| on_one_device(source, &place)) {
        context.warn(&format!(
            "warning: the backup in {} lies on the same disk as {}; if that disk fails, both are \
             lost (choose another with --vault NAME --store DIR)",
            shown(&place),
            shown(source),
        ));
    }
    context.say("");
    Ok(())
}

/// Whether two paths lie on one device, as far as can be seen.
fn on_one_device(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.dev())
    };
    device(one).is_some_and(|number| device(other) == Some(number))
}

/// The exact command that restores the point: with the folders and names that this run used.
fn restore_command(context: &Context<'_>, options: &Options, item: &Item, point: &Value) -> String {
    let mut words = vec!["custody".to_owned(), "restore".to_owned(), item.name.clone()];
    if let Some(id) = point.get("id").and_then(Value::as_str) {
        words.extend(["--point".to_owned(), id.to_owned()]);
    }
    words.extend(["--to".to_owned(), format!("./restored-{}", item.name)]);
    if let Some(vault) = &options.vault.vault {
        words.extend(["--vault".to_owned(), terminal::shell_word(vault.as_bytes())]);
    }
    if let Some(group) = &options.vault.group.resource_group {
        words.extend(["-g".to_owned(), terminal::shell_word(group.as_bytes())]);
    }
    if let Some(folder) = &context.global.data_dir {
        words.extend([
            "--data-dir".to_owned(),
            terminal::shell_word(context.absolute(folder).as_os_str().as_encoded_bytes()),
        ]);
    }
    words.join(" ")
}
