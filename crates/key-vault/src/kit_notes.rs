//! What the store knows of the recovery kits that were made of it.

use std::fmt;

use custody_ambient::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::error::Result;
use crate::key_store::KeyStore;
use crate::session::{Session, time};

/// Names one recovery kit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KitId(pub(crate) [u8; 16]);

impl fmt::Display for KitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Up to which key version something reaches. Versions are numbered over all keys in the order in
/// which they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coverage {
    /// The number of the newest key version; 0 where no key was ever made.
    pub newest_version: u64,
}

/// A recovery kit that was made of this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitNote {
    /// Which kit.
    pub id: KitId,
    /// When it was made.
    pub created: Timestamp,
    /// Which keys are in it.
    pub covers: Coverage,
    /// When it was last opened with its passphrase as a test.
    pub tested: Option<Timestamp>,
}

impl KeyStore {
    /// What a recovery kit must cover to be up to date.
    pub fn coverage(&self) -> Result<Coverage> {
        self.read(|session| coverage(session.rows()))
    }

    /// The recovery kits that were made of this store, the oldest first. `status` warns until one
    /// with `covers >= coverage()` was tested.
    pub fn kits(&self) -> Result<Vec<KitNote>> {
        self.read(|session| session.kits_from(0))
    }

    /// Notes that a kit was opened with its passphrase; no effect for a kit of another store.
    pub fn note_kit_tested(&self, kit: KitId, now: Timestamp) -> Result<()> {
        self.transact(|session| {
            session.rows().execute(
                "UPDATE kit SET tested = ?1 WHERE id = ?2",
                params![now.as_second(), kit.0],
            )?;
            Ok(())
        })
    }
}

impl Session<'_> {
    pub(crate) fn note_kit(&self, kit: &KitNote) -> Result<()> {
        self.rows().execute(
            "INSERT INTO kit (id, created, covers) VALUES (?1, ?2, ?3)",
            params![kit.id.0, kit.created.as_second(), kit.covers.newest_version.cast_signed()],
        )?;
        Ok(())
    }

    /// The kits that were made since the key's first version: they open it whatever is purged here.
    pub(crate) fn kits_that_open(&self, key: i64) -> Result<Vec<KitNote>> {
        let oldest = "SELECT coalesce(min(number), 0) FROM version WHERE key = ?1";
        let oldest = self.rows().query_one(oldest, [key], |row| row.get(0))?;
        self.kits_from(oldest)
    }

    fn kits_from(&self, oldest: i64) -> Result<Vec<KitNote>> {
        let read = |row: &Row<'_>| {
            Ok(KitNote {
                id: KitId(row.get("id")?),
                created: time(row, "created")?.unwrap_or_default(),
                covers: Coverage { newest_version: i64::cast_unsigned(row.get("covers")?) },
                tested: time(row, "tested")?,
            })
        };
        let mut kits =
            self.rows().prepare_cached("SELECT * FROM kit WHERE covers >= ?1 ORDER BY created")?;
        let kits = kits.query_map([oldest], read)?;
        kits.map(|kit| kit.map_err(Into::into)).collect()
    }
}

/// The number given to the newest version; purged keys keep theirs, none is used twice.
pub(crate) fn coverage(rows: &Connection) -> Result<Coverage> {
    let newest = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'version'";
    let newest = rows.query_one(newest, [], |row| row.get(0))?;
    Ok(Coverage { newest_version: i64::cast_unsigned(newest) })
}
