//! `custody trust`: makes this machine know the server.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use crate::serving::Reached;
use crate::{hosts, terminal};

/// Longest hosts file that is changed, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Make this machine know the server
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the server's host names into the hosts file
    #[command(after_help = "Examples:\n  sudo custody --data-dir /srv/custody trust hosts\n  \
        custody trust hosts --hosts-file ./hosts --yes\n\nMany resolvers do not know names below \
        .localhost. The names of the key vaults and managed HSMs that exist now are written between \
        two marks; written again they are brought up to date, and nothing else is touched.\n\n\
        Exit codes: 0 done, 2 the file cannot be written, 10 not confirmed; the others are in \
        docs/exit-codes.md.")]
    Hosts(Hosts),
}

#[derive(Debug, Args)]
struct Hosts {
    /// The hosts file
    #[arg(long, value_name = "FILE", default_value = "/etc/hosts")]
    hosts_file: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Hosts(options) => write_hosts(options, context),
    }
}

fn write_hosts(options: &Hosts, context: &Context<'_>) -> Result<Outcome, CliError> {
    let path = context.absolute(&options.hosts_file);
    let shown = terminal::path(path.as_os_str().as_encoded_bytes());
    let failed = |reason| CliError::Path { path: shown.clone(), reason };
    let lines = hosts::wanted(context, &Reached::find(context)?)?;
    let owner = context.installation()?.tenant_id.to_string();
    let before = read(&path).map_err(failed)?;
    let after = hosts::with_lines(&before, &owner, &lines);
    let changes = before != after;
    if changes {
        let consequence = format!("{shown} will hold these lines:\n  {}", lines.join("\n  "));
        confirm(context, options.yes, &consequence, "hosts")?;
        write(&path, &after).map_err(failed)?;
    }
    let value = json!({ "file": path.to_string_lossy(), "changed": changes, "lines": lines });
    let done = if changes { "written" } else { "up to date already" };
    Ok(Outcome::data(value).with_text(format!("{shown}: {done}\n")))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(FILE_BYTES_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(text)
}

/// Writes in place: in a container the file is mounted by itself and cannot be replaced.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}
