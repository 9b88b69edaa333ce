//! When backups are due.

use custody_protection::Aging;
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

/// Points that are to lie in an archive tier by their age.
fn check_tiering(place: &str, written: &Value, now: &str, due: &[&str]) {
    let points: Vec<Aging> = ["2026-01-01", "2026-01-15", "2026-02-01", "2026-02-15", "2026-03-01"]
        .iter()
        .map(|day| Aging {
            id: (*day).to_owned(),
            taken: time(&format!("{day}T06:00:00Z")),
            keep_until: None,
        })
        .collect();
    let tiering = policy(place, written.clone()).unwrap().tiering;
    assert_eq!(tiering.due(&points, time(now)), due, "{written} at {now}");
}

#[test]
fn points_are_to_be_archived_at_their_age() {
    let now = "2026-03-02T00:00:00Z";
    let with = |tier: Value| {
        let mut written = workload(&Value::Null, &Value::Null);
        written["subProtectionPolicy"][0]["tieringPolicy"] = json!({ "ArchivedRP": tier });
        written
    };
    let after = |count: i32, unit: &str| {
        with(json!({ "tieringMode": "TierAfter", "duration": count, "durationType": unit }))
    };
    let recommended =
        with(json!({ "tieringMode": "TierRecommended", "duration": 0, "durationType": "Invalid" }));
    for (written, now, due) in [
        (with(json!({ "tieringMode": "DoNotTier", "duration": 0 })), now, &[][..]),
        (workload(&Value::Null, &Value::Null), now, &[]),
        (after(45, "Days"), now, &["2026-01-01", "2026-01-15"]),
        (after(1, "Months"), now, &["2026-01-01", "2026-01-15", "2026-02-01"]),
        (recommended.clone(), "2026-04-01T05:59:59Z", &[]),
        (recommended, "2026-04-01T06:00:00Z", &["2026-01-01"]),
    ] {
        check_tiering(RECOVERY_SERVICES, &written, now, due);
    }
    let copying = |tag: &str, copy_after: Value| {
        let first_of_month = json!({ "absoluteCriteria": ["FirstOfMonth"] });
        let tags: &[(&str, Value)] = &[("Monthly", first_of_month)];
        let mut written = rules(&["R/2026-01-01T06:00:00Z/P1D"], tags, &[(tag, "P30D")]);
        written["policyRules"][1]["lifecycles"][0]["targetDataStoreCopySettings"] =
            json!([{ "dataStore": { "dataStoreType": "ArchiveStore" }, "copyAfter": copy_after }]);
        written
    };
    let custom = json!({ "objectType": "CustomCopyOption", "duration": "P20D" });
    let expiry = json!({ "objectType": "CopyOnExpiryOption" });
    let at_once = json!({ "objectType": "ImmediateCopyOption" });
    for (written, due) in [
        (copying("Default", custom.clone()), &["2026-01-01", "2026-01-15", "2026-02-01"][..]),
        (copying("Monthly", custom), &["2026-01-01", "2026-02-01"]),
        (copying("Default", expiry), &["2026-01-01", "2026-01-15"]),
        (copying("Monthly", at_once), &["2026-01-01", "2026-02-01", "2026-03-01"]),
    ] {
        check_tiering(BACKUP, &written, "2026-03-02T00:00:00Z", due);
    }
}

#[test]
fn tiering_that_cannot_be_read_and_other_stores_are_refused() {
    for (tier, code) in [
        (json!({ "tieringMode": "TierAfter", "duration": 3, "durationType": "Months" }), ""),
        (json!({ "tieringMode": "TierAfter" }), "PolicyNotSupported"),
        (json!({ "tieringMode": "TierBefore", "duration": 3 }), "PolicyNotSupported"),
    ] {
        let mut written = workload(&Value::Null, &Value::Null);
        written["subProtectionPolicy"][0]["tieringPolicy"] = json!({ "ArchivedRP": tier });
        refused(RECOVERY_SERVICES, &written, code);
    }
    for (store, target, code) in [
        ("VaultStore", "", ""),
        ("VaultStore", "ArchiveStore", ""),
        ("VaultStore", "OperationalStore", "PolicyNotSupported"),
        // It says nothing of how long points stay where they are taken to.
        ("ArchiveStore", "", "PolicyNotSupported"),
        ("OperationalStore", "", "PolicyNotSupported"),
    ] {
        let mut written = rules(&[], &[], &[("Default", "P30D")]);
        let lifecycle = &mut written["policyRules"][1]["lifecycles"][0];
        lifecycle["sourceDataStore"]["dataStoreType"] = store.into();
        if !target.is_empty() {
            lifecycle["targetDataStoreCopySettings"] = json!([{
                "dataStore": { "dataStoreType": target },
                "copyAfter": { "objectType": "CopyOnExpiryOption" },
            }]);
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
    for (times, code) in [(json!([]), ""), (json!(["2026-01-01T06:00:00Z"]), "PolicyNotSupported")]
    {
        let criteria = json!({ "absoluteCriteria": ["FirstOfDay"], "scheduleTimes": times });
        let written = rules(&[], &[("Default", criteria)], &[("Default", "P7D")]);
        refused(BACKUP, &written, code);
    }
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
