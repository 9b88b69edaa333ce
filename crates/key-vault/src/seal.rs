//! The seal: where the root key is, apart from everything it protects.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use custody_ambient::Entropy;
use custody_envelope::SecretBytes;
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Decoder, Encode};
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};
use crate::passphrase::{self, CHECK_BYTES, SALT_BYTES};
use crate::private_file::PrivateFile;
use crate::sealed_box::{self, KEY_BYTES, cbor};

/// Keeps the root key that everything secret in `keys.db` is sealed under.
///
/// It holds one root key, and two only while a purge is under way. Each call is durable when it
/// returns, and a crash within it leaves what was there before or what was to come.
/// [`KeyStore`](crate::KeyStore) calls `create` and `replace` under its write lock, so one process
/// at a time.
pub trait Seal: Send + Sync {
    /// The root keys, newest first. Whatever can be checked about the place is checked each time.
    ///
    /// # Errors
    /// [`KeyVaultError::SealMissing`] if there is none.
    fn unseal(&self) -> Result<Vec<RootKey>>;

    /// Makes the seal with its first root key.
    ///
    /// # Errors
    /// [`KeyVaultError::SealExists`] if there is one; it is left as it is.
    fn create(&self, root: &RootKey) -> Result<()>;

    /// Puts these root keys in the place of those it holds; nothing of the old ones stays.
    fn replace(&self, roots: &[RootKey]) -> Result<()>;

    /// One sentence for `status`: what this seal protects against and what not.
    fn protects(&self) -> &'static str;
}

/// The key that vault keys and server secrets are sealed under.
pub struct RootKey(SecretBytes);

/// What a root key is known by: the first bytes of a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootKeyId([u8; 8]);

impl RootKey {
    /// A new root key.
    pub fn mint(entropy: &dyn Entropy) -> Result<Self> {
        sealed_box::mint_key(entropy).map(Self)
    }

    /// The root key that these 32 bytes are.
    pub fn from_secret(secret: SecretBytes) -> Result<Self> {
        if secret.expose().len() == KEY_BYTES {
            Ok(Self(secret))
        } else {
            Err(KeyVaultError::Damaged("the root key".to_owned()))
        }
    }

    /// Its id.
    pub fn id(&self) -> RootKeyId {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"custody root key");
        hash.update(self.0.expose());
        let mut id = [0; 8];
        id.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        RootKeyId(id)
    }

    /// The key itself, for sealing and for the stores of seals.
    pub fn secret(&self) -> &SecretBytes {
        &self.0
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self(SecretBytes::new(self.0.expose().to_vec()))
    }
}

impl RootKeyId {
    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Seal `file`: the root key lies in a file that only its owner may read. The default: an
/// unattended start needs nothing else.
pub struct FileSeal(PrivateFile);

impl FileSeal {
    /// The seal at `path`, which must lie outside `data_folder`.
    pub fn at(path: &Path, data_folder: &Path) -> Result<Self> {
        PrivateFile::outside(data_folder, path).map(Self)
    }
}

impl Seal for FileSeal {
    fn unseal(&self) -> Result<Vec<RootKey>> {
        let bytes = self.0.read()?;
        let mut body = read_head(bytes.expose(), KIND_FILE, &self.0)?;
        read_roots(&mut body).ok_or_else(|| damaged(&self.0))
    }

    fn create(&self, root: &RootKey) -> Result<()> {
        create(&self.0, &file_seal(std::slice::from_ref(root))?)
    }

    fn replace(&self, roots: &[RootKey]) -> Result<()> {
        self.0.replace(file_seal(roots)?.expose())
    }

    fn protects(&self) -> &'static str {
        "The seal is a file: it protects copies of the data folder and of the store, but not \
         against whoever can read that file, root and backups of its disk included."
    }
}

/// Seal `passphrase`: the root key lies in a file, sealed under a passphrase that custody is given
/// at each start.
pub struct PassphraseSeal {
    file: PrivateFile,
    passphrase: SecretBytes,
    entropy: Arc<dyn Entropy>,
    /// What the file held when it was last opened, so that argon2id runs once and not at each use.
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    bytes: SecretBytes,
    roots: Vec<RootKey>,
}

impl PassphraseSeal {
    /// The seal at `path`, which must lie outside `data_folder`, under this passphrase.
    pub fn at(
        path: &Path,
        data_folder: &Path,
        passphrase: SecretBytes,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let file = PrivateFile::outside(data_folder, path)?;
        Ok(Self { file, passphrase, entropy, opened: Mutex::new(None) })
    }

    fn seal(&self, roots: &[RootKey]) -> Result<SecretBytes> {
        let derived = passphrase::fresh(&self.passphrase, self.entropy.as_ref())?;
        let (salt, check) = (&derived.salt, &derived.check);
        let associated = passphrase_associated(salt, check)?;
        let plain = Zeroizing::new(cbor(Roots(roots))?);
        let sealed = sealed_box::seal(&derived.key, &associated, &plain, self.entropy.as_ref())?;
        let bytes = |bytes| <&ByteSlice>::from(bytes);
        let body = (bytes(salt.as_slice()), bytes(check.as_slice()), bytes(sealed.as_slice()));
        Ok(SecretBytes::new(cbor((MAGIC, FORMAT, KIND_PASSPHRASE, body))?))
    }

