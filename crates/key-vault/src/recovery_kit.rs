//! The recovery kit: everything that opens this installation's backups, in one file under a
//! passphrase (`docs/formats/keys-db.md`, "The recovery kit").

use std::path::{Path, PathBuf};

use custody_ambient::{Timestamp, random_array};
use custody_envelope::SecretBytes;
use custody_names::{InstallationId, VaultGuid};
use data_encoding::HEXLOWER;
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Decoder, Encoder};
use rusqlite::Connection;
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};
use crate::key_store::KeyStore;
use crate::kit_notes::{Coverage, KitId, KitNote, coverage};
use crate::passphrase::{self, CHECK_BYTES, SALT_BYTES};
use crate::private_file::PrivateFile;
use crate::schema;
use crate::seal::{RootKey, Seal};
use crate::sealed_box::{self, cbor};

/// Largest kit, in bytes.
pub const KIT_BYTES_MAX: usize = 256 << 20;

const MAGIC: &str = "custody recovery kit";
const FORMAT: u32 = 1;

/// A recovery kit that was opened with its passphrase. It has no `Debug`: it holds the root key.
pub struct RecoveryKit {
    id: KitId,
    installation: InstallationId,
    created: Timestamp,
    covers: Coverage,
    repositories: Vec<KitRepository>,
    root: RootKey,
    keys_db: Vec<u8>,
}

/// Where a vault's data lies, and how to know that it is that vault's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitRepository {
    /// The vault.
    pub vault: VaultGuid,
    /// The store, as `--repository` takes it.
    pub place: String,
    /// The repository's fingerprint (DESIGN §5).
    pub fingerprint: Vec<u8>,
}

impl RecoveryKit {
    /// Makes a kit of the store as it is now and notes in the store that it was made.
    ///
    /// # Errors
    /// [`KeyVaultError::Busy`] if a key is purged meanwhile.
    pub fn create(
        store: &KeyStore,
        passphrase: &SecretBytes,
        installation: InstallationId,
        repositories: &[KitRepository],
        now: Timestamp,
    ) -> Result<(KitNote, Vec<u8>)> {
        store.finish_erase()?;
        let note = store.transact(|session| {
            let note = KitNote {
                id: KitId(random_array(session.entropy())?),
                created: Timestamp::from_second(now.as_second()).unwrap_or(now),
                covers: coverage(session.rows())?,
                tested: None,
            };
            session.note_kit(&note)?;
            Ok(note)
        })?;
        let (root, keys_db) = dump(store)?;
        let payload = payload(&root, &keys_db, &note, repositories)?;
        let derived = passphrase::fresh(passphrase, store.entropy.as_ref())?;
        let header = cbor((
            <&ByteSlice>::from(note.id.0.as_slice()),
            <&ByteSlice>::from(installation.as_bytes().as_slice()),
            note.created.as_second(),
            <&ByteSlice>::from(derived.salt.as_slice()),
            <&ByteSlice>::from(derived.check.as_slice()),
        ))?;
        let associated = associated(&header)?;
        let sealed = sealed_box::seal(&derived.key, &associated, &payload, store.entropy.as_ref())?;
        let (header, sealed) =
            (<&ByteSlice>::from(header.as_slice()), <&ByteSlice>::from(sealed.as_slice()));
        Ok((note, cbor((MAGIC, FORMAT, header, sealed))?))
    }

    /// Opens a kit. Nothing is written: this is also the test of a kit.
    ///
    /// # Errors
    /// [`KeyVaultError::WrongPassphrase`], [`KeyVaultError::NewerFormat`],
    /// [`KeyVaultError::Damaged`].
    pub fn open(passphrase: &SecretBytes, bytes: &[u8]) -> Result<Self> {
        let (header_bytes, sealed) = read_file(bytes)?;
        let header: Header<'_> = minicbor::decode(header_bytes).map_err(damaged)?;
        let salt: [u8; SALT_BYTES] = header.salt.try_into().map_err(damaged)?;
        let check: [u8; CHECK_BYTES] = header.check.try_into().map_err(damaged)?;
        let key = passphrase::known(passphrase, salt, &check)?;
        let plain = sealed_box::open(&key, &associated(header_bytes)?, sealed)?
            .ok_or_else(|| damaged(()))?;
        let payload: Payload<'_> = minicbor::decode(plain.expose()).map_err(damaged)?;
        let repositories = payload.repositories.iter().map(|repository| {
            Ok(KitRepository {
                vault: VaultGuid::from_bytes(repository.vault.try_into().map_err(damaged)?),
                place: repository.place.to_owned(),
                fingerprint: repository.fingerprint.to_vec(),
            })
        });
        Ok(Self {
            id: KitId(header.id.try_into().map_err(damaged)?),
            installation: InstallationId::from_bytes(
                header.installation.try_into().map_err(damaged)?,
            ),
            created: Timestamp::from_second(header.created).map_err(damaged)?,
            covers: Coverage { newest_version: payload.covers },
            repositories: repositories.collect::<Result<_>>()?,
            root: RootKey::from_secret(SecretBytes::new(payload.root.to_vec()))?,
            keys_db: payload.keys_db.to_vec(),
        })
    }

    /// Writes `keys.db` and its seal where neither stands. A restore that was cut short is
    /// taken up again.
    ///
    /// # Errors
    /// [`KeyVaultError::StoreExists`], or [`KeyVaultError::SealExists`] for a seal with another
    /// root key.
    pub fn restore(&self, keys_db: &Path, seal: &dyn Seal) -> Result<()> {
        let exists = || KeyVaultError::StoreExists(keys_db.display().to_string());
        if keys_db.symlink_metadata().is_ok() {
            return Err(exists());
        }
        if let Err(error) = seal.create(&self.root) {
            let taken = matches!(error, KeyVaultError::SealExists(_));
            let same = |root: &RootKey| root.id() == self.root.id();
            if !taken || !seal.unseal()?.iter().any(same) {
                return Err(error);
            }
        }
        let created = PrivateFile::at(keys_db).create(&self.keys_db)?;
        if created { Ok(()) } else { Err(exists()) }
    }

