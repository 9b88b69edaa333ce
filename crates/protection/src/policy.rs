//! A policy of either kind of vault, as those see it who carry it out: when backups are taken, and
//! how long recovery points are kept.

use custody_ambient::Timestamp;
use custody_names::{ResourceId, ResourceName};
use custody_resources::{
    Kind as _, Record, Reference, Refusal, Removal, Stop, Stored, Target, World,
};
use serde::Serialize;
use serde_json::Value;

use crate::data_protection_policy::{self, DataProtectionPolicy};
use crate::item::{is_one_of, vault_around};
use crate::workload_policy::{self, BackupPolicy};
use crate::{Retention, Schedule, Tiering};

/// Longest policy, in bytes of its JSON.
const POLICY_BYTES_MAX: usize = 64 << 10;
/// What an item is to its policy.
const UNDER_POLICY: &str = "underPolicy";
/// The names of the one time zone that schedules are kept in, case aside. A time with an offset says
/// all that is needed by itself.
const UTC: [&str; 5] = ["utc", "etc/utc", "coordinated universal time", "gmt", "z"];

/// What a policy asks to be done by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// When backups are taken.
    pub schedule: Schedule,
    /// How long points are kept.
    pub retention: Retention,
    /// Which of them are to lie in an archive tier.
    pub tiering: Tiering,
}

impl Policy {
    /// Until when a point taken `now` is kept whose retention rule is chosen by name, as an ad-hoc
    /// backup of a Backup vault may.
    pub(crate) fn tagged_until(
        record: &Record,
        tag: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let of_backup_vault = is_one_of(&record.id, &[DataProtectionPolicy::TYPE]);
        let found = of_backup_vault
            .then(|| data_protection_policy::tagged(&record.spec, tag))
            .transpose()?
            .flatten();
        let keep = found.ok_or_else(|| tag_not_found(tag))?;
        Ok(keep.until(now))
    }

    /// Reads the record of a policy of either kind.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        if is_one_of(&record.id, &[DataProtectionPolicy::TYPE]) {
            return data_protection_policy::read(&record.spec);
        }
        workload_policy::read(&Stored::<BackupPolicy>::read(record)?.spec.settings)
    }
}

/// The error for a retention rule that the item's policy has not.
pub(crate) fn tag_not_found(tag: &str) -> Refusal {
    let text = format!("retentionTagOverride: the item's policy has no retention rule {tag:?}");
    Refusal::new(400, "PolicyRetentionTagNotFound", text)
        .with_fix("az dataprotection backup-policy show")
}

/// What is wrong with a policy that nobody could carry out as it says.
pub(crate) fn not_supported(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "PolicyNotSupported", text)
}

/// Refuses a time zone whose days and hours are not those of UTC: they would need a calendar of
/// their own.
pub(crate) fn is_utc(zone: Option<&Value>) -> Result<(), Refusal> {
    let zone = zone.and_then(Value::as_str).unwrap_or_default();
    if zone.is_empty() || UTC.iter().any(|known| known.eq_ignore_ascii_case(zone)) {
        return Ok(());
    }
    let text = format!("schedules are kept in UTC; the time zone {zone:?} is not supported");
    Err(Refusal::new(400, "PolicyTimeZoneNotSupported", text)
        .with_fix("give the times in UTC and the time zone \"UTC\""))
}

/// What a policy of either kind must be before it is read.
pub(crate) fn is_well_formed(policy: &ResourceId, spec: &impl Serialize) -> Result<(), Refusal> {
    let name = policy.name().unwrap_or_default();
    name.parse::<ResourceName>()
        .map_err(|error| Refusal::bad_request(format!("the policy's name: {error}")))?;
    let bytes = serde_json::to_vec(spec).map_err(|error| Refusal::bug(error.to_string()))?.len();
    if bytes > POLICY_BYTES_MAX {
        let text = format!("a policy has at most {POLICY_BYTES_MAX} bytes, this one {bytes}");
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}

/// A policy that an item names must be one of the item's own vault.
pub(crate) fn is_of_vault(
    policy: Option<&ResourceId>,
    item: &ResourceId,
    world: &World,
) -> Result<(), Stop> {
    let Some(policy) = policy else { return Ok(()) };
    let is_policy = is_one_of(policy, &[DataProtectionPolicy::TYPE, BackupPolicy::TYPE]);
    let is_own = policy.parent() == Some(vault_around(item));
    if is_policy && is_own && world.record(policy)?.is_some() {
        return Ok(());
    }
    Err(not_found(policy.as_str()).into())
}

/// The error for a policy that the vault has not.
pub(crate) fn not_found(policy: &str) -> Refusal {
    let text = format!("{policy} is no policy of the item's vault");
    Refusal::new(400, "PolicyNotFound", text).with_fix("az backup policy list")
}

/// That an item is under a policy.
pub(crate) fn under(policy: Option<&ResourceId>) -> Vec<Reference> {
    let named = policy.into_iter();
    named.map(|policy| Reference::new(UNDER_POLICY, Target::resource(policy))).collect()
}

/// A policy that items are under is not deleted.
pub(crate) fn plan_delete(policy: &ResourceId, world: &World) -> Result<Removal, Stop> {
    Removal::unless_named(policy, world, |users, first| {
        let text = format!(
            "{} item(s) are under the policy, soft-deleted ones among them; the first is {}",
            users.len(),
            first.name().unwrap_or_default()
        );
        Refusal::new(409, "PolicyInUse", text).with_fix("give those items another policy first")
    })
}
