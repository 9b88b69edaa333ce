//! Keys and versions as rows: making, reading, changing, soft-deleting.

use std::collections::BTreeMap;

use custody_ambient::{Timestamp, random_array};
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion, KeyVersionUri};
use data_encoding::HEXLOWER;
use rusqlite::{OptionalExtension, Params, Row, params};

use crate::error::{KeyVaultError, Result};
use crate::key::{
    AttributeChange, DeletedKey, Key, KeyAttributes, NewKey, RsaSize, check_attributes, not_found,
};
use crate::rsa::{self, KeyPair};
use crate::session::{Session, parsed, time};
use crate::vault::KeyVaultRef;
use crate::vault_rows::VaultRow;

/// Most versions of a key.
pub const VERSIONS_MAX: u32 = 10_000;
/// Most keys of a key vault, soft-deleted ones included.
pub const KEYS_MAX: u32 = 100_000;

/// A version's row with what the answer does not show.
pub(crate) struct VersionRow {
    pub(crate) key: Key,
    pub(crate) public_der: Vec<u8>,
    sealed_private: Vec<u8>,
}

/// Newest versions come first.
const NEWEST_FIRST: &str = "ORDER BY version.number DESC";
const VERSIONS: &str = "SELECT key.name AS key_name, version.* FROM version \
                        JOIN key ON version.key = key.id";

