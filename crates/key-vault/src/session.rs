//! One transaction on `keys.db`: the rows, the root key that they name, and the boxes in them.

use std::cell::Cell;

use custody_ambient::{Entropy, Timestamp};
use rusqlite::{Connection, Row, Transaction};

use crate::error::{KeyVaultError, Result};
use crate::key_store::KeyStore;
use crate::seal::RootKey;

/// The head of all associated data; its number is the format's.
pub(crate) const PLACE: &str = "custody keys.db 1";

pub(crate) struct Session<'s> {
    store: &'s KeyStore,
    rows: Transaction<'s>,
    root_key_id: [u8; 8],
    renewed_root_key: Cell<bool>,
}

impl<'s> Session<'s> {
    /// Reads the root key's id at once: that is what makes the transaction hold a state.
    pub(crate) fn new(store: &'s KeyStore, rows: Transaction<'s>) -> Result<Self> {
        let root_key_id = rows
            .prepare_cached("SELECT root_key_id FROM store")?
            .query_one([], |row| row.get(0))?;
        Ok(Self { store, rows, root_key_id, renewed_root_key: Cell::new(false) })
    }

    pub(crate) fn rows(&self) -> &Connection {
        &self.rows
    }

    pub(crate) fn store(&self) -> &KeyStore {
        self.store
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.store.entropy.as_ref()
    }

    /// The root key of this state.
    pub(crate) fn root_key(&self) -> Result<RootKey> {
        let roots = self.store.seal.unseal()?;
        roots
            .into_iter()
            .find(|root| *root.id().as_bytes() == self.root_key_id)
            .ok_or(KeyVaultError::SealMismatch)
    }

    pub(crate) fn root_key_id(&self) -> [u8; 8] {
        self.root_key_id
    }

    /// From now on the rows name another root key; the session must end here.
    pub(crate) fn set_root_key(&self, root: &RootKey) -> Result<()> {
        self.rows.execute("UPDATE store SET root_key_id = ?1", [root.id().as_bytes()])?;
        self.renewed_root_key.set(true);
        Ok(())
    }

    pub(crate) fn has_renewed_root_key(&self) -> bool {
        self.renewed_root_key.get()
    }

    pub(crate) fn raise_changes(&self) -> Result<()> {
        self.rows.execute("UPDATE store SET changes = changes + 1", [])?;
        Ok(())
    }

    pub(crate) fn commit(self) -> Result<()> {
        Ok(self.rows.commit()?)
    }
}

/// A name in a column; a wrong one means that the file was tampered with.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| rusqlite::Error::InvalidColumnName(column.to_owned()))
}

/// A time in a column, whole seconds.
pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let seconds: Option<i64> = row.get(column)?;
    seconds
        .map(Timestamp::from_second)
        .transpose()
        .map_err(|_| rusqlite::Error::InvalidColumnName(column.to_owned()))
}
