//! Key vaults as rows, and the boxes that lie under a key vault's key.

use custody_ambient::{Entropy, Timestamp};
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVaultName, KeyVersion, ResourceId, TenantId};
use minicbor::bytes::ByteSlice;
use rusqlite::{OptionalExtension, Row, params};

use crate::error::{KeyVaultError, Result};
use crate::key_store::KeyStore;
use crate::seal::RootKey;
use crate::sealed_box::{self, cbor};
use crate::session::{PLACE, Session, parsed};
use crate::vault::{KeyVaultRef, SOFT_DELETE_DAYS_MAX, Strictness};
use crate::vault_network::NetworkRules;

/// A key vault as a row of `vault`.
#[derive(Clone)]
pub(crate) struct VaultRow {
    pub(crate) id: i64,
    pub(crate) resource: String,
    pub(crate) tenant: TenantId,
    pub(crate) name: KeyVaultName,
    pub(crate) sealed_key: Vec<u8>,
    pub(crate) deleted: bool,
    pub(crate) managed_hsm: bool,
    location: String,
    geography: String,
}

impl Session<'_> {
    /// The key vault's row, whether deleted or not; `None` if it never held a key.
    pub(crate) fn find_vault(&self, vault: &KeyVaultRef) -> Result<Option<VaultRow>> {
        let row = self
            .rows()
            .prepare_cached("SELECT * FROM vault WHERE resource = ?1")?
            .query_one([vault.resource.canonical()], VaultRow::read)
            .optional()?;
        match row {
            Some(row) if row.tenant != vault.tenant => {
                Err(KeyVaultError::VaultNotFound(vault.vault.clone()))
            }
            row => Ok(row),
        }
    }

    /// The row of a key vault that is not deleted.
    pub(crate) fn live_vault(&self, vault: &KeyVaultRef) -> Result<Option<VaultRow>> {
        match self.find_vault(vault)? {
            Some(row) if row.deleted => Err(KeyVaultError::VaultNotFound(vault.vault.clone())),
            row => Ok(row),
        }
    }

    /// The row of a key vault, made if this is its first key.
    pub(crate) fn vault_for_new_key(&self, vault: &KeyVaultRef) -> Result<VaultRow> {
        if let Some(row) = self.live_vault(vault)? {
            return Ok(row);
        }
        let key = sealed_box::mint_key(self.entropy())?;
        let mut row = VaultRow {
            id: 0,
            resource: vault.resource.canonical(),
            tenant: vault.tenant,
            name: vault.vault.clone(),
            sealed_key: Vec::new(),
            deleted: false,
            managed_hsm: vault.managed_hsm,
            location: vault.location.clone(),
            geography: vault.geography.clone(),
        };
        row.sealed_key = row.seal_key(&self.root_key()?, &key, self.entropy())?;
        self.rows().execute(
            "INSERT INTO vault (resource, tenant, name, sealed_key, managed_hsm, location, geography) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.resource,
                row.tenant.as_bytes(),
                row.name.as_str(),
                row.sealed_key,
                row.managed_hsm,
                row.location,
                row.geography,
            ],
        )?;
        row.id = self.rows().last_insert_rowid();
        Ok(row)
    }

    /// Soft-deletes a key vault with all its keys; their own state stays.
    pub(crate) fn delete_vault(&self, vault: &KeyVaultRef, now: Timestamp) -> Result<()> {
        let Some(row) = self.live_vault(vault)? else { return Ok(()) };
        self.rows().execute(
            "UPDATE vault SET deleted = ?1, scheduled_purge = ?2 WHERE id = ?3",
            params![now.as_second(), vault.purge_after(now).as_second(), row.id],
        )?;
        Ok(())
    }

    /// Brings a soft-deleted key vault back.
    pub(crate) fn recover_vault(&self, vault: &KeyVaultRef) -> Result<()> {
        let Some(row) = self.find_vault(vault)? else { return Ok(()) };
        self.rows().execute(
            "UPDATE vault SET deleted = NULL, scheduled_purge = NULL WHERE id = ?1",
            [row.id],
        )?;
        Ok(())
    }
}

