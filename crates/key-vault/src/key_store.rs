//! The store of sealed keys, `keys.db`, opened with its seal.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_ambient::Entropy;
use custody_envelope::SecretBytes;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::{KeyVaultError, Result};
use crate::schema::{self, Content};
use crate::seal::{RootKey, Seal};
use crate::sealed_box::{self, cbor};
use crate::session::Session;

/// Longest name of a server secret, in bytes.
const SECRET_NAME_BYTES_MAX: usize = 64;

/// The sealed keys of one installation. Any number of threads and processes may have the same file
/// open. Keys are used through [`KeyVaults`](crate::KeyVaults), which authorises and records.
pub struct KeyStore {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Looks for changes without waiting for those who make or read them.
    watch: Mutex<Connection>,
    pub(crate) seal: Arc<dyn Seal>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Waits for one's turn at what processes must do one by one, until the handle is dropped. The lock
/// is on the folder of `keys.db`, since closing a second handle on the file itself would end
/// SQLite's own locks on it.
pub(crate) fn take_turn(path: &Path) -> Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let failed = |error| KeyVaultError::storage(folder.display().to_string(), error);
    let turn = File::open(folder).map_err(failed)?;
    let lock = || rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive);
    rustix::io::retry_on_intr(lock).map_err(|errno| failed(errno.into()))?;
    Ok(turn)
}

impl KeyStore {
    /// Opens the store at `path`. A purge that was cut short is finished.
    ///
    /// # Errors
    /// [`KeyVaultError::StoreMissing`], [`KeyVaultError::SealMissing`],
    /// [`KeyVaultError::SealMismatch`], [`KeyVaultError::NewerFormat`] before anything is written.
    pub fn open(path: &Path, seal: Arc<dyn Seal>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let store = Self::attach(path, seal, entropy)?;
        match schema::content(&store.lock())? {
            Content::Empty => return Err(KeyVaultError::Damaged(store.place())),
            Content::Tables | Content::Older => {}
        }
        store.take_forward()?;
        store.read(|session| session.root_key().map(drop))?;
        match store.finish_erase() {
            // Another process is at work on it, or will be at its next start.
            Ok(()) | Err(KeyVaultError::Busy | KeyVaultError::EraseUnfinished) => Ok(store),
            Err(error) => Err(error),
        }
    }

    /// Opens the store at `path`, and makes what is missing of a new one: the seal, the file, its
    /// tables. Several processes may do so at once; a store with content never gets a new seal.
    pub fn create(path: &Path, seal: Arc<dyn Seal>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        // SQLite does not wait where two processes choose the journal of a new file: it refuses.
        let turn = take_turn(path)?;
        schema::create_file(path)?;
        let store = Self::attach(path, Arc::clone(&seal), Arc::clone(&entropy))?;
        {
            let connection = store.lock();
            let rows = begin(&connection, TransactionBehavior::Immediate)?;
            if schema::content(&rows)? == Content::Empty {
                let root = match seal.unseal() {
                    Err(KeyVaultError::SealMissing(_)) => {
                        let root = RootKey::mint(entropy.as_ref())?;
                        seal.create(&root)?;
                        root
                    }
                    roots => roots?.into_iter().next().ok_or(KeyVaultError::SealMismatch)?,
                };
                schema::create_tables(&rows)?;
                rows.execute(
                    "INSERT INTO store (id, root_key_id, changes) VALUES (1, ?1, 0)",
                    [root.id().as_bytes()],
                )?;
            }
            rows.commit()?;
        }
        drop(store);
        drop(turn);
        Self::open(path, seal, entropy)
    }

    /// A number that rises with every change to a key or key vault, so with each that can revoke
    /// (rule 119). Cheap: one row is read. Changes of grants are counted elsewhere.
    pub fn changes(&self) -> Result<u64> {
        lock(&self.watch)
            .prepare_cached("SELECT changes FROM store")?
            .query_one([], |row| row.get(0).map(i64::cast_unsigned))
            .map_err(Into::into)
    }

