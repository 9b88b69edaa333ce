//! `Microsoft.RecoveryServices/vaults/backupPolicies`: what clients must name when they protect
//! something, kept as they write it and carried out by the worker.
//!
//! A folder has one sort of backup, which is whole and costs what changed. So each part of a policy
//! (`Full`, `Differential`, `Log` and so on) is carried out as such backups at its own times, and a
//! point is kept as long as any part says.

use custody_ambient::Timestamp;
use custody_resources::{
    Answers, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World,
};
use jiff::SignedDuration;
use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::{self, Policy, not_supported};
use crate::retention::{DaySet, Keep, Lasting, Unit, Which};
use crate::schedule::{DAY, Repetition};
use crate::tiering;
use crate::{Retention, Schedule, Tiering};

/// Days in the longest retention, in Azure's products: 9999 days and 99 years are allowed.
const COUNT_MAX: i64 = 9_999;
/// Hours in which an hourly schedule may run, of a day.
const HOURS_MAX: i64 = 24;

/// The kind of policies of Recovery Services vaults.
pub struct BackupPolicy;

/// What a client may write of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// The discriminator: `AzureWorkload`, for example.
    pub backup_management_type: String,
    /// Kept as the client wrote it.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl Kind for BackupPolicy {
    const TYPE: &'static str = "Microsoft.RecoveryServices/vaults/backupPolicies";
    const PLACE: Place = Place::Below("Microsoft.RecoveryServices/vaults");
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = BackupPolicySpec;
    type Status = Map<String, Value>;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        policy::is_well_formed(&change.request.id, &change.spec)?;
        read(&change.spec.settings)?;
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    /// Of workloads.
    settings: Option<Value>,
    sub_protection_policy: Vec<Part>,
    /// Of everything else: one part that stands in the policy itself.
    time_zone: Option<Value>,
    #[serde(flatten)]
    own: Part,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part {
    #[serde(rename = "schedulePolicy")]
    schedule: Option<WrittenSchedule>,
    #[serde(rename = "retentionPolicy")]
    retention: Option<WrittenRetention>,
    #[serde(rename = "tieringPolicy")]
    tiers: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(tag = "schedulePolicyType")]
enum WrittenSchedule {
    #[serde(rename_all = "camelCase")]
    SimpleSchedulePolicy {
        schedule_run_frequency: Option<Frequency>,
        #[serde(default)]
        schedule_run_days: Option<Vec<Day>>,
        #[serde(default)]
        schedule_run_times: Option<Vec<Timestamp>>,
        hourly_schedule: Option<Hourly>,
        schedule_weekly_frequency: Option<i64>,
    },
    #[serde(rename_all = "camelCase")]
    LogSchedulePolicy { schedule_frequency_in_mins: Option<i64> },
}

