//! The server in this process: opens a data folder and hands its requests to `wire`.

use std::path::PathBuf;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_client::Transport;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::CliError;

/// Where an installation is and how it is opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// The data folder.
    pub data_folder: PathBuf,
    /// Whether a missing data folder is set up.
    pub set_up: bool,
    /// The kind of seal.
    pub seal: SealKind,
    /// Where the seal's file is, outside the data folder.
    pub seal_folder: PathBuf,
}

/// A repository that is opened without an installation's records.
#[derive(Clone, Debug)]
pub struct LoneRepository {
    /// The repository's folder.
    pub folder: PathBuf,
    /// Its fingerprint as the owner knows it; without one what is found must be trusted.
    pub fingerprint: Option<String>,
    /// A recovery kit that opens it; without one the keys of the installation do.
    pub recovery_kit: Option<Vec<u8>>,
}

/// What opens the embedded key vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealKind {
    /// A file that only its owner may read, outside the data folder.
    #[default]
    File,
    /// The same file, sealed under a passphrase.
    Passphrase,
}

/// What a server takes from the machine.
#[derive(Clone)]
pub struct Machine {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Asks for a passphrase when one turns out to be needed; the text says what for.
pub type AskPassphrase<'a> = &'a dyn Fn(&str) -> Result<Zeroizing<String>, CliError>;

/// Opens installations: the port behind which `wire` stands.
pub trait Installations {
    /// Opens a data folder as a server in this process.
    fn open(
        &self,
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError>;

    /// Opens a repository by itself, as a server whose one Backup vault, named in the
    /// installation's defaults, is that repository.
    fn open_repository(
        &self,
        repository: &LoneRepository,
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError>;

    /// Sets up an empty data folder from a recovery kit, and says what it holds.
    fn restore_kit(
        &self,
        kit: &[u8],
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Value, CliError>;
}

/// The installations of this machine, served by this process.
pub(crate) struct InProcess;

impl Installations for InProcess {
    fn open(
        &self,
        _place: &Place,
        _machine: &Machine,
        _passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        Err(CliError::Usage("not yet".to_owned()))
    }

    fn open_repository(
        &self,
        _repository: &LoneRepository,
        _place: &Place,
        _machine: &Machine,
        _passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        Err(CliError::Usage("not yet".to_owned()))
    }

    fn restore_kit(
        &self,
        _kit: &[u8],
        _place: &Place,
        _machine: &Machine,
        _passphrase: AskPassphrase<'_>,
    ) -> Result<Value, CliError> {
        Err(CliError::Usage("not yet".to_owned()))
    }
}
