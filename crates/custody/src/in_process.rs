//! The server in this process: opens a data folder and hands its requests to `wire`.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_client::{Transport, TransportError};
use custody_wire::{PlatformOptions, SealChoice, SecretBytes, Server, StartError};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::terminal;

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
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        if !place.set_up && !place.data_folder.join(INSTALLATION_FILE).exists() {
            let folder = terminal::path(place.data_folder.as_os_str().as_encoded_bytes());
            return Err(CliError::NotFound {
                message: format!("there is no custody data folder at {folder}"),
                fix: "custody protect PATH".to_owned(),
            });
        }
        let server = Server::open(options(place, machine, passphrase)?).map_err(start)?;
        Ok(Arc::new(OwnServer(server)))
    }

    fn open_repository(
        &self,
        repository: &LoneRepository,
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        let kit = match &repository.recovery_kit {
            Some(kit) => Some((kit.clone(), secret(passphrase("the recovery kit")?))),
            None => None,
        };
        let wanted = custody_wire::LoneRepository {
            folder: repository.folder.clone(),
            fingerprint: repository.fingerprint.clone(),
            kit,
        };
        let options = options(place, machine, passphrase)?;
        let server = Server::open_repository(options, wanted).map_err(start)?;
        Ok(Arc::new(OwnServer(server)))
    }

    fn restore_kit(
        &self,
        kit: &[u8],
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Value, CliError> {
        let kit_passphrase = secret(passphrase("the recovery kit")?);
        let options = options(place, machine, passphrase)?;
        custody_wire::restore_kit(options, kit, &kit_passphrase).map_err(start)
    }
}

/// What marks a data folder.
const INSTALLATION_FILE: &str = "installation.json";

/// A server that ends what it has begun before it goes.
struct OwnServer(Server);

impl Transport for OwnServer {
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Box<dyn Read + Send>>, TransportError> {
        Ok(self.0.handle(request))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn options(
    place: &Place,
    machine: &Machine,
    passphrase: AskPassphrase<'_>,
) -> Result<PlatformOptions, CliError> {
    let folder = place.seal_folder.clone();
    let seal = match place.seal {
        SealKind::File => SealChoice::File { folder },
        SealKind::Passphrase => {
            SealChoice::Passphrase { folder, passphrase: secret(passphrase("the seal")?) }
        }
    };
    Ok(PlatformOptions {
        data_folder: place.data_folder.clone(),
        seal,
        clock: Arc::clone(&machine.clock),
        entropy: Arc::clone(&machine.entropy),
        os_user: os_user(),
    })
}

fn secret(text: Zeroizing<String>) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn start(error: StartError) -> CliError {
    CliError::Start { code: error.code().to_owned(), message: error.to_string(), fix: error.fix() }
}

/// The user of the operating system, for the ledger: by number, which cannot be made up, and by
/// the name that this machine knows for it.
fn os_user() -> String {
    let id = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then(|| name.to_owned())
    });
    match name {
        Some(name) => format!("{name} (uid {id})"),
        None => format!("uid {id}"),
    }
}