    fn open(&self, bytes: &[u8]) -> Result<Vec<RootKey>> {
        let mut body = read_head(bytes, KIND_PASSPHRASE, &self.file)?;
        let damaged = || damaged(&self.file);
        let body: PassphraseBody<'_> = body.decode().map_err(|_| damaged())?;
        let salt: [u8; SALT_BYTES] = body.salt.try_into().map_err(|_| damaged())?;
        let check: [u8; CHECK_BYTES] = body.check.try_into().map_err(|_| damaged())?;
        let key = passphrase::known(&self.passphrase, salt, &check)?;
        let associated = passphrase_associated(&salt, &check)?;
        let plain = sealed_box::open(&key, &associated, body.sealed)?.ok_or_else(damaged)?;
        read_roots(&mut Decoder::new(plain.expose())).ok_or_else(damaged)
    }
}

impl Seal for PassphraseSeal {
    fn unseal(&self) -> Result<Vec<RootKey>> {
        let bytes = self.file.read()?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some(known) if known.bytes.expose() == bytes.expose() => {
                Ok(known.roots.iter().map(RootKey::duplicate).collect())
            }
            _ => {
                let roots = self.open(bytes.expose())?;
                let answer = roots.iter().map(RootKey::duplicate).collect();
                *opened = Some(Opened { bytes, roots });
                Ok(answer)
            }
        }
    }

    fn create(&self, root: &RootKey) -> Result<()> {
        create(&self.file, &self.seal(std::slice::from_ref(root))?)
    }

    fn replace(&self, roots: &[RootKey]) -> Result<()> {
        self.file.replace(self.seal(roots)?.expose())
    }

    fn protects(&self) -> &'static str {
        "The seal is a file under a passphrase: it protects all copies of the disks as long as the \
         passphrase is strong and elsewhere, but not against whoever controls the running process; \
         custody cannot start unattended."
    }
}

const MAGIC: &str = "custody seal";
const FORMAT: u32 = 1;
const KIND_FILE: u32 = 0;
const KIND_PASSPHRASE: u32 = 1;
/// Two while a purge is under way; never more.
const ROOTS_MAX: u64 = 2;

struct Roots<'r>(&'r [RootKey]);

impl<C> Encode<C> for Roots<'_> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|root| e.bytes(root.0.expose())?.ok())
    }
}

#[derive(Decode)]
#[cbor(array)]
struct PassphraseBody<'b> {
    #[cbor(b(0), with = "minicbor::bytes")]
    salt: &'b [u8],
    #[cbor(b(1), with = "minicbor::bytes")]
    check: &'b [u8],
    #[cbor(b(2), with = "minicbor::bytes")]
    sealed: &'b [u8],
}

fn create(file: &PrivateFile, bytes: &SecretBytes) -> Result<()> {
    let created = file.create(bytes.expose())?;
    if created { Ok(()) } else { Err(KeyVaultError::SealExists(file.place())) }
}

fn file_seal(roots: &[RootKey]) -> Result<SecretBytes> {
    cbor((MAGIC, FORMAT, KIND_FILE, Roots(roots))).map(SecretBytes::new)
}

fn passphrase_associated(salt: &[u8; SALT_BYTES], check: &[u8; CHECK_BYTES]) -> Result<Vec<u8>> {
    let bytes = |bytes| <&ByteSlice>::from(bytes);
    cbor((MAGIC, FORMAT, KIND_PASSPHRASE, bytes(salt.as_slice()), bytes(check.as_slice())))
}

/// Checks magic, format and kind and leaves the decoder at the body.
fn read_head<'b>(bytes: &'b [u8], kind: u32, file: &PrivateFile) -> Result<Decoder<'b>> {
    let damaged = |_| damaged(file);
    let mut decoder = Decoder::new(bytes);
    let length = decoder.array().map_err(damaged)?;
    let magic = decoder.str().map_err(damaged)?;
    let found = decoder.u32().map_err(damaged)?;
    if magic != MAGIC {
        return Err(damaged(minicbor::decode::Error::message("another kind of file")));
    }
    if found > FORMAT {
        return Err(KeyVaultError::NewerFormat { what: "the seal", found, known: FORMAT });
    }
    if length != Some(4) || decoder.u32().map_err(damaged)? != kind {
        return Err(KeyVaultError::SealRefused {
            place: file.place(),
            reason: "it is a seal of another kind (file or passphrase)".to_owned(),
        });
    }
    Ok(decoder)
}

fn read_roots(body: &mut Decoder<'_>) -> Option<Vec<RootKey>> {
    let count = body.array().ok()??;
    if count == 0 || count > ROOTS_MAX {
        return None;
    }
    (0..count)
        .map(|_| RootKey::from_secret(SecretBytes::new(body.bytes().ok()?.to_vec())).ok())
        .collect()
}

fn damaged(file: &PrivateFile) -> KeyVaultError {
    KeyVaultError::Damaged(file.place())
}
