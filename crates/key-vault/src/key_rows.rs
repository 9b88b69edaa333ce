//! Keys and versions as rows: making, reading, changing, soft-deleting.

use std::collections::BTreeMap;

use custody_ambient::{Timestamp, random_array};
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion, KeyVersionUri};
use data_encoding::HEXLOWER;
use rusqlite::{OptionalExtension, Row, params};

use crate::crypto::{self, KeyPair};
use crate::error::{KeyVaultError, Result};
use crate::jwk::ImportedKey;
use crate::key::{
    AttributeChange, Change, DeletedKey, Key, KeyAttributes, KeyItem, KeyOrigin, NewKey,
    check_attributes, check_operations, not_found,
};
use crate::key_shape::KeyShape;
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
    pub(crate) number: i64,
    pub(crate) public_der: Vec<u8>,
    sealed_private: Vec<u8>,
}

/// Newest versions come first.
const NEWEST_FIRST: &str = "ORDER BY version.number DESC";
pub(crate) const VERSIONS: &str = "SELECT key.name AS key_name, key.floor, key.deleted, \
     key.scheduled_purge, lowest.version AS floor_version, version.* FROM version \
     JOIN key ON version.key = key.id LEFT JOIN version AS lowest ON lowest.number = key.floor";

impl Session<'_> {
    /// Makes or takes in a key, or a new version if the name is taken.
    pub(crate) fn create(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        new: &NewKey,
        pair: &KeyPair,
        born: Birth,
    ) -> Result<Key> {
        new.check(vault, born.origin)?;
        let row = self.vault_for_new_key(vault)?;
        let key = match self.find_key(row.id, name)? {
            Some(KeyRow { deleted: true, .. }) => {
                return Err(KeyVaultError::DeletedButRecoverable(name.clone()));
            }
            Some(key) => key,
            None => self.insert_key(row.id, name)?,
        };
        self.insert_version(&row, &key, new, pair, born)?;
        self.version(vault, name, None).map(|row| row.key)
    }

    /// Makes a new version like the newest: same shape, permitted operations, tags and release
    /// policy; enabled, valid as long as the rotation policy says.
    pub(crate) fn rotate(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        pair: &KeyPair,
        now: Timestamp,
    ) -> Result<Key> {
        let newest = self.version(vault, name, None)?.key;
        let policy = self.rotation_policy(vault, name)?;
        let valid_for = policy.and_then(|policy| policy.attributes.expiry_time);
        let new = NewKey {
            hsm: newest.hsm,
            operations: newest.operations,
            tags: newest.tags,
            exportable: newest.attributes.exportable,
            release_policy: newest.release_policy,
            expires: valid_for.and_then(|period| period.after(now)),
            ..NewKey::of_shape(newest.shape)
        };
        self.create(vault, name, &new, pair, Birth::made(now))
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

    /// Changes attributes, permitted operations or tags of one version, or of the newest.
    pub(crate) fn update(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        change: &AttributeChange,
        now: Timestamp,
    ) -> Result<Key> {
        let VersionRow { mut key, number, .. } = self.version(vault, name, version)?;
        key.attributes.enabled = change.enabled.unwrap_or(key.attributes.enabled);
        key.attributes.not_before = change.not_before.apply(key.attributes.not_before);
        key.attributes.expires = change.expires.apply(key.attributes.expires);
        if let Some(operations) = &change.operations {
            check_operations(key.shape, key.attributes.origin, operations)?;
            key.operations.clone_from(operations);
        }
        if let Some(policy) = &change.release_policy {
            if !key.attributes.exportable || key.release_policy.iter().any(|old| old.immutable) {
                return Err(KeyVaultError::BadParameter(
                    "the release_policy of this key cannot be changed: it is immutable, or the key \
                     is not exportable"
                        .to_owned(),
                ));
            }
            key.release_policy = Some(policy.clone());
        }
        if let Some(tags) = &change.tags {
            key.tags.clone_from(tags);
        }
        check_attributes(key.attributes.not_before, key.attributes.expires, &key.tags)?;
        self.rows().execute(
            "UPDATE version SET enabled = ?1, not_before = ?2, expires = ?3, updated = ?4, \
             operations = ?5, tags = ?6, release_policy = ?7 WHERE number = ?8",
            params![
                key.attributes.enabled,
                key.attributes.not_before.map(Timestamp::as_second),
                key.attributes.expires.map(Timestamp::as_second),
                now.as_second(),
                json(&key.operations)?,
                json(&key.tags)?,
                key.release_policy.as_ref().map(json).transpose()?,
                number,
            ],
        )?;
        self.set_floor(vault, name, &change.floor)?;
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
        let absent = || not_found(name, None);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let condition = "WHERE key.vault = ?1 AND key.name = ?2 AND key.deleted IS NOT NULL";
        self.rows()
            .prepare_cached(&format!("{VERSIONS} {condition} {NEWEST_FIRST} LIMIT 1"))?
            .query_row(params![row.id, name.as_str()], |row| {
                Ok(DeletedKey {
                    key: VersionRow::read(row, vault)?.key,
                    deleted: time(row, "deleted")?.unwrap_or_default(),
                    scheduled_purge: time(row, "scheduled_purge")?.unwrap_or_default(),
                })
            })
            .optional()?
            .ok_or_else(absent)
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

    /// The oldest version that is not refused. A version that is not there is no floor.
    fn set_floor(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        change: &Change<KeyVersion>,
    ) -> Result<()> {
        let floor = match change {
            Change::Keep => return Ok(()),
            Change::Clear => 0,
            Change::Set(version) => self.version(vault, name, Some(version))?.number,
        };
        self.rows().execute(
            "UPDATE key SET floor = ?1 WHERE name = ?2 AND vault = \
             (SELECT id FROM vault WHERE resource = ?3)",
            params![floor, name.as_str(), vault.resource.canonical()],
        )?;
        Ok(())
    }

    pub(crate) fn insert_key(&self, vault: i64, name: &KeyName) -> Result<KeyRow> {
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
        born: Birth,
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
        self.insert_known_version(vault, (key, &version), new, pair, born)
    }

    /// A version whose id is known already, from a backup.
    pub(crate) fn insert_known_version(
        &self,
        vault: &VaultRow,
        (key, version): (&KeyRow, &KeyVersion),
        new: &NewKey,
        pair: &KeyPair,
        born: Birth,
    ) -> Result<()> {
        let vault_key = vault.open_key(&self.root_key()?)?;
        let sealed =
            vault.seal_private(&vault_key, &key.name, version, &pair.private, self.entropy())?;
        self.rows().execute(
            "INSERT INTO version (key, version, enabled, not_before, expires, created, updated, \
             size_bits, operations, tags, public_key, sealed_private, kind, curve, hsm, \
             exportable, origin, release_policy) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
             ?18)",
            params![
                key.id,
                version.as_str(),
                new.enabled,
                new.not_before.map(Timestamp::as_second),
                new.expires.map(Timestamp::as_second),
                born.created.as_second(),
                born.updated.as_second(),
                new.shape.bits(),
                json(&new.operations)?,
                json(&new.tags)?,
                pair.public,
                sealed,
                new.shape.kind(),
                new.shape.curve().map(crate::Curve::as_str),
                new.hsm || vault.managed_hsm,
                new.exportable,
                born.origin.to_number(),
                new.release_policy.as_ref().map(json).transpose()?,
            ],
        )?;
        Ok(())
    }
}

