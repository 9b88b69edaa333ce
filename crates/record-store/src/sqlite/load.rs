//! Reading: what a plan asks of its world, and the activity log.

use custody_names::ResourceId;
use custody_resources::{ActivityEvent, Query, Record};
use rusqlite::{Connection, Params, params};

use super::{below, parse};
use crate::StoreError;

/// The records that answer a query, ordered by identifier.
pub(super) fn answer(connection: &Connection, query: &Query) -> Result<Vec<Record>, StoreError> {
    match query {
        Query::Record(id) => {
            bodies(connection, "SELECT body FROM records WHERE id = ?1", params![id])
        }
        Query::Children(place, kind) => bodies(
            connection,
            "SELECT body FROM records WHERE parent = ?1 AND type = ?2 ORDER BY id",
            params![place, kind],
        ),
        Query::Members(place) => bodies(
            connection,
            "SELECT body FROM records WHERE parent = ?1 ORDER BY id",
            params![place],
        ),
        Query::Below(place, kind) => {
            let (first, end) = below(place);
            bodies(
                connection,
                "SELECT body FROM records WHERE type = ?1 AND id >= ?2 AND id < ?3 ORDER BY id",
                params![kind, first, end],
            )
        }
        Query::Everything(place) => {
            let (first, end) = below(place);
            bodies(
                connection,
                "SELECT body FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id",
                params![first, end],
            )
        }
        Query::Referrers(target) => {
            let (sort, name) = target.index_key();
            bodies(
                connection,
                "SELECT body FROM records WHERE id IN \
                 (SELECT source FROM edges WHERE sort = ?1 AND target = ?2) ORDER BY id",
                params![sort, name],
            )
        }
        Query::Claim(name) => bodies(
            connection,
            "SELECT body FROM records JOIN claims ON holder = id WHERE name = ?1",
            params![name],
        ),
    }
}

/// The newest events, newest first.
pub(super) fn activity(
    connection: &Connection,
    within: Option<&ResourceId>,
    limit: usize,
) -> Result<Vec<ActivityEvent>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match within {
        None => bodies(
            connection,
            "SELECT body FROM activity ORDER BY sequence DESC LIMIT ?1",
            params![limit],
        ),
        Some(place) => {
            let place = place.canonical();
            let (first, end) = below(&place);
            bodies(
                connection,
                "SELECT body FROM activity WHERE resource = ?1 OR (resource >= ?2 AND resource < ?3) \
                 ORDER BY sequence DESC LIMIT ?4",
                params![place, first, end, limit],
            )
        }
    }
}

fn bodies<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(all)
}
