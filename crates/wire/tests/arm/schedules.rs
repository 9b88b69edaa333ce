//! Policies carried out by themselves: backups at their times, and points that expire.

use std::time::Duration;

use serde_json::{Value, json};

use crate::protection::{KINDS, Kind, Protected, daily};

fn under_policy(kind: Kind) -> (Protected, Value) {
    let protected = Protected::new(kind, json!({}));
    let policy = protected.policy("daily", daily(kind));
    assert!(protected.protect(&policy).status < 300);
    protected.world.settle();
    (protected, policy)
}

fn hours(protected: &Protected, hours: u64) -> usize {
    protected.world.clock.advance(Duration::from_hours(hours));
    let begun = protected.world.housekeep().scheduled;
    protected.world.settle();
    begun
}

/// The clock of these worlds begins at noon; the policy runs at six in the morning.
#[test]
fn a_schedule_runs_at_its_time_once_however_late_the_clock_is_looked_at() {
    for kind in KINDS {
        let (protected, _) = under_policy(kind);
        assert_eq!(hours(&protected, 0), 0, "{kind:?}: the morning is over");
        assert_eq!(hours(&protected, 17), 0, "{kind:?}: five o'clock");
        assert_eq!(hours(&protected, 1), 1, "{kind:?}: six o'clock");
        assert_eq!(hours(&protected, 1), 0, "{kind:?}: once");
        assert_eq!(hours(&protected, 5 * 24), 1, "{kind:?}: five mornings were missed");
        assert_eq!(protected.jobs("Backup"), vec![("Completed".to_owned(), String::new()); 2]);
        assert_eq!(protected.points().len(), 2);
        let jobs = protected.world.get(&format!("{}/backupJobs", protected.vault())).body;
        let caller = &jobs["value"][0]["properties"]["caller"];
        assert_eq!(caller, "custody", "{jobs}");
    }
}

/// A new time counts from when it was set.
#[test]
fn a_changed_policy_does_not_run_for_the_past() {
    for kind in KINDS {
        let (protected, policy) = under_policy(kind);
        assert_eq!(hours(&protected, 18), 1, "{kind:?}");
        let mut earlier = daily(kind);
        let text = earlier.to_string().replace("T06:00:00", "T03:00:00");
        earlier = serde_json::from_str(&text).unwrap();
        protected.policy("daily", earlier);
        assert_eq!(hours(&protected, 1), 0, "{kind:?}: three o'clock had passed");
        assert_eq!(hours(&protected, 20), 1, "{kind:?}");
        // The same for an item that comes under another policy.
        let text = daily(kind).to_string().replace("T06:00:00", "T01:00:00");
        let other = protected.policy("other", serde_json::from_str(&text).unwrap());
        assert!(protected.protect(&other).status < 300);
        protected.world.settle();
        assert_eq!(hours(&protected, 1), 0, "{kind:?}");
        assert_ne!(policy, other);
        let left = format!("{}/backupPolicies/daily", protected.vault());
        assert_eq!(protected.world.delete(&left).status, 200, "nobody is under it any more");
        let used = format!("{}/backupPolicies/other", protected.vault());
        assert_eq!(protected.world.delete(&used).error(), (409, "PolicyInUse"));
    }
}

#[test]
fn points_expire_by_themselves_but_for_the_newest() {
    for kind in KINDS {
        let (protected, _) = under_policy(kind);
        for _ in 0..10 {
            protected.days(1);
        }
        // Of ten mornings those of the last seven days.
        assert_eq!(protected.points().len(), 7, "{kind:?}");
        assert!(!protected.jobs("Expire").is_empty());
        assert!(protected.jobs("Expire").iter().all(|(status, _)| status == "Completed"));
        assert_eq!(protected.restores(), Ok(()));
    }
}

/// `az backup protection backup-now --retain-until` outlives the policy, and ends too.
#[test]
fn a_point_is_kept_until_the_time_that_was_asked_for() {
    let (protected, _) = under_policy(Kind::RecoveryServices);
    let body = json!({ "properties": {
        "objectType": "AzureWorkloadBackupRequest",
        "recoveryPointExpiryTimeInUTC": "2026-03-21T12:00:00.000Z",
    } });
    let path = format!("{}/backup", protected.item());
    assert_eq!(protected.world.post(&path, body).status, 202);
    protected.world.settle();
    let asked_for = protected.points();
    protected.days(19);
    assert!(protected.points().contains(&asked_for[0]));
    protected.days(2);
    assert!(!protected.points().contains(&asked_for[0]));
    let wrong = json!({ "properties": { "recoveryPointExpiryTimeInUTC": "soon" } });
    assert_eq!(protected.world.post(&path, wrong).error(), (400, "InvalidRequestContent"));
}

