//! Moving resources between groups.

use serde_json::{Value, json};

use crate::world::World;

const HERE: &str = "S/resourceGroups/custody";
const THERE: &str = "S/resourceGroups/other";
const VAULTS: &str = "providers/Microsoft.DataProtection/backupVaults";

fn group(world: &World, path: &str) -> String {
    let known = world.make(path, json!({ "location": "eastus" }));
    known["id"].as_str().unwrap().to_owned()
}

fn ask(world: &World, verb: &str, resources: &[&Value], target: &str) -> (u16, String) {
    let body = json!({ "resources": resources, "targetResourceGroup": target });
    let answer = world.post(&format!("{HERE}/{verb}"), body);
    (answer.status, answer.error().1.to_owned())
}

/// What moves takes items, policies and recovery points along, and is used as before.
#[test]
fn a_vault_on_the_platforms_key_moves_with_all_it_holds() {
    let world = World::new();
    let there = group(&world, THERE);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter"), "dear reader").unwrap();
    let vault = world.make(&format!("{HERE}/{VAULTS}/v"), json!({ "location": "eastus" }));
    world.settle();
    let policy = json!({ "properties": { "objectType": "BackupPolicy" } });
    let policy = world.make(&format!("{HERE}/{VAULTS}/v/backupPolicies/daily"), policy);
    let item = format!("{VAULTS}/v/backupInstances/docs");
    let properties = json!({
        "folder": { "paths": [folder.path()] },
        "policyInfo": { "policyId": policy["id"] },
    });
    world.make(&format!("{HERE}/{item}"), json!({ "properties": properties }));
    let backup = |place: &str| {
        let answer = world.post(&format!("{place}/{item}/backup"), json!({}));
        assert_eq!(answer.status, 202, "{answer:?}");
        world.settle();
        world.names(&format!("{place}/{item}/recoveryPoints"))
    };
    let points = backup(HERE);
    assert_eq!(points.len(), 1);

    assert_eq!(ask(&world, "validateMoveResources", &[&vault["id"]], &there), (204, String::new()));
    assert_eq!(world.names(&format!("{HERE}/{VAULTS}")), ["v"], "it was only asked");
    assert_eq!(ask(&world, "moveResources", &[&vault["id"]], &there), (204, String::new()));
    assert_eq!(world.get(&format!("{HERE}/{VAULTS}/v")).status, 404);
    let moved = world.get(&format!("{THERE}/{item}")).body;
    let policy = moved["properties"]["policyInfo"]["policyId"].as_str().unwrap();
    assert_eq!(policy, format!("{there}/{VAULTS}/v/backupPolicies/daily"));
    let blocked = world.delete(policy);
    assert_eq!(blocked.error(), (409, "PolicyInUse"), "the reference moved too");
    assert_eq!(backup(THERE).len(), 2);
    let target = folder.path().join("back");
    let body = json!({ "target": target, "point": points[0] });
    assert_eq!(world.post(&format!("{THERE}/{item}/restore"), body).status, 202);
    world.settle();
    let jobs = world.get(&format!("{THERE}/{VAULTS}/v/backupJobs")).body;
    assert_eq!(jobs["value"][0]["properties"]["status"], "Completed", "{jobs}");
}

/// A container lies below a fabric that has no record of its own, and moves all the same.
#[test]
fn a_recovery_services_vault_moves_with_its_containers() {
    let world = World::new();
    let there = group(&world, THERE);
    let vault = "providers/Microsoft.RecoveryServices/vaults/r";
    let made = world.make(&format!("{HERE}/{vault}"), json!({ "location": "eastus" }));
    world.settle();
    let container = format!("{vault}/backupFabrics/Azure/protectionContainers/c");
    let body = json!({ "properties": { "containerType": "VMAppContainer" } });
    world.make(&format!("{HERE}/{container}"), body);
    assert_eq!(ask(&world, "moveResources", &[&made["id"]], &there), (204, String::new()));
    assert_eq!(world.get(&format!("{THERE}/{container}")).status, 200);
    assert_eq!(world.names(&format!("{THERE}/{vault}/backupPolicies")), ["DefaultPolicy"]);
    assert_eq!(world.get(&format!("{HERE}/{container}")).status, 404);
}

