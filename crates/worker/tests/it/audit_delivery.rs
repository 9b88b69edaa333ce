//! Audit records reach the destinations that diagnostic settings name.

use std::cell::Cell;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_key_vault::KeyOperation;
use custody_names::{CorrelationId, KeyName, KeyVaultName, ResourceId};
use custody_resources::{Hosts, Verb};
use custody_worker::{Cause, Courier, PostOffice, principal_of};
use serde_json::{Value, json};

use crate::receiver::{Receiver, post_office, round};
use crate::site::Site;

pub(crate) const HOOK: &str = "https://siem.example/in";

/// A site with a key vault whose records go to destinations of each sort.
pub(crate) fn audited(syslog: &str) -> (Site, KeyVaultName) {
    let site = Site::new();
    let name: KeyVaultName = "audited-kv".parse().unwrap();
    let vault = site.key_vault("audited-kv");
    let location = &site.platform.installation.location;
    let destination = |name: &str, properties: Value| {
        let id = site.id(&format!("Custody.Audit/destinations/{name}"));
        site.put(&id, json!({ "location": location, "properties": properties }));
        id
    };
    let file = destination("file", json!({ "destinationType": "File" }));
    let hook = json!({ "destinationType": "Webhook", "address": HOOK });
    let hook = destination("hook", hook);
    let log = json!({ "destinationType": "Syslog", "address": format!("unix:{syslog}") });
    let log = destination("log", log);
    let setting = format!("{vault}/providers/Microsoft.Insights/diagnosticSettings/all");
    site.put(
        &setting.parse().unwrap(),
        json!({ "properties": {
            "logs": [{ "category": "AuditEvent", "enabled": true }],
            "storageAccountId": file,
            "workspaceId": log,
            "eventHubAuthorizationRuleId": hook,
        } }),
    );
    (site, name)
}

/// Asks for a key that is not there: an audited request all the same.
pub(crate) fn ask(site: &Site, vault: &KeyVaultName) {
    let key: KeyName = "absent".parse().unwrap();
    let facts = site.platform.key_vault(vault, Some(&key)).unwrap().unwrap();
    let cause = Cause::of(CorrelationId::mint(site.platform.entropy.as_ref()).unwrap());
    let caller = principal_of(&site.platform.administrator());
    let asked = KeyOperation::Get { name: &key, version: None };
    assert!(site.platform.ask_key_vault(&caller, &facts, &asked, cause).is_err());
}

#[test]
fn each_destination_gets_each_record_once_while_all_goes_well() {
    let sockets = tempfile::tempdir().unwrap();
    let address = sockets.path().join("log");
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (site, vault) = audited(address.to_str().unwrap());
    let receiver = Receiver::willing();
    let post_office = post_office(&site, &receiver);
    ask(&site, &vault);
    ask(&site, &vault);
    round(&post_office);
    round(&post_office);

    let file = fs::read_to_string(site.folder.path().join("data/audit/file.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{file}");
    for line in &lines {
        assert_eq!(line["category"], "AuditEvent");
        assert_eq!(line["operationName"], "KeyGet");
        assert!(line["resourceId"].as_str().unwrap().ends_with("/VAULTS/AUDITED-KV"), "{line}");
    }
    let posts = receiver.taken(HOOK);
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].body, Value::from(lines.clone()));
    assert_eq!(posts[0].header("content-type"), "application/json");
    let mut message = [0; 4_096];
    let messages = Cell::new(0);
    while let Ok(length) = socket.recv(&mut message) {
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(
            text.starts_with("<109>1 2026-11-22T06:00:00Z - custody - AuditEvent - {"),
            "{text}"
        );
        messages.set(messages.get() + 1);
    }
    assert_eq!(messages.get(), 2);
}

#[test]
fn a_destination_that_was_down_gets_what_it_missed() {
    let (site, vault) = audited("/nowhere/log");
    let receiver = Receiver::willing();
    let post_office = post_office(&site, &receiver);
    receiver.refuse("503 Service Unavailable");
    ask(&site, &vault);
    round(&post_office);
    let deliveries = site.platform.deliveries().unwrap();
    let problem = |name: &str| {
        let (_, delivery) = deliveries.iter().find(|(id, _)| id.ends_with(name)).unwrap();
        delivery.problem.clone()
    };
    assert_eq!(problem("/hook").as_deref(), Some("503 Service Unavailable"));
    assert!(problem("/log").unwrap().contains("/nowhere/log"));
    assert_eq!(problem("/file"), None);

    ask(&site, &vault);
    receiver.accept();
    round(&post_office);
    assert_eq!(receiver.tries(HOOK), 1, "it is left in peace for a second");
    site.clock.advance(Duration::from_secs(1));
    round(&post_office);
    let posts = receiver.taken(HOOK);
    assert_eq!(posts.iter().map(|post| post.body.as_array().unwrap().len()).sum::<usize>(), 2);
}