/// Scenario 10, bettered (rules 62 to 65): without the key nothing is backed up and nothing expires;
/// each says so by a failed job with the document's code, all by one alert, and goes on when the
/// permission is back.
#[test]
fn schedules_and_expiry_fail_visibly_without_the_key_and_the_points_stay() {
    const MISSING: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    for kind in KINDS {
        let protected = Protected::under_key(kind);
        let policy = protected.policy("daily", daily(kind));
        assert!(protected.protect(&policy).status < 300);
        protected.world.settle();
        protected.days(1);
        protected.days(1);
        assert_eq!(protected.points().len(), 2, "{kind:?}");
        let permission = protected.lose_the_key();
        protected.days(8);
        let lost = vec![("Failed".to_owned(), MISSING.to_owned())];
        assert_eq!(protected.jobs("Expire"), lost, "{kind:?}");
        assert_eq!(protected.jobs("Backup")[..1], lost, "{kind:?}");
        assert_eq!(protected.points().len(), 2, "{kind:?}: no point was given up");
        let vault = protected.world.get(&protected.vault()).body;
        let alerts = vault["properties"]["keyAlerts"].as_array().unwrap();
        assert_eq!(alerts.len(), 1, "{vault}");
        assert_eq!((&alerts[0]["code"], &alerts[0]["jobs"]), (&json!(MISSING), &json!(2)));
        // It is tried again, but not by every round.
        assert_eq!(hours(&protected, 0), 0, "{kind:?}");
        assert_eq!(hours(&protected, 2), 1, "{kind:?}");
        assert_eq!(protected.jobs("Expire").len(), 2, "{kind:?}");
        protected.regain_the_key(&permission);
        protected.days(1);
        assert_eq!(protected.jobs("Expire")[0].0, "Completed", "{kind:?}");
        assert_eq!(protected.jobs("Backup")[0].0, "Completed", "{kind:?}");
        let vault = protected.world.get(&protected.vault()).body;
        assert!(vault["properties"]["keyAlerts"][0]["resolvedAt"].is_string(), "{vault}");
        protected.days(1);
        assert_eq!(protected.restores(), Ok(()));
    }
}

/// The daily policy, whose points are to be archived a day after they were taken.
fn tiered(kind: Kind) -> Value {
    let mut policy = daily(kind);
    match kind {
        Kind::RecoveryServices => {
            policy["subProtectionPolicy"][0]["tieringPolicy"] = json!({ "ArchivedRP": {
                "tieringMode": "TierAfter", "duration": 1, "durationType": "Days",
            } });
        }
        Kind::Backup => {
            policy["policyRules"][1]["lifecycles"][0]["targetDataStoreCopySettings"] = json!([{
                "dataStore": { "dataStoreType": "ArchiveStore", "objectType": "DataStoreInfoBase" },
                "copyAfter": { "objectType": "CustomCopyOption", "duration": "P1D" },
            }]);
        }
    }
    policy
}

/// There is no archive tier yet (rules 62 to 64, bettered): the job that is to move points there says
/// of each that it stays, and without the key it fails as visibly as all others.
#[test]
fn tiering_says_that_points_stay_and_fails_visibly_without_the_key() {
    const MISSING: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    for kind in KINDS {
        let protected = Protected::under_key(kind);
        let policy = protected.policy("tiered", tiered(kind));
        assert!(protected.protect(&policy).status < 300);
        protected.world.settle();
        protected.days(1);
        assert_eq!(protected.jobs("Tiering"), [], "{kind:?}: nothing is old enough");
        protected.days(1);
        let stay = ("CompletedWithWarnings".to_owned(), String::new());
        assert_eq!(protected.jobs("Tiering"), vec![stay.clone()], "{kind:?}");
        let jobs = protected.world.get(&format!("{}/backupJobs", protected.vault())).body;
        let jobs = jobs["value"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["properties"]["operation"] == "Tiering").unwrap();
        let points = protected.points();
        assert_eq!(points.len(), 2, "{kind:?}");
        let staying = job["properties"]["result"]["staying"].as_array().unwrap();
        assert_eq!(staying.len(), 1, "{job}");
        assert!(points.iter().any(|point| staying[0] == **point), "{job} {points:?}");
        let path = job["id"].as_str().unwrap().replace(&protected.world.subscription, "S");
        let shown = protected.world.get(&path).body;
        assert_eq!(shown["properties"]["warnings"][0]["code"], "ArchiveTierAbsent", "{shown}");
        assert_eq!(hours(&protected, 2), 0, "{kind:?}: once a day");

        let permission = protected.lose_the_key();
        protected.days(1);
        let lost = ("Failed".to_owned(), MISSING.to_owned());
        assert_eq!(protected.jobs("Tiering"), [lost.clone(), stay.clone()], "{kind:?}");
        assert_eq!(protected.jobs("Backup")[0], lost, "{kind:?}");
        let vault = protected.world.get(&protected.vault()).body;
        let alerts = vault["properties"]["keyAlerts"].as_array().unwrap();
        assert_eq!((alerts.len(), &alerts[0]["code"]), (1, &json!(MISSING)), "{vault}");
        assert_eq!(protected.points(), points, "{kind:?}: no point went");

        protected.regain_the_key(&permission);
        protected.days(1);
        assert_eq!(protected.jobs("Tiering")[0], stay, "{kind:?}");
        let vault = protected.world.get(&protected.vault()).body;
        assert!(vault["properties"]["keyAlerts"][0]["resolvedAt"].is_string(), "{vault}");
        assert_eq!(protected.restores(), Ok(()), "{kind:?}");
    }
}