/// Where a version comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) origin: KeyOrigin,
}

impl Birth {
    pub(crate) fn made(now: Timestamp) -> Self {
        Self { created: now, updated: now, origin: KeyOrigin::Made }
    }

    pub(crate) fn imported(now: Timestamp, material: &ImportedKey) -> Self {
        Self { origin: material.origin(), ..Self::made(now) }
    }
}

/// A key as a row of `key`.
pub(crate) struct KeyRow {
    pub(crate) id: i64,
    pub(crate) name: KeyName,
    pub(crate) deleted: bool,
}

impl VersionRow {
    pub(crate) fn read(row: &Row<'_>, vault: &KeyVaultRef) -> rusqlite::Result<Self> {
        let wrong = |column: &str| rusqlite::Error::InvalidColumnName(column.to_owned());
        let public_der: Vec<u8> = row.get("public_key")?;
        let item = read_item(row, vault)?;
        let operations: String = row.get("operations")?;
        let policy: Option<String> = row.get("release_policy")?;
        let policy = policy.map(|text| serde_json::from_str(&text)).transpose();
        let floor: Option<String> = row.get("floor_version")?;
        let floor = floor.map(|text| text.parse()).transpose();
        let key = Key {
            id: item.id,
            shape: item.shape,
            hsm: row.get("hsm")?,
            attributes: item.attributes,
            operations: serde_json::from_str(&operations).map_err(|_| wrong("operations"))?,
            tags: item.tags,
            public_key: crypto::public_key(item.shape, &public_der)
                .map_err(|_| wrong("public_key"))?,
            release_policy: policy.map_err(|_| wrong("release_policy"))?,
            floor: floor.map_err(|_| wrong("floor_version"))?,
        };
        let number = row.get("number")?;
        Ok(Self { key, number, public_der, sealed_private: row.get("sealed_private")? })
    }
}

/// What lists show of a version: nothing of its key material is read for that.
pub(crate) fn read_item(row: &Row<'_>, vault: &KeyVaultRef) -> rusqlite::Result<KeyItem> {
    let wrong = |column: &str| rusqlite::Error::InvalidColumnName(column.to_owned());
    let kind: String = row.get("kind")?;
    let curve: Option<String> = row.get("curve")?;
    let tags: String = row.get("tags")?;
    Ok(KeyItem {
        id: KeyVersionUri {
            vault: vault.vault.clone(),
            key: parsed(row, "key_name")?,
            version: parsed(row, "version")?,
        },
        shape: KeyShape::read(&kind, row.get("size_bits")?, curve.as_deref())
            .map_err(|_| wrong("kind"))?,
        attributes: KeyAttributes {
            enabled: row.get("enabled")?,
            not_before: time(row, "not_before")?,
            expires: time(row, "expires")?,
            created: time(row, "created")?.unwrap_or_default(),
            updated: time(row, "updated")?.unwrap_or_default(),
            exportable: row.get("exportable")?,
            origin: KeyOrigin::from_number(row.get("origin")?).ok_or_else(|| wrong("origin"))?,
            below_floor: row.get::<_, i64>("number")? < row.get::<_, i64>("floor")?,
        },
        tags: serde_json::from_str::<BTreeMap<_, _>>(&tags).map_err(|_| wrong("tags"))?,
    })
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| KeyVaultError::Bug("attributes are no JSON"))
}