    /// What the seal protects against and what not, for `status`.
    pub fn protects(&self) -> &'static str {
        self.seal.protects()
    }

    /// The server's own random 32 bytes under this name, made at the first call.
    pub fn server_secret(&self, name: &str) -> Result<SecretBytes> {
        if name.is_empty() || name.len() > SECRET_NAME_BYTES_MAX {
            return Err(KeyVaultError::Bug("a server secret has a name of 1 to 64 bytes"));
        }
        if let Some(secret) = self.read(|session| session.server_secret(name))? {
            return Ok(secret);
        }
        self.transact(|session| match session.server_secret(name)? {
            Some(secret) => Ok(secret), // another process was faster
            None => session.mint_server_secret(name),
        })
    }

    /// The secret of any length that was stored under this name, if one was.
    pub fn sealed_secret(&self, name: &str) -> Result<Option<SecretBytes>> {
        self.read(|session| session.server_secret(name))
    }

    /// Changes the secret under this name as the only writer over all processes: `change` is shown
    /// what is stored, and what it returns is stored in its place; with `None` all stays as it is.
    pub fn change_sealed_secret(
        &self,
        name: &str,
        change: impl FnOnce(Option<&SecretBytes>) -> Option<SecretBytes>,
    ) -> Result<()> {
        if name.is_empty() || name.len() > SECRET_NAME_BYTES_MAX {
            return Err(KeyVaultError::Bug("a server secret has a name of 1 to 64 bytes"));
        }
        self.transact(|session| {
            let stored = session.server_secret(name)?;
            match change(stored.as_ref()) {
                Some(secret) => session.store_server_secret(name, &secret),
                None => Ok(()),
            }
        })
    }

    /// Reads a consistent state. While `work` runs no purge is completed, so the root key that the
    /// state names is in the seal.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T>) -> Result<T> {
        let connection = self.lock();
        let session = Session::new(self, begin(&connection, TransactionBehavior::Deferred)?)?;
        work(&session)
    }

    /// Changes keys or key vaults: `work` runs, then `witness` is told how it ended, then what
    /// `work` did is committed if it went well. If the witness fails, nothing has happened.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<T>,
        witness: impl FnOnce(std::result::Result<&T, &KeyVaultError>) -> Result<()>,
    ) -> Result<T> {
        let mut erased = false;
        let answer = self.transact(|session| {
            let outcome = work(session);
            witness(outcome.as_ref())?;
            let answer = outcome?;
            session.raise_changes()?;
            erased = session.has_renewed_root_key();
            Ok(answer)
        })?;
        if erased {
            self.finish_erase()?;
        }
        Ok(answer)
    }

    /// Runs `work` as the only writer over all processes; commits if it goes well.
    pub(crate) fn transact<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T>) -> Result<T> {
        let connection = self.lock();
        let session = Session::new(self, begin(&connection, TransactionBehavior::Immediate)?)?;
        let answer = work(&session)?;
        session.commit()?;
        Ok(answer)
    }

    pub(crate) fn place(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// Takes a file of an older format forward, in one transaction, once its seal has opened.
    fn take_forward(&self) -> Result<()> {
        let connection = self.lock();
        if schema::content(&connection)? != Content::Older {
            return Ok(());
        }
        let rows = begin(&connection, TransactionBehavior::Immediate)?;
        let named: [u8; 8] =
            rows.query_one("SELECT root_key_id FROM store", [], |row| row.get(0))?;
        if !self.seal.unseal()?.iter().any(|root| *root.id().as_bytes() == named) {
            return Err(KeyVaultError::SealMismatch);
        }
        // Another process may have been faster.
        if schema::content(&rows)? == Content::Older {
            schema::take_forward(&rows)?;
        }
        Ok(rows.commit()?)
    }

    fn attach(path: &Path, seal: Arc<dyn Seal>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let (connection, watch) = (schema::open(path)?, schema::open(path)?);
        let (connection, watch) = (Mutex::new(connection), Mutex::new(watch));
        Ok(Self { path: path.to_owned(), connection, watch, seal, entropy })
    }
}

impl Session<'_> {
    pub(crate) fn server_secret(&self, name: &str) -> Result<Option<SecretBytes>> {
        let sealed: Option<Vec<u8>> = self
            .rows()
            .query_one("SELECT sealed FROM secret WHERE name = ?1", [name], |row| row.get(0))
            .optional()?;
        sealed.map(|sealed| self.open_server_secret(name, &sealed)).transpose()
    }

    fn mint_server_secret(&self, name: &str) -> Result<SecretBytes> {
        let secret = sealed_box::mint_key(self.entropy())?;
        self.store_server_secret(name, &secret)?;
        Ok(secret)
    }

    fn store_server_secret(&self, name: &str, secret: &SecretBytes) -> Result<()> {
        let sealed = seal_server_secret(&self.root_key()?, name, secret, self.entropy())?;
        self.rows()
            .execute("INSERT OR REPLACE INTO secret VALUES (?1, ?2)", params![name, sealed])?;
        Ok(())
    }

    pub(crate) fn open_server_secret(&self, name: &str, sealed: &[u8]) -> Result<SecretBytes> {
        let root = self.root_key()?;
        sealed_box::open(root.secret(), &server_secret_place(name)?, sealed)?
            .ok_or_else(|| KeyVaultError::Damaged(format!("the server secret {name} in keys.db")))
    }
}

pub(crate) fn seal_server_secret(
    root: &RootKey,
    name: &str,
    secret: &SecretBytes,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    sealed_box::seal(root.secret(), &server_secret_place(name)?, secret.expose(), entropy)
}

/// The associated data of a server secret.
fn server_secret_place(name: &str) -> Result<Vec<u8>> {
    cbor((crate::session::PLACE, "server secret", name))
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn begin(connection: &Connection, behavior: TransactionBehavior) -> Result<Transaction<'_>> {
    Ok(Transaction::new_unchecked(connection, behavior)?)
}
