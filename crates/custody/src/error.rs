//! Why a command failed.

use std::io;
use std::path::PathBuf;

use custody_client::{ClientError, JobError};
use custody_names::InvalidName;
use serde_json::{Map, Value};

use crate::exit_code::ExitCode;

/// Where errors are explained.
const DOCS: &str = "docs/errors.md";

/// A failed command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The server refused or failed.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The data folder cannot be opened.
    #[error("{message}")]
    Start {
        /// Stable code.
        code: String,
        /// What and why.
        message: String,
        /// The command that mends it.
        fix: Option<String>,
    },
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A path that was given does not exist or cannot be looked at.
    #[error("{path} cannot be opened: {reason}")]
    Path {
        /// The path, fit to be shown.
        path: String,
        /// What the operating system says.
        reason: io::Error,
    },
    /// What was named is nowhere.
    #[error("{message}")]
    NotFound {
        /// What was looked for, and where.
        message: String,
        /// The command that shows what there is.
        fix: String,
    },
    /// Something existing forbids it.
    #[error("{message}")]
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What stands in the way.
        message: String,
        /// The way round it.
        fix: String,
    },
    /// The configuration file cannot be used.
    #[error("the configuration file {} cannot be used: {reason}", crate::terminal::path(path.as_os_str().as_encoded_bytes()))]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// A destructive command was not confirmed.
    #[error("{0}")]
    ConfirmationMissing(String),
    /// A passphrase is needed and there is none.
    #[error("a passphrase is needed: {0}")]
    PassphraseMissing(String),
    /// What a stream is to be made of failed, so that it is not the whole.
    #[error("{message}")]
    Producer {
        /// Stable code.
        code: &'static str,
        /// What failed.
        message: String,
        /// The command that mends it.
        fix: String,
    },
    /// A stream ended before its end.
    #[error("the content broke off: {0}")]
    BrokenOff(io::Error),
    /// Ctrl-C.
    #[error("interrupted; everything committed before is kept")]
    Interrupted,
    /// stdout or a file cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] custody_ambient::EntropyUnavailable),
}

impl CliError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Server(error) => &error.code,
            Self::Start { code, .. } => code,
            Self::Name(_) => "InvalidName",
            Self::Usage(_) => "UsageError",
            Self::Path { reason, .. } if reason.kind() == io::ErrorKind::NotFound => "PathNotFound",
            Self::Path { .. } => "PathNotReadable",
            Self::NotFound { .. } => "NotFound",
            Self::Conflict { code, .. } | Self::Producer { code, .. } => code,
            Self::Configuration { .. } => "ConfigurationInvalid",
            Self::ConfirmationMissing(_) => "ConfirmationMissing",
            Self::PassphraseMissing(_) => "PassphraseMissing",
            Self::BrokenOff(_) => "ContentBrokenOff",
            Self::Interrupted => "Interrupted",
            Self::Output(reason) if is_full(reason) => "DiskFull",
            Self::Output(_) => "OutputNotWritable",
            Self::Entropy(_) => "EntropyUnavailable",
        }
    }

    /// The command that mends it.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Server(error) => error.fix.as_deref(),
            Self::Start { fix, .. } => fix.as_deref(),
            Self::NotFound { fix, .. }
            | Self::Conflict { fix, .. }
            | Self::Producer { fix, .. } => Some(fix),
            Self::ConfirmationMissing(_) => Some("add --yes to the same command"),
            Self::PassphraseMissing(_) => {
                Some("add --passphrase-file FILE or set CUSTODY_PASSPHRASE_FILE")
            }
            _ => None,
        }
    }

    /// How the process ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Server(error) => {
                ExitCode::of_error(&error.code, error.inner_code.as_deref(), error.status)
            }
            Self::Conflict { .. } => ExitCode::Conflict,
            other => ExitCode::of_error(other.code(), None, None),
        }
    }

    /// The error as the JSON line that scripts read from stderr.
    pub fn to_json(&self) -> Value {
        let fix = self.fix().map_or(Value::Null, Value::from);
        Value::Object(Map::from_iter([
            ("code".to_owned(), self.code().into()),
            ("message".to_owned(), self.to_string().into()),
            ("fix".to_owned(), fix),
            ("docs".to_owned(), DOCS.into()),
            ("exitCode".to_owned(), self.exit_code().number().into()),
        ]))
    }
}

impl From<JobError> for CliError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Failed(error) => Self::Server(error),
            JobError::Cancelled => Self::Interrupted,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
