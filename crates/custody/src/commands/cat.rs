//! `custody cat`: one file of a recovery point to stdout.

use std::ffi::OsString;
use std::io::Read as _;

use clap::Args;
use custody_client::SourcePath;
use serde_json::json;

use crate::arguments::{PointOption, VaultOption};
use crate::context::Context;
use crate::error::CliError;
use crate::items;
use crate::lines::broken_off;
use crate::output::Outcome;

/// Bytes that are passed on at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Write one file of a recovery point to stdout
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody cat documents letters/2026/june.txt\n  custody cat \
    databases dump.sql --point 2026-11-01 | psql\n\nNothing but what the file needs is read.\n\n\
    Exit codes: 0 done, 5 no such item, point or path, 7 the key may not be used, 9 the file is \
    damaged; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// The item
    item: String,
    /// The file's path in it
    path: OsString,
    #[command(flatten)]
    point: PointOption,
    #[command(flatten)]
    vault: VaultOption,
}

/// Streams one file.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = items::find_item(context, &options.vault, &options.item)?;
    let body = json!({
        "point": items::point(context, &options.point.point),
        "path": SourcePath::from(options.path.as_os_str()).to_json(),
    });
    let mut content = context.client()?.stream(&format!("{}/content", item.id), &body)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => return Ok(Outcome::nothing()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken_off(error)),
        };
        context.print(buffer.get(..read).unwrap_or_default())?;
    }
}
