//! When backups are due.

use serde_json::{Value, json};

use crate::{BACKUP, RECOVERY_SERVICES, policy, rules, time, workload};

fn simple(schedule: Value) -> Value {
    let mut schedule = schedule;
    schedule["schedulePolicyType"] = "SimpleSchedulePolicy".into();
    workload(&schedule, &Value::Null)
}

/// 2026-03-01 was a Sunday.
#[test]
fn the_last_time_that_was_missed_is_due_and_no_other() {
    let daily = simple(json!({
        "scheduleRunFrequency": "Daily",
        "scheduleRunTimes": ["2021-07-07T06:30:00Z", "2021-07-07T18:00:00Z"],
    }));
    let weekly = simple(json!({
        "scheduleRunFrequency": "Weekly",
        "scheduleRunDays": ["Sunday", "Wednesday"],
        "scheduleRunTimes": ["2021-07-07T06:30:00Z"],
    }));
    let hourly = simple(json!({
        "scheduleRunFrequency": "Hourly",
        "hourlySchedule": {
            "interval": 4,
            "scheduleWindowStartTime": "2021-07-07T08:00:00Z",
            "scheduleWindowDuration": 12,
        },
    }));
    let log = workload(
        &json!({ "schedulePolicyType": "LogSchedulePolicy", "scheduleFrequencyInMins": 15 }),
        &Value::Null,
    );
    let machine = json!({
        "backupManagementType": "AzureIaasVM",
        "timeZone": "UTC",
        "schedulePolicy": {
            "schedulePolicyType": "SimpleSchedulePolicy",
            "scheduleRunFrequency": "Daily",
            "scheduleRunTimes": ["2021-07-07T06:30:00Z"],
        },
    });
    let offset = rules(&["R/2026-02-01T12:00:00+05:30/P1D"], &[], &[]);
    let weeks = rules(&["R/2026-02-01T06:30:00+00:00/P1W"], &[], &[]);
    let hours = rules(&["R/2026-02-01T02:00:00+00:00/PT4H"], &[], &[]);
    let later = rules(&["R/2027-02-01T02:00:00+00:00/PT4H"], &[], &[]);
    let none = json!({ "backupManagementType": "AzureWorkload" });
    let (rsv, dpp) = (RECOVERY_SERVICES, BACKUP);
    type Case<'c> = (&'c str, &'c Value, &'c str, &'c str, Option<&'c str>);
    let cases: [Case<'_>; 18] = [
        (rsv, &daily, "2026-03-01T06:00:00Z", "2026-03-01T06:29:59Z", None),
        (rsv, &daily, "2026-03-01T06:00:00Z", "2026-03-01T06:30:00Z", Some("2026-03-01T06:30:00Z")),
        (rsv, &daily, "2026-03-01T06:30:00Z", "2026-03-01T17:59:59Z", None),
        (rsv, &daily, "2026-02-01T06:30:00Z", "2026-03-01T17:59:59Z", Some("2026-03-01T06:30:00Z")),
        (rsv, &daily, "2026-03-01T06:30:00Z", "2026-03-02T01:00:00Z", Some("2026-03-01T18:00:00Z")),
        (rsv, &weekly, "2026-02-25T06:30:00Z", "2026-03-01T06:29:59Z", None),
        (
            rsv,
            &weekly,
            "2026-02-25T06:30:00Z",
            "2026-03-01T06:30:00Z",
            Some("2026-03-01T06:30:00Z"),
        ),
        (
            rsv,
            &weekly,
            "2026-03-01T06:30:00Z",
            "2026-03-20T00:00:00Z",
            Some("2026-03-18T06:30:00Z"),
        ),
        (
            rsv,
            &hourly,
            "2026-03-01T08:00:00Z",
            "2026-03-01T16:30:00Z",
            Some("2026-03-01T16:00:00Z"),
        ),
        (rsv, &hourly, "2026-03-01T20:00:00Z", "2026-03-02T07:59:00Z", None),
        (rsv, &log, "2026-03-01T08:00:00Z", "2026-03-01T08:31:00Z", Some("2026-03-01T08:30:00Z")),
        (
            rsv,
            &machine,
            "2026-03-01T06:00:00Z",
            "2026-03-01T07:00:00Z",
            Some("2026-03-01T06:30:00Z"),
        ),
        (rsv, &none, "2026-03-01T06:00:00Z", "2027-03-01T07:00:00Z", None),
        (dpp, &offset, "2026-03-01T06:00:00Z", "2026-03-01T06:29:59Z", None),
        (
            dpp,
            &offset,
            "2026-03-01T06:00:00Z",
            "2026-03-01T06:30:00Z",
            Some("2026-03-01T06:30:00Z"),
        ),
        (dpp, &weeks, "2026-02-22T06:30:00Z", "2026-03-02T00:00:00Z", Some("2026-03-01T06:30:00Z")),
        (dpp, &hours, "2026-03-01T02:00:00Z", "2026-03-01T11:00:00Z", Some("2026-03-01T10:00:00Z")),
        (dpp, &later, "2026-03-01T02:00:00Z", "2026-03-01T11:00:00Z", None),
    ];
    for (place, written, after, now, due) in cases {
        let schedule = policy(place, written.clone()).unwrap().schedule;
        assert_eq!(schedule.due(time(after), time(now)), due.map(time), "{written} {after} {now}");
    }
}

