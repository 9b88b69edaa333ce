//! How the root key of the embedded key vault is kept, and its opening.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use custody_ambient::Entropy;
use custody_envelope::SecretBytes;
use custody_key_vault::{FileSeal, PassphraseSeal, Seal};

use crate::error::{StartError, part};
use crate::installation::{DataFolder, Installation};

/// How the root key of the embedded key vault is kept.
pub enum SealChoice {
    /// A file (0600) in this folder, named after the installation.
    File {
        /// A folder outside the data folder.
        folder: PathBuf,
    },
    /// The same, sealed under a passphrase.
    Passphrase {
        /// A folder outside the data folder.
        folder: PathBuf,
        /// The passphrase.
        passphrase: SecretBytes,
    },
}

impl SealChoice {
    /// The same choice once more.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::File { folder } => Self::File { folder: folder.clone() },
            Self::Passphrase { folder, passphrase } => Self::Passphrase {
                folder: folder.clone(),
                passphrase: SecretBytes::new(passphrase.expose().to_vec()),
            },
        }
    }
}

pub(crate) fn open_seal(
    choice: SealChoice,
    folder: &DataFolder,
    installation: &Installation,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Arc<dyn Seal>, PathBuf), StartError> {
    let name = format!("{}.seal", installation.installation_id);
    let (SealChoice::File { folder: place } | SealChoice::Passphrase { folder: place, .. }) =
        &choice;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(place)
        .map_err(|error| StartError::folder(place, &error))?;
    let opened: Result<(Arc<dyn Seal>, PathBuf), _> = match choice {
        SealChoice::File { folder: place } => {
            let path = place.join(name);
            FileSeal::at(&path, folder.root()).map(|seal| (Arc::new(seal) as Arc<dyn Seal>, path))
        }
        SealChoice::Passphrase { folder: place, passphrase } => {
            let path = place.join(name);
            PassphraseSeal::at(&path, folder.root(), passphrase, Arc::clone(entropy))
                .map(|seal| (Arc::new(seal) as Arc<dyn Seal>, path))
        }
    };
    opened.map_err(|error| part(error.code(), &error))
}