    /// Which kit it is.
    pub fn id(&self) -> KitId {
        self.id
    }

    /// Which installation it was made of.
    pub fn installation(&self) -> InstallationId {
        self.installation
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Which keys are in it: up to date while `>= KeyStore::coverage()`.
    pub fn covers(&self) -> Coverage {
        self.covers
    }

    /// Where the data is.
    pub fn repositories(&self) -> &[KitRepository] {
        &self.repositories
    }
}

#[derive(Decode)]
#[cbor(array)]
struct Header<'b> {
    #[cbor(b(0), with = "minicbor::bytes")]
    id: &'b [u8],
    #[cbor(b(1), with = "minicbor::bytes")]
    installation: &'b [u8],
    #[n(2)]
    created: i64,
    #[cbor(b(3), with = "minicbor::bytes")]
    salt: &'b [u8],
    #[cbor(b(4), with = "minicbor::bytes")]
    check: &'b [u8],
}

#[derive(Decode)]
#[cbor(array)]
struct Payload<'b> {
    #[cbor(b(0), with = "minicbor::bytes")]
    root: &'b [u8],
    #[cbor(b(1), with = "minicbor::bytes")]
    keys_db: &'b [u8],
    #[n(2)]
    covers: u64,
    #[b(3)]
    repositories: Vec<PayloadRepository<'b>>,
}

#[derive(Decode)]
#[cbor(array)]
struct PayloadRepository<'b> {
    #[cbor(b(0), with = "minicbor::bytes")]
    vault: &'b [u8],
    #[b(1)]
    place: &'b str,
    #[cbor(b(2), with = "minicbor::bytes")]
    fingerprint: &'b [u8],
}

/// A copy of the store's file, and the root key that the copy names.
fn dump(store: &KeyStore) -> Result<(RootKey, Vec<u8>)> {
    let copy = TemporaryCopy::of(store)?;
    let failed = |error| KeyVaultError::storage(copy.0.display().to_string(), error);
    let bytes = std::fs::read(&copy.0).map_err(failed)?;
    if bytes.len() > KIT_BYTES_MAX {
        return Err(KeyVaultError::BadParameter(format!(
            "keys.db is {} bytes long; a recovery kit holds {KIT_BYTES_MAX}",
            bytes.len()
        )));
    }
    let root_key_id: [u8; 8] =
        Connection::open(&copy.0)?
            .query_one("SELECT root_key_id FROM store", [], |row| row.get(0))?;
    let roots = store.seal.unseal()?;
    let root = roots.into_iter().find(|root| *root.id().as_bytes() == root_key_id);
    // The root key that the copy names is gone from the seal: a purge came between the two.
    Ok((root.ok_or(KeyVaultError::Busy)?, bytes))
}

/// A copy of `keys.db` beside it; removed when dropped.
struct TemporaryCopy(PathBuf);

impl TemporaryCopy {
    fn of(store: &KeyStore) -> Result<Self> {
        let mut name = store.path().as_os_str().to_owned();
        let nonce = random_array::<8>(store.entropy.as_ref())?;
        name.push(format!(".{}", HEXLOWER.encode(&nonce)));
        let copy = Self(PathBuf::from(name));
        schema::create_file(&copy.0)?;
        store.lock().execute("VACUUM INTO ?1", [copy.0.to_str()])?;
        Ok(copy)
    }
}

impl Drop for TemporaryCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn payload(
    root: &RootKey,
    keys_db: &[u8],
    note: &KitNote,
    repositories: &[KitRepository],
) -> Result<Zeroizing<Vec<u8>>> {
    // Enough at once, so that no copy of the root key stays behind in freed memory.
    let each = |repository: &KitRepository| repository.place.len() + repository.fingerprint.len();
    let names: usize = repositories.iter().map(|repository| 64 + each(repository)).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(128 + keys_db.len() + names));
    let mut encoder = Encoder::new(&mut *bytes);
    let mut encode = || {
        encoder.array(4)?.bytes(root.secret().expose())?.bytes(keys_db)?;
        encoder.u64(note.covers.newest_version)?.array(repositories.len() as u64)?;
        for repository in repositories {
            encoder.array(3)?.bytes(repository.vault.as_bytes())?;
            encoder.str(&repository.place)?.bytes(&repository.fingerprint)?;
        }
        Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
    };
    encode().map_err(|_| KeyVaultError::Bug("CBOR did not encode"))?;
    Ok(bytes)
}

fn associated(header: &[u8]) -> Result<Vec<u8>> {
    cbor((MAGIC, FORMAT, <&ByteSlice>::from(header)))
}

/// Header and box of a kit of a known format.
fn read_file(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut decoder = Decoder::new(bytes);
    let length = decoder.array().map_err(damaged)?;
    if decoder.str().map_err(damaged)? != MAGIC {
        return Err(damaged(()));
    }
    let found = decoder.u32().map_err(damaged)?;
    if found > FORMAT {
        return Err(KeyVaultError::NewerFormat { what: "the recovery kit", found, known: FORMAT });
    }
    let header = decoder.bytes().map_err(damaged)?;
    let sealed = decoder.bytes().map_err(damaged)?;
    if length == Some(4) && decoder.position() == bytes.len() {
        Ok((header, sealed))
    } else {
        Err(damaged(()))
    }
}

fn damaged<E>(_: E) -> KeyVaultError {
    KeyVaultError::Damaged("the recovery kit".to_owned())
}
