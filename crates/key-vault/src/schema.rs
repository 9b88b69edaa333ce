//! The file `keys.db`: opening it, its format and its tables (`docs/formats/keys-db.md`).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};

use crate::error::{KeyVaultError, Result};

/// `cust`
const APPLICATION_ID: u32 = 0x6375_7374;
/// The format that this version writes.
const FORMAT: u32 = 2;
/// The oldest format that is taken forward.
const FORMAT_OLDEST: u32 = 1;
/// How long a process waits for another one's write.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// What was found at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file without content: a new one, or one whose making was cut short.
    Empty,
    /// Tables of the present format.
    Tables,
    /// Tables of a format that is to be taken forward.
    Older,
}

/// Makes an empty file, readable by its owner alone, unless one stands there.
pub(crate) fn create_file(path: &Path) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map(drop)
        .map_err(|error| KeyVaultError::storage(path.display().to_string(), error))
}

/// Opens the file; nothing is written before its format is known.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    if !path.exists() {
        return Err(KeyVaultError::StoreMissing(path.display().to_string()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    content(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(connection)
}

/// What the file holds.
///
/// # Errors
/// [`KeyVaultError::NewerFormat`], or [`KeyVaultError::Damaged`] if it is another program's.
pub(crate) fn content(connection: &Connection) -> Result<Content> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    match (number("application_id")?, number("user_version")?) {
        (0, 0) => Ok(Content::Empty),
        (APPLICATION_ID, FORMAT) => Ok(Content::Tables),
        (APPLICATION_ID, FORMAT_OLDEST..FORMAT) => Ok(Content::Older),
        (APPLICATION_ID, found) if found > FORMAT => {
            Err(KeyVaultError::NewerFormat { what: "keys.db", found, known: FORMAT })
        }
        _ => Err(KeyVaultError::Damaged("keys.db".to_owned())),
    }
}

/// Makes the tables, within the caller's transaction.
pub(crate) fn create_tables(connection: &Connection) -> Result<()> {
    connection.execute_batch(FORMAT_1)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    take_forward(connection)
}

/// Takes tables of an older format to the present one, within the caller's transaction.
pub(crate) fn take_forward(connection: &Connection) -> Result<()> {
    connection.execute_batch(FORMAT_2)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// What format 2 added to format 1.
const FORMAT_2: &str = "
ALTER TABLE vault ADD COLUMN managed_hsm INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vault ADD COLUMN location TEXT NOT NULL DEFAULT '';
ALTER TABLE vault ADD COLUMN geography TEXT NOT NULL DEFAULT '';
ALTER TABLE key ADD COLUMN rotation_policy TEXT;
ALTER TABLE key ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN kind TEXT NOT NULL DEFAULT 'RSA';
ALTER TABLE version ADD COLUMN curve TEXT;
ALTER TABLE version ADD COLUMN hsm INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN exportable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE version ADD COLUMN release_policy TEXT;
ALTER TABLE version ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE INDEX version_by_number ON version (key, number);
CREATE INDEX version_expiring ON version (expires) WHERE expires IS NOT NULL;
CREATE INDEX key_rotating ON key (vault) WHERE rotation_policy IS NOT NULL;
";

const FORMAT_1: &str = "
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    root_key_id BLOB NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
CREATE TABLE vault (
    id INTEGER PRIMARY KEY,
    resource TEXT NOT NULL UNIQUE,
    tenant BLOB NOT NULL,
    name TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    deleted INTEGER,
    scheduled_purge INTEGER
) STRICT;
CREATE TABLE key (
    id INTEGER PRIMARY KEY,
    vault INTEGER NOT NULL REFERENCES vault ON DELETE CASCADE,
    name TEXT NOT NULL COLLATE NOCASE,
    deleted INTEGER,
    scheduled_purge INTEGER,
    UNIQUE (vault, name)
) STRICT;
CREATE TABLE version (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key INTEGER NOT NULL REFERENCES key ON DELETE CASCADE,
    version TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    not_before INTEGER,
    expires INTEGER,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    size_bits INTEGER NOT NULL,
    operations TEXT NOT NULL,
    tags TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed_private BLOB NOT NULL,
    UNIQUE (key, version)
) STRICT;
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE kit (
    id BLOB PRIMARY KEY,
    created INTEGER NOT NULL,
    covers INTEGER NOT NULL,
    tested INTEGER
) STRICT;
";
