//! Operations: who carries out what.

use custody_names::OperationId;
use custody_resources::{Operation, OperationState};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction, params};

use super::{below, parse, signed, text, unsigned};
use crate::{ENDED_OPERATIONS_MAX, OperationFilter, StoreError, TrackedOperation};

/// An operation as it is stored.
pub(super) struct Stored {
    /// What callers see of it.
    pub(super) tracked: TrackedOperation,
    /// Whether somebody has begun to carry it out.
    begun: bool,
}

/// A new operation.
pub(super) fn add(transaction: &Transaction<'_>, operation: &Operation) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO operations (id, resource, owner, begun, final, revision, body) \
             VALUES (?1, ?2, ?3, 0, ?4, 1, ?5)",
        )?
        .execute(params![
            operation.id.to_string(),
            operation.resource.canonical(),
            operation.owner,
            operation.state.is_final(),
            text(operation)?,
        ])?;
    transaction
        .prepare_cached("DELETE FROM operations WHERE final = 1 AND sequence <= ?1")?
        .execute([transaction.last_insert_rowid() - i64::from(ENDED_OPERATIONS_MAX)])?;
    Ok(())
}

/// One operation.
pub(super) fn find(connection: &Connection, id: OperationId) -> Result<Option<Stored>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT body, revision, begun FROM operations WHERE id = ?1")?;
    let row = statement.query_row([id.to_string()], columns).optional()?;
    row.map(stored).transpose()
}

/// The newest operations that pass the filter, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &OperationFilter,
    limit: usize,
) -> Result<Vec<TrackedOperation>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match filter {
        OperationFilter::All => select(connection, "1", "?1", params![limit]),
        OperationFilter::Unfinished => select(connection, "final = 0", "?1", params![limit]),
        OperationFilter::Within(place) => {
            let place = place.canonical();
            let (first, end) = below(&place);
            select(
                connection,
                "resource = ?1 OR (resource >= ?2 AND resource < ?3)",
                "?4",
                params![place, first, end, limit],
            )
        }
    }
}

/// An operation that `owner` carries out and that has not ended.
pub(super) fn expect_owned(
    connection: &Connection,
    id: OperationId,
    owner: &str,
) -> Result<Stored, StoreError> {
    let row = find(connection, id)?.ok_or(StoreError::OperationNotFound(id))?;
    let operation = &row.tracked.operation;
    if operation.owner != owner {
        return Err(StoreError::OperationTakenOver { id, owner: operation.owner.clone() });
    }
    if operation.state.is_final() {
        return Err(StoreError::OperationEnded(id));
    }
    Ok(row)
}

/// Stores what the operation has become, one revision on.
pub(super) fn update(
    transaction: &Transaction<'_>,
    row: Stored,
    operation: Operation,
) -> Result<TrackedOperation, StoreError> {
    let revision = row.tracked.revision + 1;
    transaction
        .prepare_cached(
            "UPDATE operations SET owner = ?2, begun = ?3, final = ?4, revision = ?5, body = ?6 \
             WHERE id = ?1",
        )?
        .execute(params![
            row.tracked.operation.id.to_string(),
            operation.owner,
            row.begun,
            operation.state.is_final(),
            signed(revision),
            text(&operation)?,
        ])?;
    Ok(TrackedOperation { operation, revision })
}

/// Begins an operation that nobody has begun.
pub(super) fn claim(
    transaction: &Transaction<'_>,
    id: OperationId,
    owner: &str,
) -> Result<Option<TrackedOperation>, StoreError> {
    let free =
        find(transaction, id)?.filter(|row| !row.begun && !row.tracked.operation.state.is_final());
    let Some(row) = free else { return Ok(None) };
    let mut operation = row.tracked.operation.clone();
    owner.clone_into(&mut operation.owner);
    if operation.state == OperationState::Queued {
        operation.state = OperationState::InProgress;
    }
    update(transaction, Stored { begun: true, ..row }, operation).map(Some)
}

/// Hands an operation on if it is still `old_owner`'s.
pub(super) fn take_over(
    transaction: &Transaction<'_>,
    id: OperationId,
    old_owner: &str,
    new_owner: &str,
) -> Result<bool, StoreError> {
    let row = match expect_owned(transaction, id, old_owner) {
        Ok(row) => row,
        Err(StoreError::OperationTakenOver { .. } | StoreError::OperationEnded(_)) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let mut operation = row.tracked.operation.clone();
    new_owner.clone_into(&mut operation.owner);
    update(transaction, row, operation).map(|_| true)
}

/// Asks an operation that has not ended to stop.
pub(super) fn request_cancel(
    transaction: &Transaction<'_>,
    id: OperationId,
) -> Result<Option<TrackedOperation>, StoreError> {
    let Some(row) = find(transaction, id)? else { return Ok(None) };
    match row.tracked.operation.state {
        OperationState::Queued | OperationState::InProgress => {
            let mut operation = row.tracked.operation.clone();
            operation.state = OperationState::Cancelling;
            update(transaction, row, operation).map(Some)
        }
        _ => Ok(Some(row.tracked)),
    }
}

fn select(
    connection: &Connection,
    condition: &str,
    limit: &str,
    parameters: impl Params,
) -> Result<Vec<TrackedOperation>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT body, revision, begun FROM operations WHERE {condition} \
         ORDER BY sequence DESC LIMIT {limit}"
    ))?;
    let mut all = Vec::new();
    for row in statement.query_map(parameters, columns)? {
        all.push(stored(row?)?.tracked);
    }
    Ok(all)
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(String, i64, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn stored((body, revision, begun): (String, i64, bool)) -> Result<Stored, StoreError> {
    let tracked = TrackedOperation { operation: parse(&body)?, revision: unsigned(revision) };
    Ok(Stored { tracked, begun })
}
