//! What is deleted softly: it stands under another identifier, of a kind of its own, until its time
//! has come or somebody brings it back.

use custody_ambient::Timestamp;
use custody_names::{Location, ResourceId};

use crate::{Kind, Record, Refusal, Stored};

/// A kind of softly deleted resources. Its action `purge` ends one for good.
pub trait SoftlyDeleted: Kind {
    /// From when on it is purged without being asked.
    fn purge_at(stored: &Stored<Self>) -> Timestamp;
}

/// Where a resource stands while it is deleted softly: under its name, in the place where it lay,
/// as one of the type `deleted` (`NAMESPACE/locations/WORD`).
///
/// # Errors
/// An impossible case: what is deleted softly lies in a subscription and has a name.
pub fn deleted_id(
    id: &ResourceId,
    location: &Location,
    deleted: &str,
) -> Result<ResourceId, Refusal> {
    let broken = || Refusal::bug(format!("{id} has no place for what is deleted softly"));
    let subscription = id.subscription_id().ok_or_else(broken)?;
    let name = id.name().ok_or_else(broken)?;
    let (namespace, rest) = deleted.split_once('/').ok_or_else(broken)?;
    let word = rest.rsplit('/').next().unwrap_or_default();
    format!(
        "/subscriptions/{subscription}/providers/{namespace}/locations/{location}/{word}/{name}"
    )
    .parse()
    .map_err(|_| broken())
}

/// The error for what is being erased already.
pub fn being_purged(deleted: &Record) -> Refusal {
    let name = deleted.id.name().unwrap_or_default();
    let text = format!("The deleted vault '{name}' is being purged.");
    Refusal::new(409, "AnotherOperationInProgress", text)
}

/// So many days after a time.
pub fn days_after(time: Timestamp, days: u32) -> Timestamp {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    let second = time.as_second().saturating_add(i64::from(days) * DAY_SECONDS);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
