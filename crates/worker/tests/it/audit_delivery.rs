//! Audit records reach the destinations that diagnostic settings name.

use std::cell::Cell;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use custody_key_vault::KeyOperation;
use custody_names::{CorrelationId, KeyName, KeyVaultName};
use custody_worker::{Cause, Courier, principal_of};
use serde_json::{Value, json};

use crate::site::Site;

/// Takes what is posted, or refuses it.
#[derive(Default)]
struct Mailbox {
    down: AtomicBool,
    bodies: Mutex<Vec<Value>>,
}

impl Courier for Mailbox {
    fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<(), String> {
        assert_eq!((url, content_type), ("https://siem.example/in", "application/json"));
        if self.down.load(Ordering::SeqCst) {
            return Err("503 Service Unavailable".to_owned());
        }
        self.bodies.lock().unwrap().push(serde_json::from_slice(body).unwrap());
        Ok(())
    }
}

/// A site with a key vault whose records go to destinations of each sort.
fn audited(syslog: &str) -> (Site, KeyVaultName) {
    let site = Site::new();
    let name: KeyVaultName = "audited-kv".parse().unwrap();
    let vault = site.id("Microsoft.KeyVault/vaults/audited-kv");
    let location = &site.platform.installation.location;
    site.put(&vault, json!({ "location": location, "properties": {} }));
    let destination = |name: &str, properties: Value| {
        let id = site.id(&format!("Custody.Audit/destinations/{name}"));
        site.put(&id, json!({ "location": location, "properties": properties }));
        id
    };
    let file = destination("file", json!({ "destinationType": "File" }));
    let hook = json!({ "destinationType": "Webhook", "address": "https://siem.example/in" });
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
fn ask(site: &Site, vault: &KeyVaultName) {
    let key: KeyName = "absent".parse().unwrap();
    let facts = site.platform.key_vault(vault, Some(&key)).unwrap().unwrap();
    let cause = Cause {
        correlation: CorrelationId::mint(site.platform.entropy.as_ref()).unwrap(),
        job: None,
        trusted: false,
    };
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
    let mailbox = Mailbox::default();
    ask(&site, &vault);
    ask(&site, &vault);
    assert!(!site.platform.deliver_audit_records(&mailbox).unwrap());
    assert!(!site.platform.deliver_audit_records(&mailbox).unwrap());

    let file = fs::read_to_string(site.folder.path().join("data/audit/file.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{file}");
    for line in &lines {
        assert_eq!(line["category"], "AuditEvent");
        assert_eq!(line["operationName"], "KeyGet");
        assert!(line["resourceId"].as_str().unwrap().ends_with("/VAULTS/AUDITED-KV"), "{line}");
    }
    assert_eq!(*mailbox.bodies.lock().unwrap(), [Value::from(lines.clone())]);
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
    let mailbox = Mailbox::default();
    mailbox.down.store(true, Ordering::SeqCst);
    ask(&site, &vault);
    site.platform.deliver_audit_records(&mailbox).unwrap();
    let deliveries = site.platform.audit_deliveries().unwrap();
    let problem = |name: &str| {
        let (_, delivery) = deliveries.iter().find(|(id, _)| id.ends_with(name)).unwrap();
        delivery.problem.clone()
    };
    assert_eq!(problem("/hook").as_deref(), Some("503 Service Unavailable"));
    assert!(problem("/log").unwrap().contains("/nowhere/log"));
    assert_eq!(problem("/file"), None);

    ask(&site, &vault);
    mailbox.down.store(false, Ordering::SeqCst);
    site.platform.deliver_audit_records(&mailbox).unwrap();
    let bodies = mailbox.bodies.lock().unwrap();
    assert_eq!(bodies.iter().map(|body| body.as_array().unwrap().len()).sum::<usize>(), 2);
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