/// A vault gives the space of points that went back by itself: once a day, when points went, and
/// visibly not without its key.
#[test]
fn a_vault_is_pruned_by_itself_after_points_went() {
    const MISSING: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    for kind in KINDS {
        let protected = Protected::under_key(kind);
        let policy = protected.policy("daily", daily(kind));
        assert!(protected.protect(&policy).status < 300);
        protected.world.settle();
        for _ in 0..7 {
            protected.days(1);
        }
        assert_eq!(protected.jobs("Prune"), [], "{kind:?}: nothing went");
        // A backup of the same morning goes first, and the next look is an hour later.
        protected.days(1);
        assert_eq!(protected.jobs("Expire").len(), 1, "{kind:?}");
        assert_eq!(protected.jobs("Prune"), [], "{kind:?}");
        hours(&protected, 1);
        let done = ("Completed".to_owned(), String::new());
        assert_eq!(protected.jobs("Prune"), vec![done.clone()], "{kind:?}");
        for _ in 0..3 {
            hours(&protected, 2);
        }
        assert_eq!(protected.jobs("Prune").len(), 1, "{kind:?}: nothing went since");

        protected.days(1);
        assert_eq!(protected.jobs("Expire").len(), 2, "{kind:?}");
        let permission = protected.lose_the_key();
        hours(&protected, 2);
        let lost = ("Failed".to_owned(), MISSING.to_owned());
        assert_eq!(protected.jobs("Prune"), [lost.clone(), done.clone()], "{kind:?}");
        let vault = protected.world.get(&protected.vault()).body;
        let alerts = vault["properties"]["keyAlerts"].as_array().unwrap();
        assert_eq!((alerts.len(), &alerts[0]["code"]), (1, &json!(MISSING)), "{vault}");
        hours(&protected, 2);
        assert_eq!(protected.jobs("Prune").len(), 2, "{kind:?}: it is not tried by every round");
        protected.regain_the_key(&permission);
        protected.days(1);
        hours(&protected, 1);
        assert_eq!(protected.jobs("Prune"), [done.clone(), lost, done], "{kind:?}");
        assert_eq!(protected.restores(), Ok(()), "{kind:?}");
    }
}

/// `az dataprotection backup-instance adhoc-backup --retention-tag-override`: the point is kept as the
/// rule of that name says.
#[test]
fn an_ad_hoc_backup_chooses_its_retention_by_name() {
    let protected = Protected::new(Kind::Backup, json!({}));
    let mut rules = daily(Kind::Backup);
    let mut weekly = rules["policyRules"][1].clone();
    weekly["name"] = "Weekly".into();
    weekly["isDefault"] = false.into();
    weekly["lifecycles"][0]["deleteAfter"]["duration"] = "P3W".into();
    rules["policyRules"].as_array_mut().unwrap().push(weekly);
    let criteria = json!([{
        "isDefault": false, "taggingPriority": 20, "tagInfo": { "tagName": "Weekly" },
        "criteria": [{ "daysOfTheWeek": ["Sunday"], "monthsOfYear": ["January"] }],
    }]);
    rules["policyRules"][0]["trigger"]["taggingCriteria"] = criteria;
    let policy = protected.policy("tagged", rules);
    let asked = |tag: &str| {
        let body = json!({ "backupRuleOptions": {
            "ruleName": "Daily", "triggerOption": { "retentionTagOverride": tag },
        } });
        let answer = protected.world.post(&format!("{}/backup", protected.item()), body);
        protected.world.settle();
        answer
    };
    assert_eq!(asked("Weekly").error(), (400, "PolicyRetentionTagNotFound"), "no policy yet");
    assert!(protected.protect(&policy).status < 300);
    protected.world.settle();
    assert_eq!(asked("Monthly").error(), (400, "PolicyRetentionTagNotFound"));
    assert_eq!(asked("Weekly").status, 202);
    let kept = protected.points();
    assert_eq!(kept.len(), 1);
    protected.days(20);
    assert!(protected.points().contains(&kept[0]));
    protected.days(2);
    assert!(!protected.points().contains(&kept[0]));
}
