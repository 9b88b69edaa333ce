//! Rules 83 and 84: what is done with items is the same whatever the vault's key, for every type of
//! item: the same requests get the same answers.

use http::Method;
use serde_json::{Value, json};

use crate::protection::{KINDS, Kind, Protected, daily};

/// An answer with what differs from run to run taken out of it.
fn leveled(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_ids(text),
        Value::Array(all) => all.iter_mut().for_each(leveled),
        Value::Object(all) => {
            // Files are written at the machine's time, all else is of the clock that stands still.
            for (name, one) in all.iter_mut() {
                if name == "modified" {
                    *one = Value::Null;
                }
                leveled(one);
            }
        }
        _ => {}
    }
}

/// Identifiers are GUIDs or hexadecimal digests, folders of the test the only paths.
fn without_ids(text: &str) -> String {
    let of_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let words = text.split_inclusive(|c: char| !of_id(c));
    let leveled = words.map(|word| {
        let id = word.trim_end_matches(|c: char| !of_id(c));
        if id.len() >= 32 { word.replace(id, "<ID>") } else { word.to_owned() }
    });
    let text: String = leveled.collect();
    match text.find("/.tmp") {
        Some(at) => text[..at].to_owned() + "<FOLDER>",
        None => text,
    }
}

/// One life of an item, from its policy to its end: each answer's status and body.
fn life(protected: &Protected, item_type: &str) -> Vec<(u16, Value)> {
    let world = &protected.world;
    let policy = protected.policy("daily", daily(protected.kind));
    let mut properties = policy.clone();
    properties["protectedItemType"] = item_type.into();
    properties["workloadType"] = "SQLDataBase".into();
    properties["folder"] = json!({ "paths": [protected.folders.path().join("documents")] });
    let (vault, item) = (protected.vault(), protected.item());
    let at = |place: &str, verb: &str| format!("{place}/{verb}");
    let target = protected.folders.path().join("back");
    let restore = json!({ "target": target, "point": "latest" });
    let steps = [
        (Method::PUT, item.clone(), Some(json!({ "properties": properties }))),
        (Method::GET, item.clone(), None),
        (Method::POST, at(&item, "scan"), Some(json!({}))),
        (Method::POST, at(&item, "backup"), Some(json!({}))),
        (Method::GET, item.clone(), None),
        (Method::GET, at(&item, "recoveryPoints"), None),
        (Method::POST, at(&item, "browse"), Some(json!({ "point": "latest" }))),
        (Method::POST, at(&item, "restore"), Some(restore)),
        (Method::POST, at(&item, "restore"), Some(json!({}))),
        (Method::POST, at(&item, "forget"), Some(json!({ "keepLast": 1, "dryRun": true }))),
        (Method::POST, at(&vault, "verify"), Some(json!({ "readData": true }))),
        (Method::POST, at(&vault, "prune"), Some(json!({}))),
        (Method::GET, at(&vault, "backupPolicies"), None),
        (Method::DELETE, vault.clone(), None),
        (Method::DELETE, item.clone(), None),
        (Method::GET, item.clone(), None),
        (Method::POST, at(&item, "backup"), Some(json!({}))),
    ];
    let mut answers = Vec::new();
    for (method, path, body) in steps {
        let mut answer = world.send(method, &path, body);
        world.settle();
        leveled(&mut answer.body);
        answers.push((answer.status, answer.body));
    }
    let mut jobs = world.get(&at(&vault, "backupJobs")).body;
    let all = jobs["value"].as_array_mut().unwrap();
    all.retain(|job| job["properties"]["operation"] != "UpdateEncryptionSettings");
    // The clock stands still: jobs of one moment have no order.
    all.sort_by_key(|job| job["properties"]["operation"].to_string());
    leveled(&mut jobs);
    for job in jobs["value"].as_array_mut().unwrap() {
        if job["properties"]["operation"] == "Verify" {
            // The keyring is proven too, and wraps under another key are of another length.
            job["properties"]["result"]["bytes"] = Value::Null;
            job["properties"]["progress"]["bytesDone"] = Value::Null;
        }
    }
    answers.extend(jobs["value"].as_array().unwrap().iter().map(|job| (200, job.clone())));
    answers
}

#[test]
fn requests_get_the_same_answers_whatever_the_key() {
    for kind in KINDS {
        let types: &[&str] = match kind {
            Kind::Backup => &["-"],
            Kind::RecoveryServices => &[
                "AzureVmWorkloadSQLDatabase",
                "AzureVmWorkloadSQLInstance",
                "AzureVmWorkloadSAPHanaDatabase",
                "AzureVmWorkloadSAPAseDatabase",
                "GenericProtectedItem",
            ],
        };
        for item_type in types {
            let of_platform = life(&Protected::new(kind, json!({})), item_type);
            let of_customer = life(&Protected::under_key(kind), item_type);
            let begun = of_platform.iter().filter(|(status, _)| *status == 202).count();
            assert!(begun >= 4, "{kind:?} {item_type}: {of_platform:?}");
            for (step, (one, other)) in of_platform.iter().zip(&of_customer).enumerate() {
                assert_eq!(one, other, "{kind:?} {item_type}, step {step}");
            }
        }
    }
}
