//! Files that are written once and replace nothing.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::CliError;

/// Writes a file that must not be there yet, for its owner alone, and makes sure that it lasts.
pub(crate) fn write_new(path: &Path, bytes: &[u8], shown: &str) -> Result<(), CliError> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match opened {
        Ok(mut file) => {
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(CliError::Output)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(shown)),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// The error for one that is there.
pub(crate) fn exists(shown: &str) -> CliError {
    CliError::Conflict {
        code: "FileExists",
        message: format!("{shown} exists already and is not overwritten"),
        fix: "name another file".to_owned(),
    }
}
