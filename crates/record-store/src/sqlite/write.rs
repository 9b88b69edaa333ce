//! Writing: what an answer changes.

use custody_names::ResourceId;
use custody_resources::{ActivityEvent, ActivityStatus, Record, Refusal, Write};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{below, queue, signed, text};
use crate::{ApplyError, EVENTS_MAX, StoreError};

/// So many of the newest events are looked at; at most half of them are refusals for want of a right.
const REFUSALS_WINDOW: u32 = 200;
/// The HTTP status of such a refusal.
const FORBIDDEN: u16 = 403;

/// The counter of changes that may end access to a key.
pub(super) const REVOCATION: &str = "revocation";
/// The counter of changes of records.
pub(super) const RECORDS: &str = "records";

/// Applies the writes in their order. Claims are given up first, so that a name may pass between
/// records of one answer, as a key vault's does when it is deleted softly.
pub(super) fn apply(transaction: &Transaction<'_>, writes: Vec<Write>) -> Result<(), ApplyError> {
    let mut changes_records = false;
    for write in &writes {
        let id = match write {
            Write::Put(record) => &record.id,
            Write::Remove(id) => id,
            Write::Operation(_) | Write::Activity(_) | Write::RaiseRevocation => continue,
        };
        release(transaction, id)?;
        changes_records = true;
    }
    if changes_records {
        raise(transaction, RECORDS)?;
    }
    for write in writes {
        match write {
            Write::Put(record) => put(transaction, &record)?,
            Write::Remove(id) => remove(transaction, &id)?,
            Write::Operation(operation) => queue::add(transaction, &operation)?,
            Write::Activity(event) => log(transaction, &event)?,
            Write::RaiseRevocation => raise(transaction, REVOCATION)?,
        }
    }
    Ok(())
}

fn raise(transaction: &Transaction<'_>, counter: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO counters (name, value) VALUES (?1, 1) \
             ON CONFLICT (name) DO UPDATE SET value = value + 1",
        )?
        .execute([counter])?;
    Ok(())
}

fn release(transaction: &Transaction<'_>, id: &ResourceId) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM claims WHERE holder = ?1")?
        .execute([id.canonical()])?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, record: &Record) -> Result<(), ApplyError> {
    let id = record.id.canonical();
    let stored: Option<i64> = transaction
        .prepare_cached("SELECT revision FROM records WHERE id = ?1")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    if stored.unwrap_or(0).checked_add(1) != Some(signed(record.revision)) {
        return Err(changed_meanwhile(&record.id).into());
    }
    let parent = record.id.parent().map(|parent| parent.canonical()).unwrap_or_default();
    transaction
        .prepare_cached(
            "INSERT INTO records (id, parent, type, revision, body) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
        )?
        .execute(params![
            id,
            parent,
            record.id.resource_type().as_str().to_lowercase(),
            signed(record.revision),
            text(record)?,
        ])?;
    point(transaction, &id, record)?;
    claim(transaction, &id, record)
}

/// Renews the record's edges in the reference index.
fn point(transaction: &Transaction<'_>, id: &str, record: &Record) -> Result<(), StoreError> {
    transaction.prepare_cached("DELETE FROM edges WHERE source = ?1")?.execute([id])?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO edges (source, relation, sort, target) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for reference in &record.references {
        let (sort, target) = reference.to.index_key();
        insert.execute(params![id, reference.relation, sort, target])?;
    }
    Ok(())
}

fn claim(transaction: &Transaction<'_>, id: &str, record: &Record) -> Result<(), ApplyError> {
    let Some(name) = &record.claim else { return Ok(()) };
    let taken = transaction
        .prepare_cached("INSERT OR IGNORE INTO claims (name, holder) VALUES (?1, ?2)")?
        .execute(params![name, id])?;
    if taken == 1 { Ok(()) } else { Err(name_taken(name).into()) }
}

fn remove(transaction: &Transaction<'_>, id: &ResourceId) -> Result<(), StoreError> {
    let id = id.canonical();
    let (first, end) = below(&id);
    transaction
        .prepare_cached("DELETE FROM records WHERE id = ?1 OR (id >= ?2 AND id < ?3)")?
        .execute(params![id, first, end])?;
    Ok(())
}

fn log(transaction: &Transaction<'_>, event: &ActivityEvent) -> Result<(), StoreError> {
    if is_refusal(event) && are_mostly_refusals(transaction)? {
        return Ok(());
    }
    transaction
        .prepare_cached("INSERT INTO activity (resource, body) VALUES (?1, ?2)")?
        .execute(params![event.resource.canonical(), text(event)?])?;
    transaction
        .prepare_cached("DELETE FROM activity WHERE sequence <= ?1")?
        .execute([transaction.last_insert_rowid() - i64::from(EVENTS_MAX)])?;
    Ok(())
}

/// Whether the event tells that somebody may not do what he asked for.
fn is_refusal(event: &ActivityEvent) -> bool {
    event.status == ActivityStatus::Failed && event.http_status == Some(FORBIDDEN)
}

/// Whether the newest events are refusals for the most part. Anybody with a token can bring those
/// about, so beyond that they are not kept: what was done must not be pushed out of the log.
fn are_mostly_refusals(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let mut newest = transaction.prepare_cached(
        "SELECT count(*) FROM (SELECT body FROM activity ORDER BY sequence DESC LIMIT ?1) \
         WHERE json_extract(body, '$.status') = ?2 AND json_extract(body, '$.httpStatus') = ?3",
    )?;
    let refused = ActivityStatus::Failed.as_str();
    let count: u32 =
        newest.query_row(params![REFUSALS_WINDOW, refused, FORBIDDEN], |row| row.get(0))?;
    Ok(count >= REFUSALS_WINDOW / 2)
}

fn changed_meanwhile(id: &ResourceId) -> Refusal {
    Refusal::new(
        412,
        "PreconditionFailed",
        format!("{id} was changed by another request meanwhile"),
    )
    .with_fix("read the resource again and repeat the change on what it is now")
}

fn name_taken(claim: &str) -> Refusal {
    let name = claim.split_once(':').map_or(claim, |(_, name)| name);
    Refusal::new(409, "NameNotAvailable", format!("the name '{name}' is already taken"))
        .with_fix("choose another name; names of this kind are unique over all tenants")
}
