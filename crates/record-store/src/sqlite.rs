//! The record store over one SQLite file.

mod load;
mod queue;
mod readers;
mod schema;
mod write;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custody_names::{OperationId, ResourceId};
use custody_resources::{ActivityEvent, Stop, World};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde_json::Value;

use self::readers::Readers;
use crate::{
    Advance, ApplyError, ChangeSetting, Decide, Look, OperationFilter, ROUNDS_MAX, RecordStore,
    StoreError, TrackedOperation,
};

/// Records in an SQLite file, or in memory.
///
/// Readers have connections of their own, so that nobody who reads waits for a writer, and so have
/// looks at counters, which wait for no reader either.
pub struct SqliteRecords {
    writer: Mutex<Connection>,
    file: Option<FileReaders>,
}

struct FileReaders {
    readers: Readers,
    watch: Mutex<Connection>,
}

impl SqliteRecords {
    /// Opens the file, and makes it if there is none. A newer format, or another program's
    /// database, is refused before anything is written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let [writer, watch, readers @ ..] = schema::open(path)?.map(Mutex::new);
        let file = FileReaders { readers: Readers::new(readers), watch };
        Ok(Self { writer, file: Some(file) })
    }

    /// An empty store that lives as long as this value.
    pub fn memory() -> Result<Self, StoreError> {
        Ok(Self { writer: Mutex::new(schema::memory()?), file: None })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.file.as_ref().map_or_else(|| lock(&self.writer), |file| file.readers.free())
    }

    /// A counter, without waiting for who reads or writes. One that was never raised may be absent.
    fn counter(&self, name: &str) -> Result<u64, StoreError> {
        let connection = lock(self.file.as_ref().map_or(&self.writer, |file| &file.watch));
        let mut statement =
            connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
        let value = statement.query_row([name], |row| row.get(0)).optional()?;
        Ok(unsigned(value.unwrap_or(0)))
    }

    /// Runs `work` in one write transaction: all of it, durably, or nothing.
    fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = lock(&self.writer);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// The same for work that a plan may refuse. What the refusal wants kept is stored: plans
    /// refuse before anything is written, and a conflict among writes keeps nothing.
    fn decide<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        self.write(|transaction| match work(transaction) {
            Err(ApplyError::Refused(mut refusal)) if !refusal.writes.is_empty() => {
                write::apply(transaction, std::mem::take(&mut refusal.writes))?;
                Ok(Err(ApplyError::Refused(refusal)))
            }
            outcome => outcome.map(Ok),
        })?
    }
}

/// Asks until the world holds what the plan must see.
fn settle<T>(
    connection: &Connection,
    mut plan: impl FnMut(&World) -> Result<T, Stop>,
) -> Result<T, ApplyError> {
    let mut world = World::new();
    for _ in 0..ROUNDS_MAX {
        match plan(&world) {
            Ok(planned) => return Ok(planned),
            Err(Stop::Refused(refusal)) => return Err(ApplyError::Refused(refusal)),
            Err(Stop::Needs(query)) => {
                let records = load::answer(connection, &query)?;
                world.learn(query, records);
            }
        }
    }
    Err(StoreError::Unsettled(ROUNDS_MAX).into())
}

impl RecordStore for SqliteRecords {
    fn apply(&self, decide: &mut Decide<'_>) -> Result<(), ApplyError> {
        self.decide(|transaction| write::apply(transaction, settle(transaction, decide)?))
    }

    fn view(&self, look: &mut Look<'_>) -> Result<(), ApplyError> {
        let mut connection = self.reader();
        let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        settle(&snapshot, look)
    }

    fn state(&self) -> Result<u64, StoreError> {
        self.counter(write::RECORDS)
    }

    fn operation(&self, id: OperationId) -> Result<Option<TrackedOperation>, StoreError> {
        Ok(queue::find(&self.reader(), id)?.map(|row| row.tracked))
    }

    fn operations(
        &self,
        filter: &OperationFilter,
        limit: usize,
    ) -> Result<Vec<TrackedOperation>, StoreError> {
        queue::list(&self.reader(), filter, limit)
    }

    fn update_operation(
        &self,
        id: OperationId,
        owner: &str,
        advance: &mut Advance<'_>,
    ) -> Result<TrackedOperation, ApplyError> {
        self.decide(|transaction| {
            let row = queue::expect_owned(transaction, id, owner)?;
            let (operation, writes) = settle(transaction, |world| {
                let mut operation = row.tracked.operation.clone();
                let writes = advance(world, &mut operation)?;
                Ok((operation, writes))
            })?;
            write::apply(transaction, writes)?;
            Ok(queue::update(transaction, row, operation)?)
        })
    }

    fn claim(&self, id: OperationId, owner: &str) -> Result<Option<TrackedOperation>, StoreError> {
        self.write(|transaction| queue::claim(transaction, id, owner))
    }

    fn take_over(
        &self,
        id: OperationId,
        old_owner: &str,
        new_owner: &str,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| queue::take_over(transaction, id, old_owner, new_owner))
    }

    fn request_cancel(&self, id: OperationId) -> Result<Option<TrackedOperation>, StoreError> {
        self.write(|transaction| queue::request_cancel(transaction, id))
    }

    fn revocation_counter(&self) -> Result<u64, StoreError> {
        self.counter(write::REVOCATION)
    }

    fn activity(
        &self,
        within: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ActivityEvent>, StoreError> {
        load::activity(&self.reader(), within, limit)
    }

    fn setting(&self, name: &str) -> Result<Option<Value>, StoreError> {
        setting(&self.reader(), name)
    }

    fn settings(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached(
            "SELECT name FROM settings WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name",
        )?;
        let names = statement.query_map([prefix], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn change_setting(&self, name: &str, change: &mut ChangeSetting<'_>) -> Result<(), StoreError> {
        self.write(|transaction| {
            match change(setting(transaction, name)?) {
                Some(value) => transaction.execute(
                    "INSERT INTO settings (name, value) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    params![name, value.to_string()],
                )?,
                None => transaction.execute("DELETE FROM settings WHERE name = ?1", [name])?,
            };
            Ok(())
        })
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setting(connection: &Connection, name: &str) -> Result<Option<Value>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    let text: Option<String> = statement.query_row([name], |row| row.get(0)).optional()?;
    text.map(|text| parse(&text)).transpose()
}

/// A stored JSON text as what it must be.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// The JSON text that is stored for `value`.
fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// The bounds between which the canonical identifiers of everything below a place lie.
fn below(canonical: &str) -> (String, String) {
    let place = canonical.trim_end_matches('/');
    // '0' is the character after '/'.
    (format!("{place}/"), format!("{place}0"))
}

/// SQLite's integers are signed; no counter here comes near the end of them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
