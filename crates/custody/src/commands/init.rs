//! `custody init`: sets up a data folder without protecting anything yet.

use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::in_process::{Place, SealKind};
use crate::output::Outcome;
use crate::terminal;

/// Set up the data folder
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody init\n  custody init --seal passphrase\n  custody init \
    --data-dir /srv/custody --seal-folder /etc/custody\n\nprotect does this by itself with a seal \
    file; init is for choosing the seal. An existing data folder is left as it is.\n\nExit codes: 0 \
    done, 6 the data folder has another seal, 13 no passphrase; the others are in \
    docs/exit-codes.md."
)]
pub(crate) struct Options {
    /// What opens the embedded key vault
    #[arg(long, value_enum, value_name = "KIND")]
    pub seal: Option<SealKind>,
    /// Folder for the seal's file, outside the data folder [default: $XDG_CONFIG_HOME/custody]
    #[arg(long, value_name = "DIR")]
    pub seal_folder: Option<PathBuf>,
}

/// Sets up the data folder and says where everything is.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    if options.seal.is_some() || options.seal_folder.is_some() {
        keep_seal(options, context)?;
    }
    let installation = context.installation()?;
    let seal = &installation.seal;
    let folder = terminal::path(installation.data_folder.as_os_str().as_encoded_bytes());
    let seal_place = seal.place.as_deref().map(terminal::line).unwrap_or_default();
    let text = format!(
        "data folder: {folder}\nseal: {} {seal_place}\n  {}\n",
        terminal::line(&seal.kind),
        terminal::line(&seal.protects),
    );
    let value = json!({
        "dataFolder": installation.data_folder.to_string_lossy(),
        "seal": { "kind": seal.kind, "place": seal.place },
    });
    Ok(Outcome::data(value).with_text(text))
}

/// Keeps the choice of the seal in a new configuration file, so that later runs know it.
fn keep_seal(options: &Options, context: &Context<'_>) -> Result<(), CliError> {
    let place = &context.place;
    let config = place.data_folder.join("config.toml");
    let kept = &context.config.seal;
    let same_folder = options.seal_folder.is_none()
        || kept
            .folder
            .as_ref()
            .is_some_and(|kept| place.data_folder.join(kept) == place.seal_folder);
    if kept.kind == Some(place.seal) && same_folder {
        return Ok(());
    }
    if let Some(parent) = config.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(parent).map_err(CliError::Output)?;
    }
    let text = seal_config(options, place)?;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&config) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(CliError::Output),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let config = terminal::path(config.as_os_str().as_encoded_bytes());
            Err(CliError::Conflict {
                code: "ConfigurationExists",
                message: format!("{config} is there already and names no such seal"),
                fix: format!("edit the [seal] part of {config}"),
            })
        }
        Err(error) => Err(CliError::Output(error)),
    }
}

fn seal_config(options: &Options, place: &Place) -> Result<String, CliError> {
    let kind = match place.seal {
        SealKind::File => "file",
        SealKind::Passphrase => "passphrase",
    };
    let mut text = format!("[seal]\nkind = \"{kind}\"\n");
    if options.seal_folder.is_some() {
        let folder = place.seal_folder.to_str().ok_or_else(|| {
            CliError::Usage("--seal-folder must be UTF-8: it is kept in config.toml".to_owned())
        })?;
        let _ = writeln!(text, "folder = {}", toml::Value::from(folder));
    }
    Ok(text)
}