impl Session<'_> {
    /// Makes a key, or a new version if the name is taken.
    pub(crate) fn create(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        new: &NewKey,
        pair: &KeyPair,
        now: Timestamp,
    ) -> Result<Key> {
        check_attributes(new.not_before, new.expires, &new.tags)?;
        let row = self.vault_for_new_key(vault)?;
        let key = match self.find_key(row.id, name)? {
            Some(KeyRow { deleted: true, .. }) => {
                return Err(KeyVaultError::DeletedButRecoverable(name.clone()));
            }
            Some(key) => key,
            None => self.insert_key(row.id, name)?,
        };
        self.insert_version(&row, &key, new, pair, now)?;
        self.version(vault, name, None).map(|row| row.key)
    }

    /// Makes a new version like the newest: same size, permitted operations and tags; enabled,
    /// without dates.
    pub(crate) fn rotate(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        pair: &KeyPair,
        now: Timestamp,
    ) -> Result<Key> {
        let newest = self.version(vault, name, None)?.key;
        let new = NewKey {
            operations: newest.operations,
            tags: newest.tags,
            ..NewKey::of_size(newest.size)
        };
        self.create(vault, name, &new, pair, now)
    }

    /// One version, or the newest.
    pub(crate) fn version(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
    ) -> Result<VersionRow> {
        let absent = || not_found(name, version);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let condition = "WHERE key.vault = ?1 AND key.name = ?2 AND key.deleted IS NULL \
                         AND (?3 IS NULL OR version.version = ?3)";
        self.rows()
            .prepare_cached(&format!("{VERSIONS} {condition} {NEWEST_FIRST} LIMIT 1"))?
            .query_row(params![row.id, name.as_str(), version.map(KeyVersion::as_str)], |found| {
                VersionRow::read(found, vault)
            })
            .optional()?
            .ok_or_else(absent)
    }

    /// The newest version of every key.
    pub(crate) fn keys(&self, vault: &KeyVaultRef) -> Result<Vec<Key>> {
        let Some(row) = self.live_vault(vault)? else { return Ok(Vec::new()) };
        let condition = "WHERE key.vault = ?1 AND key.deleted IS NULL AND version.number = \
                         (SELECT max(number) FROM version WHERE key = key.id) ORDER BY key.name";
        self.collect(vault, condition, [row.id])
    }

    /// All versions of a key, the newest first.
    pub(crate) fn versions(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<Vec<Key>> {
        let Some(row) = self.live_vault(vault)? else { return Err(not_found(name, None)) };
        let condition = format!(
            "WHERE key.vault = ?1 AND key.name = ?2 AND key.deleted IS NULL {NEWEST_FIRST}"
        );
        let versions = self.collect(vault, &condition, params![row.id, name.as_str()])?;
        if versions.is_empty() { Err(not_found(name, None)) } else { Ok(versions) }
    }

    /// Changes attributes, permitted operations or tags of one version, or of the newest.
    pub(crate) fn update(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        change: &AttributeChange,
        now: Timestamp,
    ) -> Result<Key> {
        let mut key = self.version(vault, name, version)?.key;
        key.attributes.enabled = change.enabled.unwrap_or(key.attributes.enabled);
        key.attributes.not_before = change.not_before.apply(key.attributes.not_before);
        key.attributes.expires = change.expires.apply(key.attributes.expires);
        if let Some(operations) = &change.operations {
            key.operations.clone_from(operations);
        }
        if let Some(tags) = &change.tags {
            key.tags.clone_from(tags);
        }
        check_attributes(key.attributes.not_before, key.attributes.expires, &key.tags)?;
        self.rows().execute(
            "UPDATE version SET enabled = ?1, not_before = ?2, expires = ?3, updated = ?4, \
             operations = ?5, tags = ?6 WHERE version = ?7 AND key = \
             (SELECT key.id FROM key JOIN vault ON key.vault = vault.id \
              WHERE key.name = ?8 AND vault.resource = ?9)",
            params![
                key.attributes.enabled,
                key.attributes.not_before.map(Timestamp::as_second),
                key.attributes.expires.map(Timestamp::as_second),
                now.as_second(),
                json(&key.operations)?,
                json(&key.tags)?,
                key.id.version.as_str(),
                name.as_str(),
                vault.resource.canonical(),
            ],
        )?;
        self.version(vault, name, Some(&key.id.version)).map(|row| row.key)
    }

    /// Soft-deletes a key with all its versions.
    pub(crate) fn delete(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        now: Timestamp,
    ) -> Result<DeletedKey> {
        let row = self.live_vault(vault)?.ok_or_else(|| not_found(name, None))?;
        let purge = vault.purge_after(now).as_second();
        let changed = self.rows().execute(
            "UPDATE key SET deleted = ?1, scheduled_purge = ?2 \
             WHERE vault = ?3 AND name = ?4 AND deleted IS NULL",
            params![now.as_second(), purge, row.id, name.as_str()],
        )?;
        if changed == 0 {
            return Err(not_found(name, None));
        }
        self.deleted_key(vault, name)
    }

    /// A soft-deleted key.
    pub(crate) fn deleted_key(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<DeletedKey> {
        let deleted = self.deleted_keys_where(vault, Some(name))?;
        deleted.into_iter().next().ok_or_else(|| not_found(name, None))
    }

    /// All soft-deleted keys.
    pub(crate) fn deleted_keys(&self, vault: &KeyVaultRef) -> Result<Vec<DeletedKey>> {
        self.deleted_keys_where(vault, None)
    }

    /// Brings a soft-deleted key back, with all its versions as they were.
    pub(crate) fn recover(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<Key> {
        let row = self.live_vault(vault)?.ok_or_else(|| not_found(name, None))?;
        let changed = self.rows().execute(
            "UPDATE key SET deleted = NULL, scheduled_purge = NULL \
             WHERE vault = ?1 AND name = ?2 AND deleted IS NOT NULL",
            params![row.id, name.as_str()],
        )?;
        if changed == 0 {
            return Err(not_found(name, None));
        }
        self.version(vault, name, None).map(|row| row.key)
    }

    /// The private half of a version. It leaves the store only into the operation that asked.
    pub(crate) fn private_key(
        &self,
        vault: &KeyVaultRef,
        version: &VersionRow,
    ) -> Result<SecretBytes> {
        let id = &version.key.id;
        let row = self.live_vault(vault)?.ok_or_else(|| not_found(&id.key, None))?;
        let vault_key = row.open_key(&self.root_key()?)?;
        row.open_private(&vault_key, &id.key, &id.version, &version.sealed_private)
    }

    pub(crate) fn find_key(&self, vault: i64, name: &KeyName) -> Result<Option<KeyRow>> {
        self.rows()
            .prepare_cached("SELECT id, name, deleted FROM key WHERE vault = ?1 AND name = ?2")?
            .query_one(params![vault, name.as_str()], |row| {
                let deleted = row.get::<_, Option<i64>>("deleted")?.is_some();
                Ok(KeyRow { id: row.get("id")?, name: parsed(row, "name")?, deleted })
            })
            .optional()
            .map_err(Into::into)
    }

    fn insert_key(&self, vault: i64, name: &KeyName) -> Result<KeyRow> {
        let count: u32 =
            self.rows().query_one("SELECT count(*) FROM key WHERE vault = ?1", [vault], |row| {
                row.get(0)
            })?;
        if count >= KEYS_MAX {
            return Err(KeyVaultError::BadParameter(format!("a key vault holds {KEYS_MAX} keys")));
        }
        self.rows().execute(
            "INSERT INTO key (vault, name) VALUES (?1, ?2)",
            params![vault, name.as_str()],
        )?;
        Ok(KeyRow { id: self.rows().last_insert_rowid(), name: name.clone(), deleted: false })
    }

    fn insert_version(
        &self,
        vault: &VaultRow,
        key: &KeyRow,
        new: &NewKey,
        pair: &KeyPair,
        now: Timestamp,
    ) -> Result<()> {
        let count: u32 = self.rows().query_one(
            "SELECT count(*) FROM version WHERE key = ?1",
            [key.id],
            |row| row.get(0),
        )?;
        if count >= VERSIONS_MAX {
            return Err(KeyVaultError::BadParameter(format!("a key has {VERSIONS_MAX} versions")));
        }
        let version: KeyVersion = HEXLOWER
            .encode(&random_array::<16>(self.entropy())?)
            .parse()
            .map_err(|_| KeyVaultError::Bug("a new version id is no version id"))?;
        let vault_key = vault.open_key(&self.root_key()?)?;
        let sealed =
            vault.seal_private(&vault_key, &key.name, &version, &pair.private, self.entropy())?;
        self.rows().execute(
            "INSERT INTO version (key, version, enabled, not_before, expires, created, updated, \
             size_bits, operations, tags, public_key, sealed_private) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                key.id,
                version.as_str(),
                new.enabled,
                new.not_before.map(Timestamp::as_second),
                new.expires.map(Timestamp::as_second),
                now.as_second(),
                new.size.bits(),
                json(&new.operations)?,
                json(&new.tags)?,
                pair.public,
                sealed,
            ],
        )?;
        Ok(())
    }

    fn deleted_keys_where(
        &self,
        vault: &KeyVaultRef,
        name: Option<&KeyName>,
    ) -> Result<Vec<DeletedKey>> {
        let Some(row) = self.live_vault(vault)? else { return Ok(Vec::new()) };
        let mut statement = self.rows().prepare_cached(
            "SELECT key.name AS key_name, key.deleted, key.scheduled_purge, version.* \
             FROM version JOIN key ON version.key = key.id \
             WHERE key.vault = ?1 AND key.deleted IS NOT NULL AND (?2 IS NULL OR key.name = ?2) \
             AND version.number = (SELECT max(number) FROM version WHERE key = key.id) \
             ORDER BY key.name",
        )?;
        let read = |row: &Row<'_>| {
            Ok(DeletedKey {
                key: VersionRow::read(row, vault)?.key,
                deleted: time(row, "deleted")?.unwrap_or_default(),
                scheduled_purge: time(row, "scheduled_purge")?.unwrap_or_default(),
            })
        };
        let rows = statement.query_map(params![row.id, name.map(KeyName::as_str)], read)?;
        rows.map(|row| row.map_err(Into::into)).collect()
    }

    fn collect(
        &self,
        vault: &KeyVaultRef,
        condition: &str,
        values: impl Params,
    ) -> Result<Vec<Key>> {
        let mut statement = self.rows().prepare_cached(&format!("{VERSIONS} {condition}"))?;
        let rows = statement.query_map(values, |row| VersionRow::read(row, vault))?;
        rows.map(|row| Ok(row?.key)).collect()
    }
}

