//! How long points are kept.

use custody_protection::Aging;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{BACKUP, RECOVERY_SERVICES, policy, rules, time, workload};

/// One point a day at noon, for so many days from this one on; named by their days.
fn daily(first: &str, days: i64) -> Vec<Aging> {
    let start = time(&format!("{first}T12:00:00Z"));
    (0..days)
        .map(|day| {
            let taken = start + SignedDuration::from_hours(24 * day);
            Aging { id: taken.to_string()[..10].to_owned(), taken, keep_until: None }
        })
        .collect()
}

fn kept(place: &str, written: &Value, points: &[Aging], now: &str) -> Vec<String> {
    let retention = policy(place, written.clone()).unwrap().retention;
    let gone = retention.expired(points, time(now));
    points.iter().map(|point| point.id.clone()).filter(|id| !gone.contains(id)).collect()
}

fn long_term() -> Value {
    let lasting = |count: u32, unit: &str| json!({ "count": count, "durationType": unit });
    workload(
        &Value::Null,
        &json!({
            "retentionPolicyType": "LongTermRetentionPolicy",
            "dailySchedule": { "retentionDuration": lasting(7, "Days") },
            "weeklySchedule": {
                "daysOfTheWeek": ["Sunday"],
                "retentionDuration": lasting(4, "Weeks"),
            },
            "monthlySchedule": {
                "retentionScheduleFormatType": "Weekly",
                "retentionScheduleWeekly": {
                    "daysOfTheWeek": ["Sunday"],
                    "weeksOfTheMonth": ["First"],
                },
                "retentionDuration": lasting(12, "Months"),
            },
            "yearlySchedule": {
                "retentionScheduleFormatType": "Daily",
                "monthsOfYear": ["January"],
                "retentionScheduleDaily": { "daysOfTheMonth": [{ "date": 0, "isLast": true }] },
                "retentionDuration": lasting(10, "Years"),
            },
        }),
    )
}

/// Points of the first ten weeks of 2026, looked at on Wednesday, 11 March.
#[test]
fn grandfather_father_and_son_by_both_kinds_of_policy() {
    let points = daily("2026-01-01", 70);
    let backup = rules(
        &[],
        &[
            ("Default", Value::Null),
            ("Weekly", json!({ "daysOfTheWeek": ["Sunday"] })),
            ("Monthly", json!({ "daysOfTheWeek": ["Sunday"], "weeksOfTheMonth": ["First"] })),
            ("Yearly", json!({ "daysOfMonth": [{ "isLast": true }], "monthsOfYear": ["January"] })),
        ],
        &[("Default", "P7D"), ("Weekly", "P4W"), ("Monthly", "P12M"), ("Yearly", "P10Y")],
    );
    for (place, written) in [(RECOVERY_SERVICES, &long_term()), (BACKUP, &backup)] {
        let kept = kept(place, written, &points, "2026-03-11T11:00:00Z");
        let expected = [
            "2026-01-04",
            "2026-01-31",
            "2026-02-01",
            "2026-02-15",
            "2026-02-22",
            "2026-03-01",
            "2026-03-04",
            "2026-03-05",
            "2026-03-06",
            "2026-03-07",
            "2026-03-08",
            "2026-03-09",
            "2026-03-10",
            "2026-03-11",
        ];
        assert_eq!(kept, expected, "{written}");
    }
}

#[test]
fn the_first_of_a_period_is_kept_longer() {
    let points = daily("2026-01-01", 70);
    let first = |marker: &str| json!({ "absoluteCriteria": [marker] });
    let written = rules(
        &[],
        &[("Weekly", first("FirstOfWeek")), ("Monthly", first("FirstOfMonth"))],
        &[("Default", "P2D"), ("Weekly", "P2W"), ("Monthly", "P1Y")],
    );
    let kept = kept(BACKUP, &written, &points, "2026-03-11T11:00:00Z");
    let expected = [
        "2026-01-01",
        "2026-02-01",
        "2026-03-01",
        "2026-03-02",
        "2026-03-09",
        "2026-03-10",
        "2026-03-11",
    ];
    assert_eq!(kept, expected);
}

/// Without an archive tier a point stays in the vault for as long as both tiers were to keep it.
#[test]
fn what_was_to_be_archived_is_kept_for_both_times() {
    let points = daily("2026-01-01", 40);
    let mut written = rules(&[], &[], &[("Default", "P5D")]);
    let archive = json!({
        "deleteAfter": { "objectType": "AbsoluteDeleteOption", "duration": "P10D" },
        "sourceDataStore": { "dataStoreType": "ArchiveStore", "objectType": "DataStoreInfoBase" },
    });
    written["policyRules"][1]["lifecycles"].as_array_mut().unwrap().push(archive);
    let found = kept(BACKUP, &written, &points, "2026-02-10T11:00:00Z");
    assert_eq!((found.len(), found[0].as_str()), (15, "2026-01-26"));
}

#[test]
fn the_newest_stays_and_what_was_asked_for_counts() {
    let short = rules(&[], &[], &[("Default", "P1D")]);
    let none = json!({ "objectType": "BackupPolicy", "policyRules": [] });
    let mut points = daily("2026-01-01", 3);
    assert_eq!(kept(BACKUP, &short, &points, "2027-01-01T00:00:00Z"), ["2026-01-03"]);
    assert_eq!(kept(BACKUP, &none, &points, "2027-01-01T00:00:00Z").len(), 3, "no rule, no end");
    if let Some(first) = points.first_mut() {
        first.keep_until = Some(time("2026-06-01T00:00:00Z"));
    }
    let (until, after) = ("2026-05-31T23:59:59Z", "2026-06-01T00:00:00Z");
    assert_eq!(kept(BACKUP, &short, &points, until), ["2026-01-01", "2026-01-03"]);
    assert_eq!(kept(BACKUP, &short, &points, after), ["2026-01-03"]);
    assert_eq!(kept(BACKUP, &none, &points, after), ["2026-01-02", "2026-01-03"]);
    assert!(kept(BACKUP, &short, &[], after).is_empty());
    // A point of which the day's rule says nothing is kept as long as the shortest of them.
    let sundays = json!({ "daysOfTheWeek": ["Sunday"] });
    let weekly = rules(&[], &[("Weekly", sundays)], &[("Weekly", "P4W")]);
    let points = daily("2026-01-01", 7);
    assert_eq!(kept(BACKUP, &weekly, &points, "2026-01-28T00:00:00Z").len(), 7);
    assert_eq!(kept(BACKUP, &weekly, &points, "2026-03-01T00:00:00Z").len(), 1);
}

/// Whatever a wrong clock wrote, the newest real point stays, and so does what lies ahead.
#[test]
fn a_point_from_the_future_is_not_the_newest() {
    let week = rules(&[], &[], &[("Default", "P7D")]);
    let mut points = daily("2026-01-01", 3);
    points.extend(daily("2099-01-01", 1));
    let left = kept(BACKUP, &week, &points, "2026-12-01T00:00:00Z");
    assert_eq!(left, ["2026-01-03", "2099-01-01"]);
}