/// What cannot be carried out as it says is refused, never kept and not done.
#[test]
fn what_nobody_could_carry_out_is_refused() {
    let tiered = |mode: &str| {
        let mut policy = workload(&Value::Null, &Value::Null);
        policy["subProtectionPolicy"][0]["tieringPolicy"] = json!({ "ArchivedRP": { "tieringMode": mode, "duration": 3, "durationType": "Months" } });
        policy
    };
    let copies = |store: &str, target: &str| {
        let mut policy = rules(&[], &[], &[("Default", "P30D")]);
        let lifecycle = &mut policy["policyRules"][1]["lifecycles"][0];
        lifecycle["sourceDataStore"]["dataStoreType"] = store.into();
        if !target.is_empty() {
            lifecycle["targetDataStoreCopySettings"] =
                json!([{ "dataStore": { "dataStoreType": target }, "copyAfter": {} }]);
        }
        policy
    };
    let in_zone = |zone: &str| {
        let mut policy = workload(&Value::Null, &Value::Null);
        policy["settings"]["timeZone"] = zone.into();
        policy
    };
    let zoned = |zone: &str| {
        let mut policy = rules(&["R/2026-02-01T02:00:00+00:00/P1D"], &[], &[]);
        policy["policyRules"][0]["trigger"]["schedule"]["timeZone"] = zone.into();
        policy
    };
    let kept = |duration: Value| {
        let retention = json!({
            "retentionPolicyType": "SimpleRetentionPolicy",
            "retentionDuration": duration,
        });
        workload(&Value::Null, &retention)
    };
    let every = |interval: &str| rules(&[interval], &[], &[]);
    let (rsv, dpp) = (RECOVERY_SERVICES, BACKUP);
    let unsupported = "PolicyNotSupported";
    let cases: Vec<(&str, Value, &str)> = vec![
        (rsv, tiered("DoNotTier"), ""),
        (rsv, tiered("TierAfter"), "PolicyTieringNotSupported"),
        (rsv, tiered("TierRecommended"), "PolicyTieringNotSupported"),
        (dpp, copies("VaultStore", ""), ""),
        (dpp, copies("VaultStore", "ArchiveStore"), "PolicyTieringNotSupported"),
        (dpp, copies("ArchiveStore", ""), "PolicyTieringNotSupported"),
        (dpp, copies("OperationalStore", ""), unsupported),
        (rsv, in_zone("UTC"), ""),
        (rsv, in_zone("Pacific Standard Time"), "PolicyTimeZoneNotSupported"),
        (dpp, zoned("Coordinated Universal Time"), ""),
        (dpp, zoned("India Standard Time"), "PolicyTimeZoneNotSupported"),
        (rsv, kept(json!({ "count": 30, "durationType": "Days" })), ""),
        (rsv, kept(json!({ "count": 0, "durationType": "Days" })), unsupported),
        (rsv, kept(json!({ "count": 10_000, "durationType": "Days" })), unsupported),
        (rsv, kept(json!({ "count": 3, "durationType": "Fortnights" })), unsupported),
        (rsv, kept(Value::Null), unsupported),
        (rsv, simple(json!({ "scheduleRunFrequency": "Daily" })), unsupported),
        (rsv, simple(json!({ "scheduleRunFrequency": "Sometimes" })), unsupported),
        (
            rsv,
            workload(&json!({ "schedulePolicyType": "LongTermSchedulePolicy" }), &Value::Null),
            unsupported,
        ),
        (
            rsv,
            workload(
                &json!({ "schedulePolicyType": "LogSchedulePolicy", "scheduleFrequencyInMins": 5 }),
                &Value::Null,
            ),
            unsupported,
        ),
        (dpp, every("R/2026-02-01T02:00:00+00:00/P1D"), ""),
        (dpp, every("R3/2026-02-01T02:00:00+00:00/P1D"), unsupported),
        (dpp, every("R/2026-02-01T02:00:00+00:00/P1M"), unsupported),
        (dpp, every("R/2026-02-01T02:00:00+00:00/PT5M"), unsupported),
        (dpp, every("R/2026-02-01T02:00:00+00:00/-P1D"), unsupported),
        (dpp, every("R/soon/P1D"), unsupported),
        (dpp, every(""), unsupported),
        (dpp, rules(&[], &[], &[("Default", "P1M3D")]), unsupported),
        (dpp, rules(&[], &[], &[("Default", "PT4H")]), unsupported),
        (dpp, json!({ "policyRules": [{ "objectType": "Another" }] }), unsupported),
    ];
    for (place, written, code) in cases {
        let read = policy(place, written.clone());
        let found = read.err().map(|refusal| refusal.code.to_string()).unwrap_or_default();
        assert_eq!(found, code, "{written}");
    }
}
