//! Backups of single keys: a key with all its versions in one sealed blob
//! (`docs/formats/keys-db.md`, "Key backup").

use aws_lc_rs::hmac;
use custody_ambient::Timestamp;
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion};
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Decoder, Encode};
use rusqlite::params;
use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::KeyPair;
use crate::error::{KeyVaultError, Result};
use crate::key::{Key, KeyOrigin, NewKey, not_found};
use crate::key_rows::{Birth, VERSIONS, VersionRow, json};
use crate::key_shape::KeyShape;
use crate::rotation::parsed_policy;
use crate::sealed_box::{self, cbor};
use crate::session::Session;
use crate::vault::KeyVaultRef;

/// Most versions of a key that can be backed up (Azure's limit).
pub const BACKUP_VERSIONS_MAX: usize = 500;
/// The server secret that backups are sealed under. It outlives purges, as backups do.
pub(crate) const SECRET: &str = "key-backups";
const MAGIC: &str = "custody key backup";
const FORMAT: u32 = 1;

/// What is in the box.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Contents {
    #[n(0)]
    name: String,
    #[n(1)]
    rotation_policy: Option<String>,
    #[n(2)]
    versions: Vec<Version>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Version {
    #[n(0)]
    id: String,
    #[n(1)]
    kind: String,
    #[n(2)]
    bits: u32,
    #[n(3)]
    curve: Option<String>,
    #[n(4)]
    flags: Flags,
    #[n(5)]
    dates: Dates,
    #[n(6)]
    operations: String,
    #[n(7)]
    tags: String,
    #[n(8)]
    release_policy: Option<String>,
    #[cbor(n(9), with = "minicbor::bytes")]
    public: Vec<u8>,
    #[cbor(n(10), with = "minicbor::bytes")]
    private: Vec<u8>,
}

