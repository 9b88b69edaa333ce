//! Purge as an erase: what is purged opens no more, in older copies of `keys.db` neither. The order
//! of the steps and what a crash between them leaves: `docs/formats/keys-db.md`, "Purge".

use custody_ambient::Timestamp;
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyUri, KeyVersion, ResourceId};
use rusqlite::{Connection, params};

use crate::error::{KeyVaultError, Result};
use crate::key::not_found;
use crate::key_store::{KeyStore, seal_server_secret, take_turn};
use crate::kit_notes::KitNote;
use crate::seal::{RootKey, Seal};
use crate::sealed_box;
use crate::session::{Session, parsed};
use crate::vault::KeyVaultRef;
use crate::vault_rows::VaultRow;

/// A key that was purged because its time had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgedKey {
    /// The key.
    pub key: KeyUri,
    /// The ARM id of its key vault, in canonical form.
    pub vault: ResourceId,
}

impl Session<'_> {
    /// Purges a soft-deleted key and names the recovery kits that still open it. What it wrapped is
    /// lost for ever (rule 69); purge protection refuses that (rule 125).
    pub(crate) fn purge(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<Vec<KitNote>> {
        let absent = || not_found(name, None);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let key = self.find_key(row.id, name)?.filter(|key| key.deleted).ok_or_else(absent)?;
        if vault.purge_protection {
            return Err(KeyVaultError::PurgeProtected);
        }
        let kits = self.kits_that_open(key.id)?;
        self.rows().execute("DELETE FROM key WHERE id = ?1", [key.id])?;
        self.renew_keys(&[row.id])?;
        Ok(kits)
    }

    /// Purges every key of a key vault, and with them all trace of it. That it is deleted its ARM
    /// record says, not the keys.
    pub(crate) fn purge_vault(&self, vault: &KeyVaultRef) -> Result<()> {
        let Some(row) = self.find_vault(vault)? else { return Ok(()) };
        if vault.purge_protection {
            return Err(KeyVaultError::PurgeProtected);
        }
        self.rows().execute("DELETE FROM vault WHERE id = ?1", [row.id])?;
        self.renew_keys(&[])
    }

    /// Whether anything was soft-deleted long enough ago to be purged by itself.
    pub(crate) fn has_expired(&self, now: Timestamp) -> Result<bool> {
        let expired = "SELECT EXISTS (SELECT 1 FROM key WHERE scheduled_purge <= ?1) \
                       OR EXISTS (SELECT 1 FROM vault WHERE scheduled_purge <= ?1)";
        Ok(self.rows().query_one(expired, [now.as_second()], |row| row.get(0))?)
    }

    /// Purges what was soft-deleted long enough ago; purge protection ends there, too.
    pub(crate) fn purge_expired(&self, now: Timestamp) -> Result<Vec<PurgedKey>> {
        let now = now.as_second();
        let mut expired = self.rows().prepare_cached(
            "SELECT vault.*, key.id AS key_id, key.name AS key_name \
             FROM key JOIN vault ON key.vault = vault.id \
             WHERE key.scheduled_purge <= ?1 OR vault.scheduled_purge <= ?1",
        )?;
        let mut purged = Vec::new();
        let mut touched = Vec::new();
        let mut rows = expired.query([now])?;
        while let Some(row) = rows.next()? {
            let vault = VaultRow::read(row)?;
            let key =
                KeyUri { vault: vault.name.clone(), key: parsed(row, "key_name")?, version: None };
            purged.push(PurgedKey { key, vault: vault.resource_id()? });
            touched.push((vault.id, row.get::<_, i64>("key_id")?));
        }
        drop(rows);
        for (_, key) in &touched {
            self.rows().execute("DELETE FROM key WHERE id = ?1", [key])?;
        }
        self.rows().execute("DELETE FROM vault WHERE scheduled_purge <= ?1", [now])?;
        if !purged.is_empty() {
            let vaults: Vec<i64> = touched.into_iter().map(|(vault, _)| vault).collect();
            self.renew_keys(&vaults)?;
        }
        Ok(purged)
    }

    /// Seals everything that is left under a new root key, and what is left in the key vaults
    /// `touched` under a new vault key: their old one is in older copies of the file, sealed under
    /// the old root key, but lies open beside it in the present one.
    fn renew_keys(&self, touched: &[i64]) -> Result<()> {
        let old = self.root_key()?;
        let new = RootKey::mint(self.entropy())?;
        let vaults: Vec<VaultRow> = self
            .rows()
            .prepare_cached("SELECT * FROM vault")?
            .query_map([], VaultRow::read)?
            .collect::<rusqlite::Result<_>>()?;
        for vault in &vaults {
            let old_key = vault.open_key(&old)?;
            let key = if touched.contains(&vault.id) {
                let fresh = sealed_box::mint_key(self.entropy())?;
                self.reseal_private_keys((vault, &old_key), (vault, &fresh))?;
                fresh
            } else {
                old_key
            };
            let sealed = vault.seal_key(&new, &key, self.entropy())?;
            self.rows().execute(
                "UPDATE vault SET sealed_key = ?1 WHERE id = ?2",
                params![sealed, vault.id],
            )?;
        }
        self.reseal_server_secrets(&new)?;
        self.set_root_key(&new)?;
        // Last before the commit, so that whatever fails above leaves the seal alone.
        self.store().seal.replace(&[new, old])
    }

    /// Seals the private keys of a key vault anew: as what it was, under its key, to what it becomes.
    pub(crate) fn reseal_private_keys(
        &self,
        (vault, old): (&VaultRow, &SecretBytes),
        (becomes, new): (&VaultRow, &SecretBytes),
    ) -> Result<()> {
        let mut versions = self.rows().prepare_cached(
            "SELECT key.name AS key_name, version.number, version.version, version.sealed_private \
             FROM version JOIN key ON version.key = key.id WHERE key.vault = ?1",
        )?;
        let versions: Vec<(i64, KeyName, KeyVersion, Vec<u8>)> = versions
            .query_map([vault.id], |row| {
                let name = parsed(row, "key_name")?;
                Ok((row.get("number")?, name, parsed(row, "version")?, row.get("sealed_private")?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (number, name, version, sealed) in versions {
            let private = vault.open_private(old, &name, &version, &sealed)?;
            let sealed = becomes.seal_private(new, &name, &version, &private, self.entropy())?;
            self.rows().execute(
                "UPDATE version SET sealed_private = ?1 WHERE number = ?2",
                params![sealed, number],
            )?;
        }
        Ok(())
    }

    fn reseal_server_secrets(&self, new: &RootKey) -> Result<()> {
        let secrets: Vec<(String, Vec<u8>)> = self
            .rows()
            .prepare_cached("SELECT name, sealed FROM secret")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (name, sealed) in secrets {
            let secret = self.open_server_secret(&name, &sealed)?;
            let sealed = seal_server_secret(new, &name, &secret, self.entropy())?;
            self.rows()
                .execute("UPDATE secret SET sealed = ?1 WHERE name = ?2", params![sealed, name])?;
        }
        Ok(())
    }
}

impl KeyStore {
    /// Finishes a purge: removes the old bytes from the file, then the old root key from the seal.
    /// Nothing to do while the seal holds one root key. May be called at any time; opening the store
    /// does it too.
    ///
    /// # Errors
    /// [`KeyVaultError::EraseUnfinished`] while another process reads an older state.
    pub fn finish_erase(&self) -> Result<()> {
        if self.is_erased()? {
            return Ok(());
        }
        // SQLite does not wait for another process's checkpoint, it refuses.
        let _turn = take_turn(self.path())?;
        if self.is_erased()? {
            return Ok(()); // by another process, meanwhile
        }
        let root_key_id = self.read(|session| Ok(session.root_key_id()))?;
        {
            let connection = self.lock();
            truncate_log(&connection)?;
            connection.execute_batch("VACUUM")?;
            truncate_log(&connection)?;
        }
        self.transact(|session| {
            // Another purge has begun since: the last one removes all old root keys.
            if session.root_key_id() == root_key_id {
                drop_other_roots(self.seal.as_ref(), session.root_key()?)?;
            }
            Ok(())
        })
    }
}

impl KeyStore {
    /// Whether only the present root key is in the seal.
    fn is_erased(&self) -> Result<bool> {
        Ok(self.seal.unseal()?.len() < 2)
    }
}

fn drop_other_roots(seal: &dyn Seal, root: RootKey) -> Result<()> {
    if seal.unseal()?.len() > 1 { seal.replace(&[root]) } else { Ok(()) }
}

/// Waits for all readers of older states, then empties the write-ahead log.
fn truncate_log(connection: &Connection) -> Result<()> {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(KeyVaultError::EraseUnfinished) }
}
