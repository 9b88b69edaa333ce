//! `Microsoft.DataProtection/backupVaults/backupPolicies`: schedule and retention as clients of
//! Backup vaults write them, kept as written and carried out by the worker.

use custody_ambient::Timestamp;
use custody_resources::{
    Answers, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World,
};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::{self, Policy, not_supported};
use crate::retention::{Keep, Lasting, Unit, Which};
use crate::schedule::Repetition;
use crate::tiering::Move;
use crate::workload_policy::{Day, DayOfMonth, Month, Week, days};
use crate::{Retention, Schedule, Tiering};

/// The one store that recovery points lie in, which is what the vault's key covers (rule 6).
const STORE: &str = "VaultStore";
/// The store that recovery points are to be moved to, of which there is none yet.
const ARCHIVE: &str = "ArchiveStore";

/// The kind of policies of Backup vaults.
pub struct DataProtectionPolicy;

impl Kind for DataProtectionPolicy {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/backupPolicies";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = Map<String, Value>;
    type Status = Map<String, Value>;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        policy::is_well_formed(&change.request.id, &change.spec)?;
        if change.spec.get("objectType").and_then(Value::as_str) != Some("BackupPolicy") {
            let text = "properties.objectType must be BackupPolicy";
            return Err(Refusal::bad_request(text).into());
        }
        read(&Value::Object(change.spec.clone()))?;
        Ok(Plan::done(change.spec, Map::new()))
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        policy::plan_delete(&current.record.id, world)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    policy_rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(tag = "objectType")]
enum Rule {
    #[serde(rename_all = "camelCase")]
    AzureBackupRule { data_store: Store, trigger: Trigger },
    #[serde(rename_all = "camelCase")]
    AzureRetentionRule { name: String, lifecycles: Vec<Lifecycle> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    data_store_type: String,
}

#[derive(Deserialize)]
#[serde(tag = "objectType")]
enum Trigger {
    #[serde(rename_all = "camelCase")]
    ScheduleBasedTriggerContext {
        schedule: WrittenSchedule,
        #[serde(default)]
        tagging_criteria: Vec<Tagging>,
    },
    #[serde(rename_all = "camelCase")]
    AdhocBasedTriggerContext {},
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSchedule {
    repeating_time_intervals: Vec<String>,
    time_zone: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tagging {
    tag_info: Tag,
    #[serde(default)]
    criteria: Option<Vec<Criteria>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    tag_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Criteria {
    #[serde(rename = "absoluteCriteria")]
    absolute: Option<Vec<Marker>>,
    days_of_month: Option<Vec<DayOfMonth>>,
    days_of_the_week: Option<Vec<Day>>,
    months_of_year: Option<Vec<Month>>,
    weeks_of_the_month: Option<Vec<Week>>,
    schedule_times: Option<Vec<Value>>,
}

#[derive(Clone, Copy, Deserialize)]
enum Marker {
    AllBackup,
    FirstOfDay,
    FirstOfWeek,
    FirstOfMonth,
    FirstOfYear,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    delete_after: DeleteAfter,
    source_data_store: Store,
    #[serde(default)]
    target_data_store_copy_settings: Option<Vec<Copying>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Copying {
    data_store: Store,
    copy_after: CopyAfter,
}

#[derive(Deserialize)]
#[serde(tag = "objectType")]
enum CopyAfter {
    #[serde(rename = "ImmediateCopyOption")]
    AtOnce {},
    #[serde(rename = "CopyOnExpiryOption")]
    OnExpiry {},
    #[serde(rename = "CustomCopyOption")]
    Custom { duration: Span },
}

#[derive(Deserialize)]
struct DeleteAfter {
    duration: Span,
}

/// Reads what a policy asks for.
pub(crate) fn read(spec: &Value) -> Result<Policy, Refusal> {
    let written = written(spec)?;
    let mut repetitions = Vec::new();
    let mut tags: Vec<(&str, Which)> = Vec::new();
    for rule in &written.policy_rules {
        let Rule::AzureBackupRule { data_store, trigger } = rule else { continue };
        is_the_store(data_store)?;
        let Trigger::ScheduleBasedTriggerContext { schedule, tagging_criteria } = trigger else {
            continue;
        };
        policy::is_utc(schedule.time_zone.as_ref())?;
        for interval in &schedule.repeating_time_intervals {
            repetitions.push(repetition(interval)?);
        }
        for tagging in tagging_criteria {
            for criteria in tagging.criteria.iter().flatten() {
                let tag = tagging.tag_info.tag_name.as_str();
                tags.extend(which(criteria)?.into_iter().map(|which| (tag, which)));
            }
        }
    }
    let (mut rules, mut moves) = (Vec::new(), Vec::new());
    for rule in &written.policy_rules {
        let Rule::AzureRetentionRule { name, lifecycles } = rule else { continue };
        let (lasting, archived, after) = lives(lifecycles)?;
        let named = tags.iter().filter(|(tag, _)| tag == name).map(|(_, which)| which.clone());
        let mut named: Vec<Which> = named.collect();
        if named.is_empty() {
            named.push(Which::All);
        }
        for which in named {
            moves.extend(after.map(|after| Move { which: which.clone(), after }));
            rules.push(Keep { which, lasting, archived });
        }
    }
    Ok(Policy {
        schedule: Schedule::new(repetitions)?,
        retention: Retention::new(rules),
        tiering: Tiering::new(moves),
    })
}

/// The retention of the rule of this name, for a point that is chosen for it.
pub(crate) fn tagged(spec: &Value, tag: &str) -> Result<Option<Keep>, Refusal> {
    for rule in written(spec)?.policy_rules {
        if let Rule::AzureRetentionRule { name, lifecycles } = rule
            && name == tag
        {
            let (lasting, archived, _) = lives(&lifecycles)?;
            return Ok(Some(Keep { which: Which::All, lasting, archived }));
        }
    }
    Ok(None)
}

fn written(spec: &Value) -> Result<Written, Refusal> {
    Written::deserialize(spec)
        .map_err(|error| not_supported(format!("the policy cannot be carried out: {error}")))
}

/// How long points are kept in the vault, how long after that in the archive tier, and when they are
/// to be moved there.
fn lives(lifecycles: &[Lifecycle]) -> Result<(Lasting, Option<Lasting>, Option<Lasting>), Refusal> {
    let (mut in_vault, mut archived, mut after) = (None, None, None);
    for lifecycle in lifecycles {
        let lasting = lasting(lifecycle.delete_after.duration)?;
        let place = match lifecycle.source_data_store.data_store_type.as_str() {
            STORE => &mut in_vault,
            ARCHIVE => &mut archived,
            other => return Err(no_such_store(other)),
        };
        if place.replace(lasting).is_some() {
            return Err(not_supported("a retention rule has one lifecycle for each store"));
        }
        for copying in lifecycle.target_data_store_copy_settings.iter().flatten() {
            if copying.data_store.data_store_type != ARCHIVE {
                return Err(no_such_store(&copying.data_store.data_store_type));
            }
            after = Some(match copying.copy_after {
                CopyAfter::AtOnce {} => Lasting { count: 0, unit: Unit::Days },
                CopyAfter::OnExpiry {} => lasting,
                CopyAfter::Custom { duration } => self::lasting(duration)?,
            });
        }
    }
    let in_vault = in_vault.ok_or_else(|| {
        not_supported(format!("a retention rule says how long points stay in the {STORE}"))
    })?;
    Ok((in_vault, archived, after))
}

fn is_the_store(store: &Store) -> Result<(), Refusal> {
    match store.data_store_type.as_str() {
        STORE => Ok(()),
        other => Err(no_such_store(other)),
    }
}

fn no_such_store(name: &str) -> Refusal {
    not_supported(format!("points lie in the {STORE}; there is no {name} to take or copy them to"))
}

/// `R/2021-05-02T13:00:00+00:00/P1D`: without end, from then on, once in each of these.
fn repetition(interval: &str) -> Result<Repetition, Refusal> {
    let wrong = || {
        let text = format!(
            "{interval:?} is no repeating interval of days or hours: R/START/P1D, for example"
        );
        not_supported(text)
    };
    let mut parts = interval.split('/');
    let (Some("R"), Some(start), Some(every), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let every: Span = every.parse().map_err(|_| wrong())?;
    if every.get_months() != 0 || every.get_years() != 0 {
        return Err(wrong());
    }
    let every = every.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let start: Timestamp = start.parse().map_err(|_| wrong())?;
    if every <= SignedDuration::ZERO {
        return Err(wrong());
    }
    Ok(Repetition { start, every })
}

fn which(criteria: &Criteria) -> Result<Vec<Which>, Refusal> {
    if criteria.schedule_times.iter().any(|times| !times.is_empty()) {
        let text =
            "scheduleTimes: points are tagged by the day they were taken on, not by the time";
        return Err(not_supported(text));
    }
    let mut all = Vec::new();
    for marker in criteria.absolute.iter().flatten() {
        all.push(match marker {
            Marker::AllBackup => Which::All,
            Marker::FirstOfDay => Which::FirstOf(Unit::Days),
            Marker::FirstOfWeek => Which::FirstOf(Unit::Weeks),
            Marker::FirstOfMonth => Which::FirstOf(Unit::Months),
            Marker::FirstOfYear => Which::FirstOf(Unit::Years),
        });
    }
    if all.is_empty() {
        all.push(Which::OnDays(days(
            criteria.days_of_the_week.as_deref().unwrap_or_default(),
            criteria.weeks_of_the_month.as_deref().unwrap_or_default(),
            criteria.days_of_month.as_deref().unwrap_or_default(),
            criteria.months_of_year.as_deref().unwrap_or_default(),
        )));
    }
    Ok(all)
}

/// A length of time in one unit, `P30D` or `P10Y` for example.
fn lasting(duration: Span) -> Result<Lasting, Refusal> {
    let parts = [
        (i64::from(duration.get_years()), Unit::Years),
        (i64::from(duration.get_months()), Unit::Months),
        (i64::from(duration.get_weeks()), Unit::Weeks),
        (i64::from(duration.get_days()), Unit::Days),
    ];
    let mut named = parts.into_iter().filter(|(count, _)| *count != 0);
    match (named.next(), named.next()) {
        (Some((count, unit)), None) if count > 0 => {
            let count = i32::try_from(count).map_err(|_| not_supported("a retention ends"))?;
            Ok(Lasting { count, unit })
        }
        _ => {
            let text = format!("{duration} is no length of days, weeks, months or years");
            Err(not_supported(text))
        }
    }
}
