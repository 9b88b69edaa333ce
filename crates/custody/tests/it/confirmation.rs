//! What destroys is shown and confirmed first.

use serde_json::{Value, json};

use crate::fake_server::{GROUP, VAULT};
use crate::world::World;

const KEY: &str = "custody-12345678.vault:/keys/backup";

fn world() -> World {
    let world = World::new();
    world.server.put(KEY, &json!({ "key": { "kid": "k" } }));
    world.server.put(GROUP, &json!({}));
    world.server.put(VAULT, &json!({}));
    world.server.put(&format!("{VAULT}/backupInstances/documents"), &json!({}));
    let report = json!({
        "key": "https://custody-12345678.vault.custody.localhost/keys/backup",
        "versions": [{
            "version": "0123456789abcdef0123456789abcdef", "enabled": true, "newest": true,
            "retireSafely": false, "because": "it wraps the newest generation of main",
            "vaults": [{ "name": "main", "items": [{ "name": "documents", "recoveryPoints": 3 }] }],
        }],
        "summary": { "vaults": 1, "items": 1, "recoveryPoints": 3 },
    });
    world.server.script("GET /custody/dependants", 200, &report);
    let plan = json!({
        "keep": [{ "point": "b", "time": "2026-11-22T06:00:00Z", "reasons": ["last 1"] }],
        "forget": [{ "point": "a", "time": "2026-11-21T06:00:00Z" }],
    });
    let transfer = json!({
        "roleAssignments": 2, "vaults": [{ "id": "/v/main", "keys": [] }], "keyVaults": [],
        "identities": [], "blockers": [],
    });
    world.server.script("POST /custody/subscriptions/S/transfer", 200, &transfer);
    let stop = format!("POST {VAULT}/backupInstances/documents/stopProtection");
    world.server.script(&stop, 200, &json!({}));
    let forget = format!("POST {VAULT}/backupInstances/documents/forget");
    world.server.script(&forget, 200, &plan);
    world
}

/// The lines that destroy, and the name to type for each.
const DESTRUCTIVE: [(&str, &str); 9] = [
    ("keyvault key set-attributes -n backup --enabled false", "backup"),
    ("keyvault key delete -n backup", "backup"),
    ("keyvault key purge -n backup", "backup"),
    ("group delete -n custody", "custody"),
    ("backup vault delete -n main", "main"),
    ("backup item stop-protection -n documents", "documents"),
    ("backup item delete -n documents", "documents"),
    ("forget documents --keep-last 1", "documents"),
    ("subscription transfer -s S -t T", "S"),
];

fn changes(world: &World) -> Vec<String> {
    let mut changes = world.server.take_changes();
    // Asking what would be forgotten changes nothing.
    changes.retain(|line| !line.contains("\"dryRun\":true"));
    changes
}

#[test]
fn without_a_terminal_nothing_happens() {
    for (line, _) in DESTRUCTIVE {
        let world = world();
        let ran = world.run(line);
        assert_eq!(ran.exit, 10, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("--yes"), "{line}: {}", ran.stderr);
        assert_eq!(changes(&world), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn yes_confirms_beforehand() {
    for (line, _) in DESTRUCTIVE.iter().filter(|(line, _)| !line.starts_with("forget")) {
        let world = world();
        let ran = world.run(&format!("{line} --yes"));
        assert_eq!(ran.exit, 0, "{line}: {}", ran.stderr);
        assert_eq!(changes(&world).len(), 1, "{line}");
    }
}

#[test]
fn only_the_right_name_confirms() {
    let check = |line: &str, answer: &'static str, exit: u8| {
        let world = world().with_terminal(answer);
        let ran = world.run(line);
        assert_eq!(ran.exit, exit, "{line} {answer:?}: {}", ran.stderr);
        assert_eq!(changes(&world).is_empty(), exit != 0, "{line} {answer:?}");
    };
    let line = "keyvault key delete -n backup";
    check(line, "backup\n", 0);
    check(line, "backup", 0);
    check(line, "Backup\n", 10);
    check(line, "y\n", 10);
    check(line, "", 10);
}

#[test]
fn what_breaks_is_shown() {
    let world = world();
    let ran = world.run("keyvault key set-attributes -n backup --enabled false");
    for shown in ["vault main", "documents: 3 recovery points", "1 vault, 1 item"] {
        assert!(ran.stderr.contains(shown), "{shown}: {}", ran.stderr);
    }
}

#[test]
fn what_breaks_nothing_is_not_asked() {
    let check = |line: &str| {
        let world = world();
        world.server.script("GET /custody/dependants", 200, &json!({ "versions": [] }));
        assert_eq!(world.run(line).exit, 0, "{line}");
    };
    check("keyvault key set-attributes -n backup --enabled false");
    check("keyvault key set-attributes -n backup --enabled true");
    check("forget documents --keep-last 1 --dry-run");
}

#[test]
fn a_plan_that_forgets_nothing_is_not_asked() {
    let world = world();
    let request = format!("POST {VAULT}/backupInstances/documents/forget");
    world.server.script(&request, 200, &json!({ "keep": [], "forget": [] }));
    let ran = world.run("forget documents --keep-last 1 -o json");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["forget"], json!([]));
}
