//! When backups are due.

use serde_json::{Value, json};

use crate::{BACKUP, RECOVERY_SERVICES, policy, rules, time, workload};

fn simple(mut schedule: Value) -> Value {
    schedule["schedulePolicyType"] = "SimpleSchedulePolicy".into();
    workload(&schedule, &Value::Null)
}

fn log(minutes: u32) -> Value {
    let schedule =
        json!({ "schedulePolicyType": "LogSchedulePolicy", "scheduleFrequencyInMins": minutes });
    workload(&schedule, &Value::Null)
}

fn every(interval: &str) -> Value {
    rules(&[interval], &[], &[])
}

/// What is due after the second and at the third of these.
fn check(place: &str, written: &Value, cases: &[(&str, &str, Option<&str>)]) {
    let schedule = policy(place, written.clone()).unwrap().schedule;
    for (after, now, due) in cases {
        let found = schedule.due(time(after), time(now));
        assert_eq!(found, due.map(time), "{written}: after {after} at {now}");
    }
}

/// 2026-03-01 was a Sunday.
#[test]
fn the_last_time_that_was_missed_is_due_and_no_other() {
    let check = |written: &Value, cases: &[_]| check(RECOVERY_SERVICES, written, cases);
    let daily = simple(json!({
        "scheduleRunFrequency": "Daily",
        "scheduleRunTimes": ["2021-07-07T06:30:00Z", "2021-07-07T18:00:00Z"],
    }));
    let (morning, evening) = ("2026-03-01T06:30:00Z", "2026-03-01T18:00:00Z");
    check(
        &daily,
        &[
            ("2026-03-01T06:00:00Z", "2026-03-01T06:29:59Z", None),
            ("2026-03-01T06:00:00Z", morning, Some(morning)),
            (morning, "2026-03-01T17:59:59Z", None),
            ("2026-02-01T06:30:00Z", "2026-03-01T17:59:59Z", Some(morning)),
            (morning, "2026-03-02T01:00:00Z", Some(evening)),
        ],
    );
    let weekly = simple(json!({
        "scheduleRunFrequency": "Weekly",
        "scheduleRunDays": ["Sunday", "Wednesday"],
        "scheduleRunTimes": ["2021-07-07T06:30:00Z"],
    }));
    check(
        &weekly,
        &[
            ("2026-02-25T06:30:00Z", "2026-03-01T06:29:59Z", None),
            ("2026-02-25T06:30:00Z", morning, Some(morning)),
            (morning, "2026-03-20T00:00:00Z", Some("2026-03-18T06:30:00Z")),
        ],
    );
    let hourly = simple(json!({
        "scheduleRunFrequency": "Hourly",
        "hourlySchedule": {
            "interval": 4,
            "scheduleWindowStartTime": "2021-07-07T08:00:00Z",
            "scheduleWindowDuration": 12,
        },
    }));
    check(
        &hourly,
        &[
            ("2026-03-01T08:00:00Z", "2026-03-01T16:30:00Z", Some("2026-03-01T16:00:00Z")),
            ("2026-03-01T20:00:00Z", "2026-03-02T07:59:00Z", None),
        ],
    );
    let half_past = "2026-03-01T08:30:00Z";
    check(&log(15), &[("2026-03-01T08:00:00Z", "2026-03-01T08:31:00Z", Some(half_past))]);
}

/// Policies of something else than workloads have their one part in themselves.
#[test]
fn a_policy_of_machines_and_one_without_schedule() {
    let machine = json!({
        "backupManagementType": "AzureIaasVM",
        "timeZone": "UTC",
        "schedulePolicy": {
            "schedulePolicyType": "SimpleSchedulePolicy",
            "scheduleRunFrequency": "Daily",
            "scheduleRunTimes": ["2021-07-07T06:30:00Z"],
        },
    });
    let due = Some("2026-03-01T06:30:00Z");
    let (before, after) = ("2026-03-01T06:00:00Z", "2026-03-01T07:00:00Z");
    check(RECOVERY_SERVICES, &machine, &[(before, after, due)]);
    let none = json!({ "backupManagementType": "AzureWorkload" });
    check(RECOVERY_SERVICES, &none, &[(before, "2027-03-01T07:00:00Z", None)]);
}

#[test]
fn intervals_repeat_from_their_start_on() {
    let (before, morning) = ("2026-03-01T06:00:00Z", "2026-03-01T06:30:00Z");
    let offset = every("R/2026-02-01T12:00:00+05:30/P1D");
    check(
        BACKUP,
        &offset,
        &[(before, "2026-03-01T06:29:59Z", None), (before, morning, Some(morning))],
    );
    let weeks = every("R/2026-02-01T06:30:00+00:00/P1W");
    check(BACKUP, &weeks, &[("2026-02-22T06:30:00Z", "2026-03-02T00:00:00Z", Some(morning))]);
    let hours = every("R/2026-02-01T02:00:00+00:00/PT4H");
    let ten = Some("2026-03-01T10:00:00Z");
    check(BACKUP, &hours, &[("2026-03-01T02:00:00Z", "2026-03-01T11:00:00Z", ten)]);
    let later = every("R/2027-02-01T02:00:00+00:00/PT4H");
    check(BACKUP, &later, &[("2026-03-01T02:00:00Z", "2026-03-01T11:00:00Z", None)]);
}

