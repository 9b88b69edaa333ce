//! Two updates of a vault at once: none is lost, and the keyring always has a wrap that works.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use custody_key_vault::{KeyAnswer, KeyOperation, KeyVaultError};
use custody_wire::{KeyVaultLink, Server};
use http::Request;
use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, Desk, KEY, MISSING, RECOVERY, Speaker, end};
use crate::site::{Answer, MAIN, read};

/// Rounds of two requests at once.
const ROUNDS: u32 = 12;

impl Desk {
    /// Two requests at the same moment, from two processes over one data folder.
    fn at_once(&self, others: &Server, vault: &str, bodies: [&Value; 2]) -> [Answer; 2] {
        let start = Barrier::new(2);
        let path = format!("{vault}?api-version=2025-02-01");
        let send = |server: &Server, body: &Value| {
            start.wait();
            let answer = crate::site::ask(server, "PATCH", &path, None, body.clone());
            server.finish();
            answer
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| send(others, bodies[1]));
            let one = send(&self.site.server, bodies[0]);
            [one, other.join().unwrap()]
        })
    }

    fn patch_if(&self, vault: &str, etag: &str, body: &Value) -> Answer {
        let request = Request::patch(format!("{MAIN}{vault}?api-version=2025-02-01"))
            .header("if-match", etag)
            .body(body.to_string().into_bytes())
            .unwrap();
        let answer = read(self.site.server.handle(request));
        self.site.server.finish();
        answer
    }
}

/// Taken, or told that another is at it: nothing else comes of an update.
fn is_taken(answer: &Answer) -> bool {
    if answer.status < 300 {
        return true;
    }
    let code = answer.body["error"]["code"].as_str().unwrap_or_default();
    assert_eq!((answer.status, code), (409, "AnotherOperationInProgress"), "{answer:?}");
    false
}

/// Looks at an operation through another process whenever it asks a key vault.
struct Onlooker {
    other: Server,
    vault: String,
    seen: Mutex<Vec<Value>>,
}

impl Onlooker {
    fn look(&self) -> Value {
        let ask = |path: &str| {
            let path = format!("{path}?api-version=2025-02-01");
            crate::site::ask(&self.other, "GET", &path, None, Value::Null).body
        };
        let jobs = ask(&format!("{}/backupJobs", self.vault));
        let newest = jobs["value"][0]["name"].as_str().unwrap();
        let subscription = self.vault.split("/resourceGroups").next().unwrap();
        let place = format!("{subscription}/providers/Microsoft.DataProtection/locations/local");
        ask(&format!("{place}/operationStatus/{newest}"))
    }
}

impl KeyVaultLink for Onlooker {
    fn carry(
        &self,
        _operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        self.seen.lock().unwrap().push(self.look());
        deliver()
    }
}

/// Rule 80: how far an update of a Backup vault is can be seen while it runs, and how it ended
/// afterwards.
#[test]
fn an_update_shows_how_far_it_is_and_how_it_ended() {
    let desk = Desk::new();
    let vault = desk.vault(BACKUP, "watched");
    let (other, seen) = (desk.site.again(), Mutex::default());
    let onlooker = Arc::new(Onlooker { other, vault: vault.clone(), seen });
    desk.site.server.link_key_vaults(Arc::clone(&onlooker) as _);
    for (granted, status, error) in
        [(false, "Failed", json!(MISSING)), (true, "Succeeded", Value::Null)]
    {
        if granted {
            desk.admit("kv1");
        }
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User).is_none(), granted);
        let seen = std::mem::take(&mut *onlooker.seen.lock().unwrap());
        assert!(!seen.is_empty());
        for one in &seen {
            assert_eq!(one["status"], "InProgress", "{one}");
            assert!(!one["properties"]["progress"]["phase"].as_str().unwrap().is_empty(), "{one}");
            assert!(one["endTime"].is_null(), "{one}");
        }
        let ended = onlooker.look();
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!(status), &error),
            "{ended}"
        );
        assert_eq!(ended["endTime"], "2027-01-15T08:00:00Z", "{ended}");
    }
}

