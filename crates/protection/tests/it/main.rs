//! What policies ask for, in the shapes of both kinds of vault: when backups are due and which
//! points expire.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod retention;
mod schedule;

use custody_protection::Policy;
use custody_resources::{Record, Refusal, SystemData};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A policy of a Backup vault.
const BACKUP: &str = "Microsoft.DataProtection/backupVaults/v/backupPolicies/p";
/// One of a Recovery Services vault.
const RECOVERY_SERVICES: &str = "Microsoft.RecoveryServices/vaults/v/backupPolicies/p";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What a policy stored with these properties asks for.
fn policy(place: &str, properties: Value) -> Result<Policy, Refusal> {
    let group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g";
    let id = format!("{group}/providers/{place}").parse().unwrap();
    let mut record = Record::blank(id, SystemData::new("tester", Timestamp::UNIX_EPOCH));
    record.spec = properties;
    record.status = json!({});
    Policy::read(&record)
}

/// A workload's policy of one part.
fn workload(schedule: &Value, retention: &Value) -> Value {
    json!({
        "backupManagementType": "AzureWorkload",
        "workLoadType": "SQLDataBase",
        "settings": { "timeZone": "UTC" },
        "subProtectionPolicy": [
            { "policyType": "Full", "schedulePolicy": schedule, "retentionPolicy": retention },
        ],
    })
}

/// A Backup vault's policy with these intervals, criteria by tag, and durations by tag.
fn rules(intervals: &[&str], criteria: &[(&str, Value)], durations: &[(&str, &str)]) -> Value {
    let tagging: Vec<Value> = criteria
        .iter()
        .map(|(tag, criteria)| {
            json!({
                "isDefault": criteria.is_null(),
                "taggingPriority": 20,
                "tagInfo": { "tagName": tag },
                "criteria": if criteria.is_null() { Value::Null } else { json!([criteria]) },
            })
        })
        .collect();
    let store = json!({ "dataStoreType": "VaultStore", "objectType": "DataStoreInfoBase" });
    let mut all = vec![json!({
        "objectType": "AzureBackupRule",
        "name": "BackupDaily",
        "dataStore": store,
        "trigger": {
            "objectType": "ScheduleBasedTriggerContext",
            "schedule": { "repeatingTimeIntervals": intervals, "timeZone": "UTC" },
            "taggingCriteria": tagging,
        },
    })];
    for (tag, duration) in durations {
        all.push(json!({
            "objectType": "AzureRetentionRule",
            "name": tag,
            "isDefault": *tag == "Default",
            "lifecycles": [{
                "deleteAfter": { "objectType": "AbsoluteDeleteOption", "duration": duration },
                "sourceDataStore": store,
                "targetDataStoreCopySettings": [],
            }],
        }));
    }
    json!({ "objectType": "BackupPolicy", "datasourceTypes": ["Custody.Folder"], "policyRules": all })
}