/// What cannot be carried out as it says is refused, never kept and not done.
fn refused(place: &str, written: &Value, code: &str) {
    let read = policy(place, written.clone());
    let found = read.err().map(|refusal| refusal.code.to_string()).unwrap_or_default();
    assert_eq!(found, code, "{written}");
}

/// There is no archive tier: rule 64 is about what fails in silence there.
#[test]
fn tiering_and_other_stores_are_refused() {
    for (mode, code) in [
        ("DoNotTier", ""),
        ("TierAfter", "PolicyTieringNotSupported"),
        ("TierRecommended", "PolicyTieringNotSupported"),
    ] {
        let mut written = workload(&Value::Null, &Value::Null);
        written["subProtectionPolicy"][0]["tieringPolicy"] = json!({ "ArchivedRP": { "tieringMode": mode, "duration": 3, "durationType": "Months" } });
        refused(RECOVERY_SERVICES, &written, code);
    }
    for (store, target, code) in [
        ("VaultStore", "", ""),
        ("VaultStore", "ArchiveStore", "PolicyTieringNotSupported"),
        ("ArchiveStore", "", "PolicyTieringNotSupported"),
        ("OperationalStore", "", "PolicyNotSupported"),
    ] {
        let mut written = rules(&[], &[], &[("Default", "P30D")]);
        let lifecycle = &mut written["policyRules"][1]["lifecycles"][0];
        lifecycle["sourceDataStore"]["dataStoreType"] = store.into();
        if !target.is_empty() {
            lifecycle["targetDataStoreCopySettings"] =
                json!([{ "dataStore": { "dataStoreType": target }, "copyAfter": {} }]);
        }
        refused(BACKUP, &written, code);
    }
}

#[test]
fn schedules_that_nobody_could_keep_are_refused() {
    let zone = "PolicyTimeZoneNotSupported";
    for (name, code) in [("UTC", ""), ("Pacific Standard Time", zone)] {
        let mut written = workload(&Value::Null, &Value::Null);
        written["settings"]["timeZone"] = name.into();
        refused(RECOVERY_SERVICES, &written, code);
    }
    for (name, code) in [("Coordinated Universal Time", ""), ("India Standard Time", zone)] {
        let mut written = every("R/2026-02-01T02:00:00+00:00/P1D");
        written["policyRules"][0]["trigger"]["schedule"]["timeZone"] = name.into();
        refused(BACKUP, &written, code);
    }
    let unknown = json!({ "schedulePolicyType": "LongTermSchedulePolicy" });
    let weeks = json!({
        "scheduleRunFrequency": "Weekly",
        "scheduleRunDays": ["Sunday"],
        "scheduleRunTimes": ["2021-07-07T06:30:00Z"],
        "scheduleWeeklyFrequency": 2,
    });
    for written in [
        simple(json!({ "scheduleRunFrequency": "Daily" })),
        simple(json!({ "scheduleRunFrequency": "Sometimes" })),
        simple(weeks),
        workload(&unknown, &Value::Null),
        log(5),
    ] {
        refused(RECOVERY_SERVICES, &written, "PolicyNotSupported");
    }
    for interval in [
        "R3/2026-02-01T02:00:00+00:00/P1D",
        "R/2026-02-01T02:00:00+00:00/P1M",
        "R/2026-02-01T02:00:00+00:00/PT5M",
        "R/2026-02-01T02:00:00+00:00/-P1D",
        "R/soon/P1D",
        "",
    ] {
        refused(BACKUP, &every(interval), "PolicyNotSupported");
    }
    refused(BACKUP, &json!({ "policyRules": [{ "objectType": "Another" }] }), "PolicyNotSupported");
}

#[test]
fn retentions_that_say_no_length_are_refused() {
    for (duration, code) in [
        (json!({ "count": 30, "durationType": "Days" }), ""),
        (json!({ "count": 0, "durationType": "Days" }), "PolicyNotSupported"),
        (json!({ "count": 10_000, "durationType": "Days" }), "PolicyNotSupported"),
        (json!({ "count": 3, "durationType": "Fortnights" }), "PolicyNotSupported"),
        (Value::Null, "PolicyNotSupported"),
    ] {
        let retention = json!({
            "retentionPolicyType": "SimpleRetentionPolicy",
            "retentionDuration": duration,
        });
        refused(RECOVERY_SERVICES, &workload(&Value::Null, &retention), code);
    }
    for duration in ["P1M3D", "PT4H", "P0D", "-P3D"] {
        let written = rules(&[], &[], &[("Default", duration)]);
        refused(BACKUP, &written, "PolicyNotSupported");
    }
}