/// Both may be taken, one after the other, or one of them is told to wait. Whichever it is, what is
/// wanted, what is in force and what wraps the keyring agree, and every point is readable.
#[test]
fn two_changes_of_key_at_once_leave_one_key() {
    let desk = Desk::new();
    desk.admit("kv1");
    desk.key("kv1", "other", &json!({ "kty": "RSA", "key_size": 2048 }));
    let vault = desk.vault(BACKUP, "contested");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let to = |key: &str| {
        let settings = json!({ "keyVaultProperties": { "keyUri": key } });
        json!({ "properties": { "securitySettings": { "encryptionSettings": settings } } })
    };
    let (one, other) = (to(KEY), to("https://kv1.vault.custody.localhost/keys/other"));
    let others = desk.site.again();
    for round in 0..ROUNDS {
        let answers = desk.at_once(&others, &vault, [&one, &other]);
        let taken = answers.iter().filter(|answer| is_taken(answer)).count();
        assert!(taken > 0, "round {round}: {answers:?}");
        let shown = desk.get(&vault)["properties"].clone();
        assert_eq!(shown["provisioningState"], "Succeeded", "{shown}");
        assert_eq!(shown["encryptionError"], Value::Null, "{shown}");
        let key = &shown["securitySettings"]["encryptionSettings"]["keyVaultProperties"]["keyUri"];
        let key = key.as_str().unwrap();
        let wraps = desk.wraps(&vault);
        assert!(wraps.iter().all(|wrap| wrap.starts_with(&format!("{key}/"))), "{key} {wraps:?}");
        if let [Answer { status: 409, .. }, _] = &answers {
            assert!(key.ends_with("/other"), "the one that was taken: {shown}");
        }
    }
    let into = tempfile::tempdir().unwrap();
    assert_eq!(end(&desk.restore(&item, &into)), COMPLETED);
    assert_eq!(end(&desk.job(&vault, "verify", json!({}))), COMPLETED);
}

/// What two requests change of different parts is there afterwards, if both were taken.
#[test]
fn no_update_is_lost() {
    let desk = Desk::new();
    let others = desk.site.again();
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "busy");
        let settings = |days: u32| match kind {
            RECOVERY => json!({ "softDeleteRetentionPeriodInDays": days }),
            _ => json!({ "retentionDurationInDays": days }),
        };
        for round in 0..ROUNDS {
            let days = 20 + round;
            let soft_delete =
                json!({ "securitySettings": { "softDeleteSettings": settings(days) } });
            let one = json!({ "properties": soft_delete });
            let other = json!({ "tags": { "round": round.to_string() } });
            let answers = desk.at_once(&others, &vault, [&one, &other]);
            let shown = desk.get(&vault);
            let kept = &shown["properties"]["securitySettings"]["softDeleteSettings"];
            let [first, second] = &answers;
            assert!(is_taken(first) && is_taken(second), "neither begins an operation");
            assert_eq!(kept, &settings(days), "{shown}");
            assert_eq!(shown["tags"]["round"], round.to_string());
        }
    }
}

/// A change of what was read before somebody else changed it is refused, with and without a key in
/// it, and changes nothing.
#[test]
fn a_change_of_an_older_state_is_refused() {
    let desk = Desk::new();
    desk.admit("kv1");
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "stale");
        let etag = || desk.get(&vault)["etag"].as_str().unwrap().to_owned();
        let read_before = etag();
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        let before = desk.get(&vault);
        let identity = json!({ "identity": { "type": "None" } });
        for body in [json!({ "tags": { "by": "late" } }), identity] {
            let refused = desk.patch_if(&vault, &read_before, &body);
            let code = refused.body["error"]["code"].as_str().unwrap_or_default();
            assert_eq!((refused.status, code), (412, "PreconditionFailed"), "{kind} {body}");
        }
        assert_eq!(desk.get(&vault), before);
        let taken = desk.patch_if(&vault, &etag(), &json!({ "tags": { "by": "latest" } }));
        assert!(taken.status < 300, "{taken:?}");
        assert_eq!(desk.get(&vault)["tags"]["by"], "latest");
    }
}