/// Rule 61 for both kinds of vault, and everything else that stays where it is.
#[test]
fn what_cannot_move_says_so() {
    let world = World::new();
    let there = group(&world, THERE);
    let key_vault = format!("{HERE}/providers/Microsoft.KeyVault/vaults/kv-move");
    let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
    let keys = world.make(&key_vault, json!({ "location": "eastus", "properties": properties }));
    let key = json!({ "properties": { "kty": "RSA" } });
    let key = world.make(&format!("{key_vault}/keys/k1"), key)["properties"]["keyUri"].take();
    let identity = format!("{HERE}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one");
    let identity = world.make(&identity, json!({ "location": "eastus" }));
    let principal = identity["properties"]["principalId"].as_str().unwrap();
    world.grant(&key_vault, "e147488a-f6f5-4113-8e2d-b22465e65bf6", principal, 1);
    let id = identity["id"].as_str().unwrap();
    let attached = json!({ "type": "UserAssigned", "userAssignedIdentities": { id: {} } });
    let key = json!({ "keyUri": key });
    let dpp = json!({ "securitySettings": { "encryptionSettings": {
        "state": "Enabled",
        "keyVaultProperties": key,
        "kekIdentity": { "identityType": "UserAssigned", "identityId": id },
    } } });
    let rsv = json!({ "encryption": {
        "keyVaultProperties": key,
        "kekIdentity": { "userAssignedIdentity": id },
    } });
    let make = |kind: &str, properties: &Value| {
        let body = json!({ "location": "eastus", "identity": attached, "properties": properties });
        let made = world.make(&format!("{HERE}/providers/{kind}/v"), body)["id"].take();
        world.settle();
        made
    };
    let stays = "UserErrorCMKVaultMoveNotSupported";
    for (kind, properties) in
        [("Microsoft.DataProtection/backupVaults", dpp), ("Microsoft.RecoveryServices/vaults", rsv)]
    {
        let vault = make(kind, &properties);
        let shown = world.get(vault.as_str().unwrap()).body;
        assert_eq!(shown["properties"]["provisioningState"], "Succeeded", "{shown}");
        for verb in ["validateMoveResources", "moveResources"] {
            assert_eq!(ask(&world, verb, &[&vault], &there), (409, stays.into()), "{kind}");
        }
        assert_eq!(world.get(vault.as_str().unwrap()).status, 200);
    }
    let check = |resources: &[&Value], target: &str, expected: (u16, &str)| {
        let got = ask(&world, "moveResources", resources, target);
        assert_eq!(got, (expected.0, expected.1.to_owned()), "{resources:?}");
    };
    check(&[&keys["id"]], &there, (409, "ResourceMoveNotSupported"));
    check(&[&identity["id"]], &there, (409, "ResourceMoveNotSupported"));
    check(&[], &there, (400, "InvalidRequestContent"));
    check(&[&json!(format!("{there}/{VAULTS}/v"))], &there, (400, "ResourcesNotInSameGroup"));
    let nowhere = there.replace("other", "nowhere");
    check(&[&keys["id"]], &nowhere, (404, "ResourceGroupNotFound"));
    let mobile = world.make(&format!("{HERE}/{VAULTS}/plain"), json!({ "location": "eastus" }));
    world.settle();
    check(&[&mobile["id"], &keys["id"]], &there, (409, "ResourceMoveNotSupported"));
    assert_eq!(world.get(&format!("{HERE}/{VAULTS}/plain")).status, 200, "all of it or nothing");
    world.make(&format!("{THERE}/{VAULTS}/plain"), json!({ "location": "eastus" }));
    world.settle();
    check(&[&mobile["id"]], &there, (409, "ResourceMoveConflict"));
}
