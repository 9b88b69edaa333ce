//! Deleted vaults: both kinds in one list, and the way back.

use serde_json::{Value, json};

use crate::fake_server::SUBSCRIPTION;
use crate::world::World;

fn place(namespace: &str) -> String {
    format!("{SUBSCRIPTION}/providers/{namespace}/locations/local/deletedVaults")
}

fn world() -> World {
    let world = World::new();
    let backup = place("Microsoft.DataProtection");
    let recovery = place("Microsoft.RecoveryServices");
    let main = json!({
        "id": format!("{backup}/main"), "name": "main",
        "properties": {
            "originalBackupVaultId": "/g/backupVaults/main",
            "resourceDeletionInfo": { "scheduledPurgeTime": "2026-12-14T00:00:00Z" },
        },
    });
    let rsv = json!({
        "id": format!("{recovery}/rsv"), "name": "rsv",
        "properties": { "vaultId": "/g/vaults/rsv", "purgeAt": "2026-12-15T00:00:00Z" },
    });
    world.server.script(&format!("GET {backup}"), 200, &json!({ "value": [main] }));
    world.server.script(&format!("GET {recovery}"), 200, &json!({ "value": [rsv] }));
    world
}

#[test]
fn both_kinds_are_listed_alike() {
    let world = world();
    let ran = world.run("backup deleted-vault list -o json");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let facts = |at: usize| {
        let properties = &shown[at]["properties"];
        (shown[at]["name"].clone(), properties["vaultId"].clone(), properties["purgeAt"].clone())
    };
    let expected = |name: &str, id: &str, until: &str| (json!(name), json!(id), json!(until));
    assert_eq!(facts(0), expected("main", "/g/backupVaults/main", "2026-12-14T00:00:00Z"));
    assert_eq!(facts(1), expected("rsv", "/g/vaults/rsv", "2026-12-15T00:00:00Z"));
    assert_eq!(world.run("backup deleted-vault get -n MAIN").exit, 0);
    assert_eq!(world.run("backup deleted-vault get -n other").exit, 5);
}

/// One that shares its name with one of the other kind is named by its resource id.
#[test]
fn a_deleted_vault_is_not_guessed() {
    let world = world();
    let (backup, recovery) =
        (place("Microsoft.DataProtection"), place("Microsoft.RecoveryServices"));
    let twin = json!({ "id": format!("{recovery}/main"), "name": "main", "properties": {} });
    world.server.script(&format!("GET {recovery}"), 200, &json!({ "value": [twin] }));
    let ran = world.run("backup deleted-vault undelete -n main");
    assert_eq!(ran.exit, 2, "{}", ran.stderr);
    for place in [&backup, &recovery] {
        assert!(ran.stderr.contains(&format!("{place}/main")), "{}", ran.stderr);
    }
    let ran = world.run(&format!("backup deleted-vault get -n {recovery}/main"));
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
}

#[test]
fn a_vault_is_brought_back() {
    for (line, namespace, group) in [
        ("-n main", "Microsoft.DataProtection/main", Value::Null),
        ("-n rsv -g other", "Microsoft.RecoveryServices/rsv", json!("other")),
    ] {
        let world = world();
        let (namespace, name) = namespace.split_once('/').unwrap();
        let asked = format!("POST {}/{name}/undelete", place(namespace));
        world.server.script(&asked, 200, &json!({}));
        let ran = world.run(&format!("backup deleted-vault undelete {line}"));
        assert_eq!(ran.exit, 0, "{line}: {}", ran.stderr);
        let body = json!({ "properties": { "recoveryResourceGroupId": group } });
        assert_eq!(world.server.take_changes(), [format!("{asked} {body}")]);
    }
}

/// What a new vault keeps of what is deleted can be said when it is made.
#[test]
fn a_vault_is_made_with_its_soft_delete() {
    let world = World::new();
    let line =
        "backup vault create -n v --soft-delete-state AlwaysOn --retention-duration-in-days 30";
    let ran = world.run(line);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let made = world.server.take_changes().join("");
    let settings = json!({ "state": "AlwaysOn", "retentionDurationInDays": 30 });
    assert!(made.contains(&format!("\"softDeleteSettings\":{settings}")), "{made}");
    assert_eq!(world.run("backup vault create -n v --retention-duration-in-days 5").exit, 2);
}