impl KeyStore {
    /// The key vaults that hold keys and are not deleted: what is known of them when their ARM
    /// records are lost. Their settings are the strictest: those were in the records.
    pub fn vaults(&self) -> Result<Vec<KeyVaultRef>> {
        self.read(|session| {
            let mut rows = session.rows().prepare("SELECT * FROM vault WHERE deleted IS NULL")?;
            let rows = rows.query_map([], VaultRow::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
            rows.iter().map(VaultRow::reference).collect()
        })
    }
}

impl VaultRow {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            resource: row.get("resource")?,
            tenant: TenantId::from_bytes(row.get("tenant")?),
            name: parsed(row, "name")?,
            sealed_key: row.get("sealed_key")?,
            deleted: row.get::<_, Option<i64>>("deleted")?.is_some(),
            managed_hsm: row.get("managed_hsm")?,
            location: row.get("location")?,
            geography: row.get("geography")?,
        })
    }

    /// What is known of the key vault without its ARM record; the strictest settings.
    pub(crate) fn reference(&self) -> Result<KeyVaultRef> {
        Ok(KeyVaultRef {
            tenant: self.tenant,
            resource: self.resource_id()?,
            vault: self.name.clone(),
            soft_delete: true,
            soft_delete_days: SOFT_DELETE_DAYS_MAX,
            purge_protection: true,
            managed_hsm: self.managed_hsm,
            location: self.location.clone(),
            geography: self.geography.clone(),
            strictness: Strictness::STRICTEST,
            network: NetworkRules::default(),
        })
    }

    /// Its ARM id, in the canonical form in which the row keeps it.
    pub(crate) fn resource_id(&self) -> Result<ResourceId> {
        self.resource.parse().map_err(|_| KeyVaultError::Damaged("keys.db".to_owned()))
    }

    /// Seals this key vault's key under the root key.
    pub(crate) fn seal_key(
        &self,
        root: &RootKey,
        key: &SecretBytes,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        sealed_box::seal(root.secret(), &self.key_place()?, key.expose(), entropy)
    }

    /// This key vault's key.
    pub(crate) fn open_key(&self, root: &RootKey) -> Result<SecretBytes> {
        sealed_box::open(root.secret(), &self.key_place()?, &self.sealed_key)?.ok_or_else(|| {
            KeyVaultError::Damaged(format!("the key vault {} in keys.db", self.name))
        })
    }

    /// Seals a private key under this key vault's key.
    pub(crate) fn seal_private(
        &self,
        vault_key: &SecretBytes,
        name: &KeyName,
        version: &KeyVersion,
        private: &SecretBytes,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let place = self.private_place(name, version)?;
        sealed_box::seal(vault_key, &place, private.expose(), entropy)
    }

    /// A private key of this key vault.
    pub(crate) fn open_private(
        &self,
        vault_key: &SecretBytes,
        name: &KeyName,
        version: &KeyVersion,
        sealed: &[u8],
    ) -> Result<SecretBytes> {
        sealed_box::open(vault_key, &self.private_place(name, version)?, sealed)?.ok_or_else(|| {
            KeyVaultError::Damaged(format!("the private key of {name}/{version} in keys.db"))
        })
    }

    fn key_place(&self) -> Result<Vec<u8>> {
        let tenant = <&ByteSlice>::from(self.tenant.as_bytes().as_slice());
        cbor((PLACE, "vault key", tenant, &self.resource))
    }

    fn private_place(&self, name: &KeyName, version: &KeyVersion) -> Result<Vec<u8>> {
        let tenant = <&ByteSlice>::from(self.tenant.as_bytes().as_slice());
        let name = name.as_str().to_ascii_lowercase();
        cbor((PLACE, "private key", tenant, &self.resource, name, version.as_str()))
    }
}