impl Drop for Version {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Flags {
    #[n(0)]
    enabled: bool,
    #[n(1)]
    hsm: bool,
    #[n(2)]
    exportable: bool,
    #[n(3)]
    origin: u8,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Dates {
    #[n(0)]
    not_before: Option<i64>,
    #[n(1)]
    expires: Option<i64>,
    #[n(2)]
    created: i64,
    #[n(3)]
    updated: i64,
}

impl Session<'_> {
    /// A sealed copy of a key with all its versions, its name and its rotation policy. It opens in
    /// this installation, and there in key vaults of the same subscription and geography.
    pub(crate) fn backup(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<Vec<u8>> {
        let absent = || not_found(name, None);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let key = self.find_key(row.id, name)?.filter(|key| !key.deleted).ok_or_else(absent)?;
        let mut statement = self.rows().prepare_cached(&format!(
            "{VERSIONS} WHERE version.key = ?1 ORDER BY version.number LIMIT ?2"
        ))?;
        let limit = i64::try_from(BACKUP_VERSIONS_MAX + 1).unwrap_or(i64::MAX);
        let rows =
            statement.query_map(params![key.id, limit], |row| VersionRow::read(row, vault))?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        if rows.len() > BACKUP_VERSIONS_MAX {
            return Err(KeyVaultError::BadParameter(format!(
                "a key with more than {BACKUP_VERSIONS_MAX} versions cannot be backed up"
            )));
        }
        let mut contents = Contents {
            name: key.name.to_string(),
            rotation_policy: self
                .rotation_policy(vault, name)?
                .map(|policy| json(&policy))
                .transpose()?,
            versions: Vec::with_capacity(rows.len()),
        };
        for row in &rows {
            let private = self.private_key(vault, row)?;
            contents.versions.push(Version::of(row, &private)?);
        }
        let place = place(vault)?;
        let sealed = sealed_box::seal(
            &self.backup_key(&place)?,
            &place,
            &contents.encode()?,
            self.entropy(),
        )?;
        cbor((MAGIC, FORMAT, <&ByteSlice>::from(sealed.as_slice())))
    }

    /// Puts back what [`Session::backup`] took, under the same name and version ids.
    pub(crate) fn restore(&self, vault: &KeyVaultRef, blob: &[u8]) -> Result<Key> {
        let sealed = read_head(blob)?;
        let place = place(vault)?;
        let opened = sealed_box::open(&self.backup_key(&place)?, &place, sealed)?;
        let opened = opened.ok_or_else(no_backup)?;
        let contents: Contents = minicbor::decode(opened.expose()).map_err(|_| no_backup())?;
        let name: KeyName = contents.name.parse().map_err(|_| no_backup())?;
        let row = self.vault_for_new_key(vault)?;
        match self.find_key(row.id, &name)? {
            Some(key) if key.deleted => return Err(KeyVaultError::DeletedButRecoverable(name)),
            Some(_) => return Err(KeyVaultError::KeyExists(name)),
            None => {}
        }
        let key = self.insert_key(row.id, &name)?;
        for version in &contents.versions {
            let id: KeyVersion = version.id.parse().map_err(|_| no_backup())?;
            let (new, born) = version.new_key()?;
            new.check(vault, born.origin)?;
            let pair = KeyPair {
                private: SecretBytes::new(version.private.clone()),
                public: version.public.clone(),
            };
            self.insert_known_version(&row, (&key, &id), &new, &pair, born)?;
        }
        if let Some(policy) = &contents.rotation_policy {
            parsed_policy(policy)?;
            self.rows().execute(
                "UPDATE key SET rotation_policy = ?1 WHERE id = ?2",
                params![policy, key.id],
            )?;
        }
        self.version(vault, &name, None).map(|row| row.key)
    }

    /// The key for backups of one subscription and geography.
    fn backup_key(&self, place: &[u8]) -> Result<SecretBytes> {
        let secret = self.server_secret(SECRET)?;
        let secret = secret.ok_or(KeyVaultError::Bug("the secret for backups was not made"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Ok(SecretBytes::new(hmac::sign(&key, place).as_ref().to_vec()))
    }
}

impl Contents {
    /// The buffer is made large enough at once: one that grew would leave private keys behind.
    fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = |version: &Version| {
            let texts = version.operations.len() + version.tags.len();
            let policy = version.release_policy.as_ref().map_or(0, String::len);
            256 + texts + policy + version.public.len() + version.private.len()
        };
        let policy = self.rotation_policy.as_ref().map_or(0, String::len);
        let capacity = 1_024 + policy + self.versions.iter().map(bytes).sum::<usize>();
        let mut buffer = Zeroizing::new(Vec::with_capacity(capacity));
        minicbor::encode(self, &mut *buffer)
            .map_err(|_| KeyVaultError::Bug("a backup did not encode"))?;
        Ok(buffer)
    }
}

impl Version {
    fn of(row: &VersionRow, private: &SecretBytes) -> Result<Self> {
        let key = &row.key;
        let own = &key.attributes;
        Ok(Self {
            id: key.id.version.to_string(),
            kind: key.shape.kind().to_owned(),
            bits: key.shape.bits(),
            curve: key.shape.curve().map(|curve| curve.as_str().to_owned()),
            flags: Flags {
                enabled: own.enabled,
                hsm: key.hsm,
                exportable: own.exportable,
                origin: own.origin.to_number(),
            },
            dates: Dates {
                not_before: own.not_before.map(Timestamp::as_second),
                expires: own.expires.map(Timestamp::as_second),
                created: own.created.as_second(),
                updated: own.updated.as_second(),
            },
            operations: json(&key.operations)?,
            tags: json(&key.tags)?,
            release_policy: key.release_policy.as_ref().map(json).transpose()?,
            public: row.public_der.clone(),
            private: private.expose().to_vec(),
        })
    }

    fn new_key(&self) -> Result<(NewKey, Birth)> {
        let time = |second| Timestamp::from_second(second).map_err(|_| no_backup());
        let shape = KeyShape::read(&self.kind, self.bits, self.curve.as_deref())?;
        let policy = self.release_policy.as_deref().map(serde_json::from_str).transpose();
        let new = NewKey {
            shape,
            hsm: self.flags.hsm,
            enabled: self.flags.enabled,
            not_before: self.dates.not_before.map(time).transpose()?,
            expires: self.dates.expires.map(time).transpose()?,
            operations: serde_json::from_str(&self.operations).map_err(|_| no_backup())?,
            tags: serde_json::from_str(&self.tags).map_err(|_| no_backup())?,
            exportable: self.flags.exportable,
            release_policy: policy.map_err(|_| no_backup())?,
        };
        let born = Birth {
            created: time(self.dates.created)?,
            updated: time(self.dates.updated)?,
            origin: KeyOrigin::from_number(self.flags.origin).ok_or_else(no_backup)?,
        };
        Ok((new, born))
    }
}

/// What a backup is bound to: it is key derivation input and associated data at once.
fn place(vault: &KeyVaultRef) -> Result<Vec<u8>> {
    let subscription = vault.resource.subscription_id();
    let subscription = subscription.map(|id| id.to_string()).unwrap_or_default();
    let tenant = <&ByteSlice>::from(vault.tenant.as_bytes().as_slice());
    let geography = vault.geography.to_lowercase();
    cbor((MAGIC, FORMAT, tenant, subscription, geography, vault.managed_hsm))
}

fn read_head(blob: &[u8]) -> Result<&[u8]> {
    let mut decoder = Decoder::new(blob);
    let head = decoder.array().ok().flatten() == Some(3) && decoder.str().ok() == Some(MAGIC);
    let format = decoder.u32().map_err(|_| no_backup())?;
    if head && format > FORMAT {
        // The blob is what a caller sent, so this is his fault and not the server's.
        return Err(KeyVaultError::BadParameter(format!(
            "this backup has format {format}, this version of custody knows up to {FORMAT}: update \
             custody, or restore it where it was made"
        )));
    }
    if !head {
        return Err(no_backup());
    }
    decoder.bytes().map_err(|_| no_backup())
}

fn no_backup() -> KeyVaultError {
    KeyVaultError::BadParameter(
        "Backup blob contains invalid or corrupt version, or was made in another subscription, \
         geography or installation."
            .to_owned(),
    )
}
