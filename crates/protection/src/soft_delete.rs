//! Whether and for how long a vault keeps what is deleted in it. The vault's kinds write the
//! setting; here it is read from its record, since crates of this floor do not know each other.

use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{Stop, World};
use jiff::SignedDuration;
use serde_json::Value;

use crate::item::vault_around;
use crate::item_status::SoftDeletion;

/// Days that deleted data is kept unless the vault says otherwise, and the least that counts.
const DAYS: i64 = 14;
/// The most that counts.
const DAYS_MAX: i64 = 180;
/// Where either kind of vault says whether it keeps what is deleted.
const STATES: [&str; 2] = ["softDeleteState", "state"];
/// Where either says for how many days.
const RETENTIONS: [&str; 2] = ["softDeleteRetentionPeriodInDays", "retentionDurationInDays"];
/// The words for not at all, case aside.
const OFF: [&str; 2] = ["disabled", "off"];

/// What becomes of an item with data that is deleted now: kept for a time, or gone at once (`None`).
/// A vault that says nothing keeps it, as in Azure.
pub(crate) fn soft_deletion(
    item: &ResourceId,
    now: Timestamp,
    world: &World,
) -> Result<Option<SoftDeletion>, Stop> {
    let vault = world.record(&vault_around(item))?;
    let settings =
        vault.and_then(|vault| vault.spec.pointer("/securitySettings/softDeleteSettings"));
    let read = |names: [&str; 2]| names.iter().find_map(|name| settings?.get(name));
    let is_off = read(STATES)
        .and_then(Value::as_str)
        .is_some_and(|state| OFF.iter().any(|off| off.eq_ignore_ascii_case(state)));
    if is_off {
        return Ok(None);
    }
    // Clients write the number with a fraction too.
    let days = read(RETENTIONS).and_then(|days| days.as_i64().or(days.as_f64().map(whole)));
    let days = days.unwrap_or(DAYS).clamp(DAYS, DAYS_MAX);
    let purge_at = now.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(now);
    Ok(Some(SoftDeletion { deleted_at: now, purge_at }))
}

/// Days are few: the cast is exact wherever the number counts.
#[expect(clippy::cast_possible_truncation)]
fn whole(days: f64) -> i64 {
    days as i64
}