#[derive(Clone, Copy, Deserialize)]
enum Frequency {
    Invalid,
    Daily,
    Weekly,
    Hourly,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hourly {
    interval: i64,
    schedule_window_start_time: Timestamp,
    schedule_window_duration: i64,
}

#[derive(Deserialize)]
#[serde(tag = "retentionPolicyType")]
enum WrittenRetention {
    #[serde(rename_all = "camelCase")]
    LongTermRetentionPolicy {
        daily_schedule: Option<Box<Keeping>>,
        weekly_schedule: Option<Box<Keeping>>,
        monthly_schedule: Option<Box<Keeping>>,
        yearly_schedule: Option<Box<Keeping>>,
    },
    #[serde(rename_all = "camelCase")]
    SimpleRetentionPolicy { retention_duration: Option<Duration> },
}

/// What the schedules of a long-term retention say, each as far as it has the field.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keeping {
    retention_duration: Option<Duration>,
    days_of_the_week: Option<Vec<Day>>,
    months_of_year: Option<Vec<Month>>,
    retention_schedule_format_type: Option<Frequency>,
    retention_schedule_daily: Option<OfMonth>,
    retention_schedule_weekly: Option<OfMonth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfMonth {
    #[serde(default)]
    days_of_the_month: Vec<DayOfMonth>,
    #[serde(default)]
    days_of_the_week: Vec<Day>,
    #[serde(default)]
    weeks_of_the_month: Vec<Week>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DayOfMonth {
    date: Option<i8>,
    #[serde(default)]
    is_last: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Duration {
    /// `duration` in a tiering policy.
    #[serde(alias = "duration")]
    count: i64,
    duration_type: String,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum Day {
    Monday = 1,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum Month {
    January = 1,
    February,
    March,
    April,
    May,
    June,
    July,
    August,
    September,
    October,
    November,
    December,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum Week {
    First = 1,
    Second,
    Third,
    Fourth,
    Last = -1,
}

/// Reads what a policy asks for.
pub(crate) fn read(settings: &Map<String, Value>) -> Result<Policy, Refusal> {
    let written = Written::deserialize(Value::Object(settings.clone()))
        .map_err(|error| not_supported(format!("the policy cannot be carried out: {error}")))?;
    let zone = written.settings.as_ref().and_then(|settings| settings.get("timeZone"));
    policy::is_utc(zone.or(written.time_zone.as_ref()))?;
    let (mut repetitions, mut rules, mut moves) = (Vec::new(), Vec::new(), Vec::new());
    for part in written.sub_protection_policy.iter().chain([&written.own]) {
        for tier in part.tiers.values() {
            moves.extend(tiering::of_workload(tier)?);
        }
        if let Some(schedule) = &part.schedule {
            repetitions.extend(times(schedule)?);
        }
        if let Some(retention) = &part.retention {
            rules.extend(keeps(retention)?);
        }
    }
    Ok(Policy {
        schedule: Schedule::new(repetitions)?,
        retention: Retention::new(rules),
        tiering: Tiering::new(moves),
    })
}

fn times(schedule: &WrittenSchedule) -> Result<Vec<Repetition>, Refusal> {
    let (frequency, days, times, hourly, weeks) = match schedule {
        WrittenSchedule::LogSchedulePolicy { schedule_frequency_in_mins: Some(minutes) } => {
            let every = SignedDuration::from_secs(minutes.saturating_mul(60));
            return Ok(vec![Repetition { start: Timestamp::UNIX_EPOCH, every }]);
        }
        WrittenSchedule::LogSchedulePolicy { .. } => {
            return Err(not_supported("scheduleFrequencyInMins is missing"));
        }
        WrittenSchedule::SimpleSchedulePolicy {
            schedule_run_frequency,
            schedule_run_days,
            schedule_run_times,
            hourly_schedule,
            schedule_weekly_frequency,
        } => (
            schedule_run_frequency.unwrap_or(Frequency::Invalid),
            schedule_run_days.as_deref().unwrap_or_default(),
            schedule_run_times.as_deref().unwrap_or_default(),
            hourly_schedule.as_ref(),
            schedule_weekly_frequency.unwrap_or(0),
        ),
    };
    if weeks > 1 {
        return Err(not_supported("a weekly schedule runs every week, not every so many"));
    }
    let missing = |what: &str| not_supported(format!("the schedule names no {what}"));
    match frequency {
        Frequency::Daily | Frequency::Weekly if times.is_empty() => {
            Err(missing("scheduleRunTimes"))
        }
        Frequency::Daily => Ok(times.iter().map(|time| daily(*time)).collect()),
        Frequency::Weekly if days.is_empty() => Err(missing("scheduleRunDays")),
        Frequency::Weekly => {
            let on = |day: &Day| times.iter().map(|time| weekly(*day, *time)).collect::<Vec<_>>();
            Ok(days.iter().flat_map(on).collect())
        }
        Frequency::Hourly => window(hourly.ok_or_else(|| missing("hourlySchedule"))?),
        Frequency::Invalid => Err(missing("scheduleRunFrequency")),
    }
}

/// Every day at the time of day of `time`; its date says nothing.
fn daily(time: Timestamp) -> Repetition {
    let seconds = time.as_second().rem_euclid(DAY.as_secs());
    let start = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Repetition { start, every: DAY }
}

fn weekly(day: Day, time: Timestamp) -> Repetition {
    // The first of January 1970 was a Thursday.
    let days = (i64::from(day as i8) - 4).rem_euclid(7);
    let Repetition { start, .. } = daily(time);
    let start = start.saturating_add(SignedDuration::from_hours(24 * days));
    let every = SignedDuration::from_hours(7 * 24);
    Repetition { start: start.unwrap_or(Timestamp::UNIX_EPOCH), every }
}

/// Every so many hours within a window of each day.
fn window(hourly: &Hourly) -> Result<Vec<Repetition>, Refusal> {
    let Hourly { interval, schedule_window_start_time, schedule_window_duration } = hourly;
    let in_a_day = 1..=HOURS_MAX;
    if !in_a_day.contains(interval) || !in_a_day.contains(schedule_window_duration) {
        return Err(not_supported("an hourly schedule has an interval and a window of 1 to 24"));
    }
    let mut all = Vec::new();
    for round in 0..=(schedule_window_duration / interval) {
        if round * interval == HOURS_MAX {
            break;
        }
        let after = SignedDuration::from_hours(round * interval);
        let time = schedule_window_start_time.saturating_add(after);
        all.push(daily(time.unwrap_or(*schedule_window_start_time)));
    }
    Ok(all)
}

fn keeps(retention: &WrittenRetention) -> Result<Vec<Keep>, Refusal> {
    let (daily, weekly, monthly, yearly) = match retention {
        WrittenRetention::SimpleRetentionPolicy { retention_duration } => {
            let lasting = lasting(retention_duration.as_ref())?;
            return Ok(vec![Keep { which: Which::All, lasting, archived: None }]);
        }
        WrittenRetention::LongTermRetentionPolicy {
            daily_schedule,
            weekly_schedule,
            monthly_schedule,
            yearly_schedule,
        } => (daily_schedule, weekly_schedule, monthly_schedule, yearly_schedule),
    };
    let mut rules = Vec::new();
    if let Some(daily) = daily {
        let lasting = lasting(daily.retention_duration.as_ref())?;
        rules.push(Keep { which: Which::All, lasting, archived: None });
    }
    if let Some(weekly) = weekly {
        let weekdays = weekdays(weekly.days_of_the_week.as_deref().unwrap_or_default());
        let which = Which::OnDays(DaySet { weekdays, ..DaySet::default() });
        let lasting = lasting(weekly.retention_duration.as_ref())?;
        rules.push(Keep { which, lasting, archived: None });
    }
    for keeping in [monthly, yearly].into_iter().flatten() {
        rules.push(Keep {
            which: Which::OnDays(of_months(keeping)?),
            lasting: lasting(keeping.retention_duration.as_ref())?,
            archived: None,
        });
    }
    Ok(rules)
}

fn of_months(keeping: &Keeping) -> Result<DaySet, Refusal> {
    let format = match keeping.retention_schedule_format_type {
        Some(Frequency::Daily) => keeping.retention_schedule_daily.as_ref(),
        Some(Frequency::Weekly) => keeping.retention_schedule_weekly.as_ref(),
        _ => None,
    };
    let format = format.ok_or_else(|| {
        not_supported("a monthly or yearly retention names its days (retentionScheduleDaily) or weeks (retentionScheduleWeekly)")
    })?;
    let months = keeping.months_of_year.as_deref().unwrap_or_default();
    Ok(days(
        &format.days_of_the_week,
        &format.weeks_of_the_month,
        &format.days_of_the_month,
        months,
    ))
}

/// Days of the calendar by their names.
pub(crate) fn days(
    weekdays_named: &[Day],
    weeks: &[Week],
    of_month: &[DayOfMonth],
    months: &[Month],
) -> DaySet {
    let date = |day: &DayOfMonth| match (day.is_last, day.date) {
        (Some(true), _) | (_, None) => 0,
        (_, Some(date)) => date,
    };
    DaySet {
        weekdays: weekdays(weekdays_named),
        month_weeks: weeks.iter().map(|week| *week as i8).collect(),
        month_days: of_month.iter().map(date).collect(),
        months: months.iter().map(|month| *month as i8).collect(),
    }
}

fn weekdays(named: &[Day]) -> Vec<Weekday> {
    named.iter().filter_map(|day| Weekday::from_monday_one_offset(*day as i8).ok()).collect()
}

pub(crate) fn lasting(duration: Option<&Duration>) -> Result<Lasting, Refusal> {
    let wrong =
        || not_supported("a retentionDuration has a count from 1 to 9999 and a durationType");
    let duration = duration.ok_or_else(wrong)?;
    let unit = match duration.duration_type.as_str() {
        "Days" => Unit::Days,
        "Weeks" => Unit::Weeks,
        "Months" => Unit::Months,
        "Years" => Unit::Years,
        _ => return Err(wrong()),
    };
    let count = Some(duration.count).filter(|count| (1..=COUNT_MAX).contains(count));
    let count = count.and_then(|count| i32::try_from(count).ok()).ok_or_else(wrong)?;
    Ok(Lasting { count, unit })
}
