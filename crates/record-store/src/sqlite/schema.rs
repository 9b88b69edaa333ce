//! The file: its format number, its tables and how a connection is set up.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::readers::READERS;
use crate::{BUSY_TIMEOUT, StoreError};

/// `crec`, in the file's header.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"crec");
/// The format this version writes.
const FORMAT: u32 = 1;
/// Readable and writable for its owner alone.
const FILE_MODE: u32 = 0o600;
/// Statements kept ready.
const STATEMENTS_MAX: usize = 64;

const TABLES: &str = "
CREATE TABLE records (
    id TEXT NOT NULL PRIMARY KEY,
    parent TEXT NOT NULL,
    type TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX records_by_parent ON records (parent, type, id);
CREATE INDEX records_by_type ON records (type, id);

CREATE TABLE edges (
    source TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    relation TEXT NOT NULL,
    sort TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (source, relation, sort, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_by_target ON edges (sort, target, source);

CREATE TABLE claims (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_holder ON claims (holder);

CREATE TABLE operations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    resource TEXT NOT NULL,
    owner TEXT NOT NULL,
    begun INTEGER NOT NULL,
    final INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX operations_by_resource ON operations (resource, sequence);
CREATE INDEX operations_unfinished ON operations (sequence) WHERE final = 0;

CREATE TABLE activity (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    resource TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX activity_by_resource ON activity (resource, sequence);

CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('revocation', 0);
";

/// A connection that writes, one that looks at counters and those that read, to the file, which is
/// made if it is not there.
pub(super) fn open(path: &Path) -> Result<[Connection; 2 + READERS], StoreError> {
    // SQLite waits for nobody while a file changes to write-ahead logging: one opens at a time.
    let _turn = turn(path)?;
    let mut connections = Vec::with_capacity(2 + READERS);
    while connections.len() < 2 + READERS {
        connections.push(connect(path)?);
    }
    connections.try_into().map_err(|_| StoreError::Unavailable(path.display().to_string()))
}

/// Until the format is known to be ours, nothing is written through this connection, not even when
/// it is closed. A file that was not there is made empty and for its owner alone; SQLite gives its
/// other files the same permissions.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let new = !path.exists();
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if new {
        // By path: closing a handle of our own on the file would end the locks that SQLite holds
        // for this process's other connections.
        fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(unavailable)?;
    }
    if !is_made(&connection)? {
        make(&mut connection)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    write_ahead(&connection)?;
    set_up(&connection)?;
    Ok(connection)
}

/// Waits for the turn to open the file; it ends when the value is dropped.
fn turn(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&name)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", name.display())))?;
    file.lock().map_err(unavailable)?;
    Ok(file)
}

/// Makes sure of write-ahead logging, which lets readers and a writer work at once.
fn write_ahead(connection: &Connection) -> Result<(), StoreError> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let text = format!("its file system does not allow write-ahead logging ({mode})");
    Err(StoreError::Unavailable(text))
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// A connection to a new database in memory.
pub(super) fn memory() -> Result<Connection, StoreError> {
    let mut connection = Connection::open_in_memory()?;
    make(&mut connection)?;
    set_up(&connection)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Whether the tables are there; refuses what this version must not touch.
fn is_made(connection: &Connection) -> Result<bool, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let (application, format) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        return match format {
            FORMAT => Ok(true),
            0 => Err(StoreError::Damaged("the format number is missing".to_owned())),
            found => Err(StoreError::NewerFormat { found, known: FORMAT }),
        };
    }
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && format == 0 && tables == 0 {
        return Ok(false);
    }
    Err(StoreError::Foreign(application))
}

fn make(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}