/// A key as a row of `key`.
pub(crate) struct KeyRow {
    pub(crate) id: i64,
    pub(crate) name: KeyName,
    pub(crate) deleted: bool,
}

impl VersionRow {
    fn read(row: &Row<'_>, vault: &KeyVaultRef) -> rusqlite::Result<Self> {
        let wrong = |column: &str| rusqlite::Error::InvalidColumnName(column.to_owned());
        let texts = |column: &str| row.get::<_, String>(column);
        let public_der: Vec<u8> = row.get("public_key")?;
        let key = Key {
            id: KeyVersionUri {
                vault: vault.vault.clone(),
                key: parsed(row, "key_name")?,
                version: parsed(row, "version")?,
            },
            size: RsaSize::try_from(row.get::<_, u32>("size_bits")?)
                .map_err(|_| wrong("size_bits"))?,
            attributes: KeyAttributes {
                enabled: row.get("enabled")?,
                not_before: time(row, "not_before")?,
                expires: time(row, "expires")?,
                created: time(row, "created")?.unwrap_or_default(),
                updated: time(row, "updated")?.unwrap_or_default(),
            },
            operations: serde_json::from_str(&texts("operations")?)
                .map_err(|_| wrong("operations"))?,
            tags: serde_json::from_str::<BTreeMap<_, _>>(&texts("tags")?)
                .map_err(|_| wrong("tags"))?,
            public_key: rsa::public_key(&public_der).map_err(|_| wrong("public_key"))?,
        };
        Ok(Self { key, public_der, sealed_private: row.get("sealed_private")? })
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| KeyVaultError::Bug("attributes are no JSON"))
}