/// Lets nobody but `elsewhere` have an answer before the test says so.
struct Slow {
    began: Mutex<mpsc::Sender<String>>,
    goes_on: Mutex<mpsc::Receiver<()>>,
    host: &'static str,
}

impl Courier for Slow {
    fn post(&self, url: &str, _: &[(&str, &str)], _: &[u8]) -> Result<Vec<u8>, String> {
        self.began.lock().unwrap().send(url.to_owned()).unwrap();
        if url.contains(self.host) {
            // It goes on as well when nobody can tell it to any more.
            let _ = self.goes_on.lock().unwrap().recv();
        }
        Ok(Vec::new())
    }

    fn ask_leave(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_slow_receiver_delays_neither_the_others_nor_whoever_asked_for_the_round() {
    let (site, vault) = audited("/nowhere/log");
    let location = &site.platform.installation.location;
    let other = site.id("Custody.Audit/destinations/other");
    let properties = json!({ "destinationType": "Webhook", "address": "https://quick.example/" });
    site.put(&other, json!({ "location": location, "properties": properties }));
    let setting = format!(
        "{}/providers/Microsoft.Insights/diagnosticSettings/other",
        site.id("Microsoft.KeyVault/vaults/audited-kv")
    );
    let logs = json!([{ "category": "AuditEvent", "enabled": true }]);
    let body = json!({ "properties": { "logs": logs, "workspaceId": other } });
    site.put(&setting.parse().unwrap(), body);
    let (began, posts) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let slow =
        Slow { began: Mutex::new(began), goes_on: Mutex::new(goes_on), host: "siem.example" };
    let platform = Arc::clone(&site.platform);
    let post_office = PostOffice::new(platform, Arc::new(slow), Hosts::default());
    ask(&site, &vault);
    // Neither this round nor the next waits for the slow one, which nobody has answered yet.
    assert!(post_office.round().is_empty());
    let mut first: Vec<String> = (0..2).map(|_| posts.recv().unwrap()).collect();
    first.sort_unstable();
    assert_eq!(first, ["https://quick.example/", HOOK]);
    ask(&site, &vault);
    while site.platform.deliveries().unwrap()[&other.to_string()].sequence == 0 {
        std::thread::yield_now();
    }
    assert!(site.platform.housekeep().problems.is_empty());
    let next = loop {
        assert!(post_office.round().is_empty());
        if let Ok(next) = posts.try_recv() {
            break next;
        }
    };
    assert_eq!(next, "https://quick.example/", "the slow one is still at its first post");
    go_on.send(()).unwrap();
    drop(go_on);
    post_office.finish();
}

#[test]
fn of_several_processes_one_sends() {
    let (site, vault) = audited("/nowhere/log");
    let (receiver, spare) = (Receiver::willing(), Receiver::willing());
    let office = post_office(&site, &receiver);
    round(&office);
    let other = PostOffice::new(site.again(), spare.clone(), Hosts::default());
    ask(&site, &vault);
    round(&other);
    assert_eq!(spare.tries(HOOK), 0);
    drop(office);
    round(&other);
    assert_eq!((receiver.tries(HOOK), spare.tries(HOOK)), (0, 1));
}

#[test]
fn what_would_never_be_sent_is_refused() {
    let (site, _) = audited("/nowhere/log");
    let file = site.id("Custody.Audit/destinations/file");
    let setting = site.id(
        "Microsoft.KeyVault/vaults/audited-kv/providers/Microsoft.Insights/diagnosticSettings/two",
    );
    let status = |log: Value| {
        let body = json!({ "properties": { "logs": [log], "workspaceId": file } });
        site.ask(&setting, Verb::Put, body).map(drop).map_err(|refusal| refusal.status)
    };
    assert_eq!(status(json!({ "category": "auditevent", "enabled": true })), Ok(()));
    assert_eq!(status(json!({ "categoryGroup": "allLogs", "enabled": true })), Ok(()));
    for wrong in [
        json!({ "category": "AzurePolicyEvaluationDetails", "enabled": true }),
        json!({ "category": "AuditEvents", "enabled": false }),
        json!({ "categoryGroup": "everything", "enabled": true }),
        json!({ "category": "AuditEvent", "categoryGroup": "audit", "enabled": true }),
        json!({ "enabled": true }),
    ] {
        assert_eq!(status(wrong.clone()), Err(400), "{wrong}");
    }
}

#[test]
fn a_destination_in_use_stays() {
    let (site, _) = audited("/nowhere/log");
    let file = site.id("Custody.Audit/destinations/file");
    let refused = site.delete(&file).unwrap_err();
    assert_eq!((refused.status, refused.code.as_ref()), (409, "AuditDestinationInUse"));
    let setting = site.id(
        "Microsoft.KeyVault/vaults/audited-kv/providers/Microsoft.Insights/diagnosticSettings/all",
    );
    site.delete(&setting).unwrap();
    site.delete(&file).unwrap();
}

/// The setting that [`audited`] makes.
const SETTING: &str =
    "Microsoft.KeyVault/vaults/audited-kv/providers/Microsoft.Insights/diagnosticSettings/all";

/// How many records the webhook has.
fn records_at_hook(receiver: &Receiver) -> usize {
    receiver.taken(HOOK).iter().map(|post| post.body.as_array().unwrap().len()).sum()
}

#[test]
fn what_was_not_sent_yet_is_sent_when_its_routing_is_gone() {
    let check = |gone: &str, is_down: bool| {
        let (site, vault) = audited("/nowhere/log");
        let receiver = Receiver::willing();
        let office = post_office(&site, &receiver);
        round(&office);
        if is_down {
            receiver.refuse("503 Service Unavailable");
            ask(&site, &vault);
            round(&office);
        }
        ask(&site, &vault);
        site.delete(&site.id(gone)).unwrap();
        receiver.accept();
        site.clock.advance(Duration::from_secs(1));
        round(&office);
        assert_eq!(records_at_hook(&receiver), 1 + usize::from(is_down), "{gone} {is_down}");
    };
    for gone in [SETTING, "Microsoft.KeyVault/vaults/audited-kv"] {
        check(gone, false);
        check(gone, true);
    }
}

#[test]
fn what_comes_after_the_routing_is_gone_is_not_sent() {
    let (site, vault) = audited("/nowhere/log");
    let receiver = Receiver::willing();
    let office = post_office(&site, &receiver);
    round(&office);
    site.delete(&site.id(SETTING)).unwrap();
    round(&office);
    ask(&site, &vault);
    round(&office);
    assert_eq!(records_at_hook(&receiver), 0);
}

#[test]
fn diagnostic_settings_come_back_with_what_they_are_about() {
    let (site, vault) = audited("/nowhere/log");
    let hook = site.id("Custody.Audit/destinations/hook");
    let kv = site.id("Microsoft.KeyVault/vaults/audited-kv");
    let hsm = site.id("Microsoft.KeyVault/managedHSMs/audited-hsm");
    let location = &site.platform.installation.location;
    let admin = site.platform.administrator();
    let hsm_body = json!({
        "location": location,
        "sku": { "family": "B", "name": "Standard_B1" },
        "properties": { "initialAdminObjectIds": [principal_of(&admin).id] },
    });
    site.put(&hsm, hsm_body.clone());
    let setting = |holder: &ResourceId, name: &str| -> ResourceId {
        format!("{holder}/providers/Microsoft.Insights/diagnosticSettings/{name}").parse().unwrap()
    };
    let all = site.ask(&setting(&kv, "all"), Verb::Read, Value::Null).unwrap();
    let logs = all["properties"]["logs"].clone();
    site.put(&setting(&hsm, "all"), json!({ "properties": all["properties"] }));
    let alone = json!({ "properties": { "logs": logs, "workspaceId": hook } });
    let kv_body = json!({ "location": location, "properties": {} });
    for (holder, mut body) in [(&kv, kv_body), (&hsm, hsm_body)] {
        site.put(&setting(holder, "alone"), alone.clone());
        site.delete(holder).unwrap();
        assert_eq!(
            site.ask(&setting(holder, "all"), Verb::Read, Value::Null).unwrap_err().status,
            404
        );
        body["properties"]["createMode"] = "recover".into();
        site.put(holder, body.clone());
        let back = site.ask(&setting(holder, "all"), Verb::Read, Value::Null).unwrap();
        assert_eq!(back["properties"], all["properties"], "{holder}");
        site.delete(holder).unwrap();
    }
    site.delete(&hook).unwrap();
    for (holder, mut body) in [
        (&kv, json!({ "location": location, "properties": {} })),
        (&hsm, json!({ "location": location, "properties": {} })),
    ] {
        body["properties"]["createMode"] = "recover".into();
        body["sku"] = json!({ "family": "B", "name": "Standard_B1" });
        site.put(holder, body);
        let back = site.ask(&setting(holder, "all"), Verb::Read, Value::Null).unwrap();
        let mut rest = all["properties"].clone();
        rest.as_object_mut().unwrap().remove("eventHubAuthorizationRuleId");
        assert_eq!(back["properties"], rest, "the destination that is gone is left out");
        let gone = site.ask(&setting(holder, "alone"), Verb::Read, Value::Null).unwrap_err();
        assert_eq!(gone.status, 404, "nothing is left of what named that one alone");
    }
    let receiver = Receiver::willing();
    let office = post_office(&site, &receiver);
    ask(&site, &vault);
    round(&office);
    let file = fs::read_to_string(site.folder.path().join("data/audit/file.jsonl")).unwrap();
    assert!(file.contains("KeyGet"), "{file}");
    let in_use = site.delete(&site.id("Custody.Audit/destinations/file")).unwrap_err();
    assert_eq!(in_use.code, "AuditDestinationInUse");
}
