//! The data folder: where everything of one installation lies, and the file that names it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use custody_ambient::{Entropy, Timestamp};
use custody_names::{
    InstallationId, KeyVaultName, Location, PrincipalId, SubscriptionId, TenantId, VaultGuid,
};
use serde::{Deserialize, Serialize};

use crate::StartError;

/// Newest format of the installation file that this version writes and reads.
pub const INSTALLATION_FORMAT: u32 = 1;
/// The file that names an installation. It is written first and never changed.
const INSTALLATION_FILE: &str = "installation.json";

/// Who an installation is: made once, never changed, so that a lost record store can be made
/// again with the same tenant, subscription and administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// Version of this file's format.
    pub format: u32,
    /// The installation.
    pub installation_id: InstallationId,
    /// Its only tenant so far.
    pub tenant_id: TenantId,
    /// Its only subscription so far.
    pub subscription_id: SubscriptionId,
    /// Who acts for whoever can open the seal.
    pub administrator_id: PrincipalId,
    /// Where its resources lie unless told otherwise.
    pub location: Location,
    /// When it was made.
    pub created: Timestamp,
}

impl Installation {
    /// Mints a new installation.
    pub fn mint(entropy: &dyn Entropy, now: Timestamp) -> Result<Self, StartError> {
        Ok(Self {
            format: INSTALLATION_FORMAT,
            installation_id: InstallationId::mint(entropy)?,
            tenant_id: TenantId::mint(entropy)?,
            subscription_id: SubscriptionId::mint(entropy)?,
            administrator_id: PrincipalId::mint(entropy)?,
            location: "local".parse().map_err(|_| StartError::Bug("the location is a name"))?,
            created: now,
        })
    }

    /// The name of the key vault that `protect` makes: unique, since names of key vaults are.
    pub fn default_key_vault(&self) -> Result<KeyVaultName, StartError> {
        let id = self.installation_id.to_string();
        let head: String = id.chars().take(8).collect();
        format!("custody-{head}").parse().map_err(|_| StartError::Bug("a GUID begins with hex"))
    }
}

/// The part of the installation file that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The folder of one installation.
#[derive(Clone, Debug)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// The folder at `root`, made (0700) if it is not there.
    pub fn open_or_create(root: &Path) -> Result<Self, StartError> {
        let failed = |error| StartError::folder(root, &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        Ok(Self { root: root.canonicalize().map_err(failed)? })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record store.
    pub fn records(&self) -> PathBuf {
        self.root.join("records.db")
    }

    /// The embedded key vault's sealed keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys.db")
    }

    /// The ledger's folder.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The repository of a vault that was given no store of its own.
    pub fn repository(&self, vault: VaultGuid) -> PathBuf {
        self.root.join("vaults").join(vault.to_string())
    }

    /// What this machine keeps of the index of a vault's repository. Losing it loses time only.
    pub fn cache(&self, vault: VaultGuid) -> PathBuf {
        self.root.join("cache").join(vault.to_string())
    }

    /// Reads the installation file, if there is one.
    pub fn installation(&self) -> Result<Option<Installation>, StartError> {
        let path = self.root.join(INSTALLATION_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StartError::folder(&path, &error)),
        };
        let damaged = |error: serde_json::Error| StartError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        };
        let Format { format } = serde_json::from_str(&text).map_err(damaged)?;
        if format > INSTALLATION_FORMAT {
            return Err(StartError::NewerFormat { found: format, known: INSTALLATION_FORMAT });
        }
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Stores the installation file; the first of several processes wins.
    pub fn install(&self, installation: &Installation) -> Result<Installation, StartError> {
        let path = self.root.join(INSTALLATION_FILE);
        let failed = |error| StartError::folder(&path, &error);
        let text = serde_json::to_string_pretty(installation)
            .map_err(|_| StartError::Bug("an installation is JSON"))?;
        let name = format!(".{INSTALLATION_FILE}.{}", installation.installation_id);
        let temporary = self.root.join(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        // A hard link refuses to replace: of two processes that begin at once, one wins.
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).map_err(failed)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => fs::File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(failed)?,
        }
        self.installation()?.ok_or(StartError::Bug("the installation file was just written"))
    }
}
