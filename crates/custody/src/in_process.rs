//! The way to a data folder: to the server that runs on it, else to one in this process, which
//! opens it and hands its requests to `wire`.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_client::{ClientError, Transport, TransportError};
use custody_resources::Refusal;
use custody_wire::{PlatformOptions, Region, SealChoice, SecretBytes, Server, StartError};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::ReleaseAuthorityConfig;
use crate::error::CliError;
use crate::{local_socket, release_authority, terminal, virtual_clock};

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
    /// Whose word counts for the release of keys.
    pub(crate) release_authorities: Vec<ReleaseAuthorityConfig>,
    /// Places for resources that the configuration adds.
    pub locations: Vec<Region>,
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
    /// The operating system's name of the user.
    pub user: String,
    /// Whether the clock is one that a drill moves; such a data folder takes no other (DESIGN §7).
    pub clock_is_virtual: bool,
}

/// Asks for a passphrase when one turns out to be needed; the text says what for.
pub type AskPassphrase<'a> = &'a dyn Fn(&str) -> Result<Zeroizing<String>, CliError>;

/// Opens installations: the port behind which `wire` stands.
pub trait Installations {
    /// Reaches the server that runs on a data folder, or opens it as a server in this process.
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

/// What marks a data folder that is set up.
const INSTALLATION_FILE: &str = "installation.json";

/// The installations of this machine, served by this process.
pub(crate) struct InProcess;

impl Installations for InProcess {
    fn open(
        &self,
        place: &Place,
        machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        match local_socket::find(&place.data_folder) {
            Some(server) => Ok(Arc::new(server)),
            None => Ok(Arc::new(InOwnProcess(open_server(place, machine, passphrase)?))),
        }
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
        Ok(Arc::new(InOwnProcess(Server::open_repository(options, wanted)?)))
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
        Ok(custody_wire::restore_kit(options, kit, &kit_passphrase)?)
    }
}

/// Opens a data folder as a server.
pub(crate) fn open_server(
    place: &Place,
    machine: &Machine,
    passphrase: AskPassphrase<'_>,
) -> Result<Server, CliError> {
    if !place.set_up && !place.data_folder.join(INSTALLATION_FILE).exists() {
        let folder = terminal::path(place.data_folder.as_os_str().as_encoded_bytes());
        return Err(CliError::Start {
            code: "NotInitialised".to_owned(),
            message: format!("nothing is set up in {folder} yet"),
            fix: Some("custody protect FOLDER, or custody init".to_owned()),
        });
    }
    Ok(Server::open(options(place, machine, passphrase)?)?)
}

/// Hands requests to a server by calling it.
struct InOwnProcess(Server);

impl Transport for InOwnProcess {
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Box<dyn Read + Send>>, TransportError> {
        let answer = self.0.handle(request);
        Ok(answer.map(|body| Box::new(Explained(body)) as Box<dyn Read + Send>))
    }
}

/// A body whose breaking off is explained in the client's words.
struct Explained(Box<dyn Read + Send>);

impl Read for Explained {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
                Some(refusal) => io::Error::other(ClientError {
                    status: Some(refusal.status),
                    fix: refusal.fix.clone(),
                    ..ClientError::new(refusal.code.as_ref(), refusal.message.as_str())
                }),
                None => error,
            }
        })
    }
}

impl Drop for InOwnProcess {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn options(
    place: &Place,
    machine: &Machine,
    passphrase: AskPassphrase<'_>,
) -> Result<PlatformOptions, CliError> {
    if !machine.clock_is_virtual && virtual_clock::governs(&place.data_folder) {
        return Err(virtual_clock::refusal(&place.data_folder));
    }
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
        os_user: machine.user.clone(),
        release_authorities: release_authority::read(
            &place.release_authorities,
            &place.data_folder,
        )?,
        locations: place.locations.clone(),
    })
}

fn secret(passphrase: Zeroizing<String>) -> SecretBytes {
    SecretBytes::new(passphrase.as_bytes().to_vec())
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::Start { code: error.code().to_owned(), message: error.to_string(), fix: error.fix() }
    }
}
