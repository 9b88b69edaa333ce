//! `custody recovery-kit`: one file that opens everything on an empty machine.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::BASE64;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::commands::restore::read_kit;
use crate::context::Context;
use crate::error::CliError;
use crate::new_file::{exists, write_new};
use crate::output::Outcome;
use crate::terminal;

/// One file that opens everything on an empty machine
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a recovery kit
    #[command(
        after_help = "Examples:\n  custody recovery-kit create --file kit.custody\n\nWhoever \
        has the kit and its passphrase can open everything; keep it away from this machine, and \
        make a new one when keys were made.\n\nExit codes: 0 done, 6 the file exists, 13 no \
        passphrase; the others are in docs/exit-codes.md."
    )]
    Create(Kit),
    /// Prove that a recovery kit opens, and that it covers the newest keys
    #[command(
        after_help = "Examples:\n  custody recovery-kit test --file kit.custody\n\nExit codes: \
        0 it opens, 13 it does not open with this passphrase; the others are in \
        docs/exit-codes.md."
    )]
    Test(Kit),
    /// Set up an empty data folder from a recovery kit
    #[command(
        after_help = "Examples:\n  custody recovery-kit restore --file kit.custody --data-dir \
        /srv/custody\n\nThen custody repair finds the recovery points again.\n\nExit codes: 0 done, \
        6 the data folder is not empty, 13 it does not open with this passphrase; the others are in \
        docs/exit-codes.md."
    )]
    Restore(Kit),
}

#[derive(Debug, Args)]
struct Kit {
    /// The kit's file
    #[arg(long, alias = "kit", value_name = "FILE")]
    file: PathBuf,
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Create(kit) => create(context, &kit.file),
        Verb::Test(kit) => test(context, &kit.file),
        Verb::Restore(kit) => {
            let bytes = read_kit(context, &kit.file)?;
            let restored = context.world.installations.restore_kit(
                &bytes,
                &context.place,
                &context.machine(),
                &|what| context.passphrase(what),
            )?;
            let folder = terminal::path(context.place.data_folder.as_os_str().as_encoded_bytes());
            let text = format!("set up {folder}\n{}", next_steps(&restored));
            Ok(Outcome::data(restored).with_text(text))
        }
    }
}

/// Which commands bring the recovery points of the kit's repositories back.
fn next_steps(restored: &Value) -> String {
    let repositories = restored.get("repositories").and_then(Value::as_array);
    let places =
        repositories.into_iter().flatten().filter_map(|known| known.get("place")?.as_str());
    let steps: Vec<String> = places
        .map(|place| {
            format!("  custody repair --repository {}\n", terminal::shell_word(place.as_bytes()))
        })
        .collect();
    if steps.is_empty() {
        return "the kit names no repository\n".to_owned();
    }
    format!(
        "to find the recovery points again, give each repository's place as it is now:\n{}",
        steps.concat()
    )
}

fn create(context: &Context<'_>, path: &Path) -> Result<Outcome, CliError> {
    let path = context.absolute(path);
    let shown = terminal::path(path.as_os_str().as_encoded_bytes());
    if path.symlink_metadata().is_ok() {
        return Err(exists(&shown));
    }
    let passphrase = new_passphrase(context)?;
    let body = json!({ "passphrase": passphrase.as_str() });
    let mut answer = context.client()?.post("/custody/recoveryKit", &body)?;
    let kit = answer.get_mut("kit").map(Value::take).unwrap_or_default();
    let kit = BASE64.decode(kit.as_str().unwrap_or_default().as_bytes());
    let kit = kit.map_err(|_| CliError::BrokenOff(std::io::ErrorKind::InvalidData.into()))?;
    write_new(&path, &kit, &shown)?;
    if let Value::Object(fields) = &mut answer {
        fields.remove("kit");
        fields.insert("path".to_owned(), json!(path.to_string_lossy()));
    }
    let text = format!(
        "wrote {shown}; keep it and its passphrase apart from this machine\nto prove that it \
         opens: custody recovery-kit test --file {shown}\n"
    );
    Ok(Outcome::data(answer).with_text(text))
}

fn test(context: &Context<'_>, path: &Path) -> Result<Outcome, CliError> {
    let kit = read_kit(context, path)?;
    let passphrase = context.passphrase("the recovery kit")?;
    let body = json!({ "passphrase": passphrase.as_str(), "kit": BASE64.encode(&kit) });
    let answer = context.client()?.post("/custody/recoveryKit/test", &body)?;
    let covers_all = answer.get("upToDate").and_then(Value::as_bool).unwrap_or_default();
    let text = if covers_all {
        "the kit opens and covers the newest key\n"
    } else {
        "the kit opens, but keys were made after it: create a new one\n"
    };
    Ok(Outcome::data(answer).with_text(text))
}

/// A passphrase for a new kit; typed ones are asked for twice.
fn new_passphrase(context: &Context<'_>) -> Result<Zeroizing<String>, CliError> {
    let first = context.passphrase("the new recovery kit")?;
    if context.asks_passphrase() {
        let second = context.passphrase("the new recovery kit, once more")?;
        if *first != *second {
            return Err(CliError::Usage("the two passphrases differ".to_owned()));
        }
    }
    Ok(first)
}
