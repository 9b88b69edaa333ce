//! What a Recovery Services vault protects, and what even trying to leaves behind.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Answer, MAIN, World};

const VAULT: &str = "S/resourceGroups/custody/providers/Microsoft.RecoveryServices/vaults/rsv";
const IDENTITY: &str =
    "S/resourceGroups/custody/providers/Microsoft.ManagedIdentity/userAssignedIdentities/speaker";

fn container() -> String {
    format!("{VAULT}/backupFabrics/Azure/protectionContainers/host")
}

fn item() -> String {
    format!("{}/protectedItems/SQLDataBase;documents", container())
}

fn world() -> World {
    let world = World::new();
    let vault = json!({ "location": "local", "sku": { "name": "Standard" }, "properties": {} });
    world.make(VAULT, vault);
    world.make(IDENTITY, json!({ "location": "local" }));
    world.settle();
    world
}

fn register(world: &World, folders: &Value) -> Answer {
    world.put(
        &container(),
        json!({ "properties": {
            "containerType": "VMAppContainer",
            "backupManagementType": "AzureWorkload",
            "workloadType": "SQLDataBase",
            "folders": folders,
        } }),
    )
}

fn workload(folder: &Value) -> Value {
    json!({ "properties": {
        "protectedItemType": "AzureVmWorkloadSQLDatabase",
        "backupManagementType": "AzureWorkload",
        "workloadType": "SQLDataBase",
        "folder": folder,
    } })
}

/// Asks for a customer's key, and says with what code that is refused at once.
fn code_of_a_key(world: &World) -> String {
    let id = IDENTITY.replacen('S', &world.subscription, 1);
    let body = json!({
        "identity": { "type": "UserAssigned", "userAssignedIdentities": { id.as_str(): {} } },
        "properties": { "encryption": {
            "keyVaultProperties": { "keyUri": "https://kv1.vault.custody.localhost/keys/k" },
            "kekIdentity": { "userAssignedIdentity": id },
        } },
    });
    let answer = world.send(Method::PATCH, VAULT, Some(body));
    world.settle();
    answer.body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

type Case<'c> = (&'c str, Value, (u16, &'c str), bool);

const FOR_EVER: &str = "UserErrorCMKNotSupportedOnVaultWithRegisteredItems";

#[test]
fn a_folder_is_protected_backed_up_and_restored() {
    let world = world();
    let folders = TempDir::new().unwrap();
    let source = folders.path().join("documents");
    fs::create_dir_all(source.join("inner")).unwrap();
    fs::write(source.join("inner/letter"), "dear reader").unwrap();
    let named = json!({ "SQLDataBase;documents": { "paths": [source] } });
    assert_eq!(register(&world, &named).status, 200);
    assert_eq!(world.names(&format!("{VAULT}/backupProtectableItems")), ["SQLDataBase;documents"]);
    // What is read is named by the container, as it is for az.
    let mut body = workload(&Value::Null);
    body["properties"].as_object_mut().unwrap().remove("folder");
    body["properties"]["policyId"] = format!("{VAULT}/backupPolicies/DefaultPolicy")
        .replacen('S', &world.subscription, 1)
        .into();
    let protected = world.put(&item(), body);
    assert_eq!(protected.status, 202, "{protected:?}");
    assert!(protected.headers.contains_key("azure-asyncoperation"));
    world.settle();
    assert_eq!(world.get(&item()).body["properties"]["protectionState"], "IRPending");
    assert_eq!(world.names(&format!("{VAULT}/backupProtectableItems")), [""; 0]);

    let backup = json!({ "properties": { "objectType": "AzureWorkloadBackupRequest" } });
    assert_eq!(world.post(&format!("{}/backup", item()), backup).status, 202);
    world.settle();
    let shown = world.get(&item()).body;
    assert_eq!(shown["properties"]["protectionState"], "Protected", "{shown}");
    let points = world.names(&format!("{}/recoveryPoints", item()));
    assert_eq!(points.len(), 1);
    let point = format!("{}/recoveryPoints/{}", item(), points[0]);
    assert_eq!(world.get(&point).body["properties"]["objectType"], "AzureWorkloadRecoveryPoint");

    let target = folders.path().join("back");
    let restore = json!({ "properties": {
        "objectType": "AzureWorkloadRestoreRequest",
        "recoveryMode": "FileRecovery",
        "targetInfo": { "targetDirectoryForFileRestore": target },
    } });
    let begun = world.post(&format!("{point}/restore"), restore);
    assert_eq!(begun.status, 202, "{begun:?}");
    world.settle();
    let back = walk(&target);
    assert!(back.iter().any(|(_, text)| text == "dear reader"), "{back:?}");

    let jobs = world.get(&format!("{VAULT}/backupJobs")).body;
    let mut all: Vec<(&str, &str, &str)> = jobs["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["properties"])
        .map(|job| {
            let text = |name: &str| job[name].as_str().unwrap();
            (text("operation"), text("status"), text("entityFriendlyName"))
        })
        .collect();
    let name = "SQLDataBase;documents";
    all.sort_unstable();
    let of_item = ["Backup", "ConfigureBackup", "Restore"].map(|job| (job, "Completed", name));
    let of_vault = ("UpdateEncryptionSettings", "Completed", "rsv");
    assert_eq!(all, [of_item.as_slice(), &[of_vault]].concat());

    assert_eq!(world.delete(&container()).error(), (409, "ContainerHoldsItems"));
    let off = json!({ "softDeleteSettings": { "softDeleteState": "Disabled" } });
    let off = json!({ "properties": { "securitySettings": off } });
    assert_eq!(world.send(Method::PATCH, VAULT, Some(off)).status, 200);
    assert_eq!(world.delete(&item()).status, 202);
    world.settle();
    assert_eq!(world.get(&item()).status, 404);
    assert_eq!(world.delete(&container()).status, 200);
    // What was once protected keeps the vault on its key (rule 54).
    assert_eq!(code_of_a_key(&world), FOR_EVER);
}

fn walk(folder: &std::path::Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        } else {
            all.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

#[test]
fn an_attempt_to_protect_counts_for_ever_even_if_it_is_refused() {
    let container = container();
    let item = item();
    let folder = json!({ "paths": ["/etc"] });
    let fabric = format!("{VAULT}/backupFabrics/Elsewhere/protectionContainers/host");
    let elsewhere = container.replace("rsv", "other");
    let agent =
        json!({ "properties": { "containerType": "Windows", "backupManagementType": "MAB" } });
    let agents = json!({ "properties": { "protectedItemType": "MabFileFolderProtectedItem" } });
    let classic = json!({ "properties": { "protectedItemType": "Microsoft.ClassicCompute/virtualMachines" } });
    let machine =
        json!({ "properties": { "protectedItemType": "Microsoft.Compute/virtualMachines" } });
    let relative = workload(&json!({ "paths": ["here"] }));
    let mut lost = workload(&folder);
    lost["properties"]["policyId"] = "no policy".into();
    let registered = json!({ "properties": { "containerType": "VMAppContainer" } });
    let cases: Vec<Case<'_>> = vec![
        (&container, registered.clone(), (200, ""), true),
        (&container, agent, (400, "UserErrorMarsAgentNotSupported"), true),
        (&item, agents, (400, "UserErrorMarsAgentNotSupported"), true),
        (&item, classic, (400, "UserErrorClassicVirtualMachineNotSupported"), true),
        (&item, machine, (400, "UserErrorWorkloadTypeNotSupported"), true),
        (&item, workload(&folder), (400, "ContainerNotRegistered"), true),
        (&container, json!({ "properties": {} }), (400, "InvalidRequestContent"), false),
        (&item, json!({ "properties": {} }), (400, "InvalidRequestContent"), false),
        (&item, json!({ "properties": { "folder": 5 } }), (400, "InvalidRequestContent"), false),
        (&item, relative, (400, "InvalidSource"), false),
        (&fabric, registered.clone(), (404, "FabricNotFound"), false),
        (&elsewhere, registered.clone(), (404, "ResourceNotFound"), false),
    ];
    for (path, body, refused, counts) in cases {
        let world = world();
        assert_eq!(world.put(path, body.clone()).error(), refused, "{path} {body}");
        assert_eq!(code_of_a_key(&world) == FOR_EVER, counts, "{path} {body}");
    }
    // Who may not, has not tried; once a container stands, the other refusals can be had.
    let world = world();
    let stranger = world.application("stranger");
    let token = world.token(&stranger, MAIN);
    let barred = world.send_as(Some(&token), Method::PUT, &container, Some(registered.clone()));
    assert!([401, 403].contains(&barred.status), "{barred:?}");
    assert_ne!(code_of_a_key(&world), FOR_EVER);
    world.make(&container, registered);
    assert_eq!(world.put(&item, lost).error(), (400, "PolicyNotFound"));
    let nothing = json!({ "properties": { "protectedItemType": "AzureVmWorkloadSQLDatabase" } });
    assert_eq!(world.put(&item, nothing).error(), (400, "SourceNotNamed"));
}

#[test]
fn a_vault_whose_making_failed_protects_nothing_and_takes_its_request_again() {
    let world = World::new();
    world.make(IDENTITY, json!({ "location": "local" }));
    let id = IDENTITY.replacen('S', &world.subscription, 1);
    let encrypted = json!({
        "location": "local",
        "identity": { "type": "UserAssigned", "userAssignedIdentities": { id.as_str(): {} } },
        "properties": { "encryption": {
            "keyVaultProperties": { "keyUri": "https://kv1.vault.custody.localhost/keys/k" },
            "kekIdentity": { "userAssignedIdentity": id },
        } },
    });
    world.make(VAULT, encrypted.clone());
    world.settle();
    assert_eq!(world.get(VAULT).body["properties"]["provisioningState"], "Failed");
    assert_eq!(register(&world, &json!({})).error(), (409, "VaultNotReady"));
    for _ in 0..2 {
        let again = world.put(VAULT, encrypted.clone());
        assert!([200, 201].contains(&again.status), "{again:?}");
        world.settle();
        let seen = world.get(VAULT).body["properties"].clone();
        assert_eq!(seen["provisioningState"], "Failed", "never under the platform's key: {seen}");
        assert_eq!(register(&world, &json!({})).error(), (409, "VaultNotReady"));
    }
}

#[test]
fn containers_items_and_policies_are_listed_and_filtered() {
    let world = world();
    assert_eq!(register(&world, &json!({})).status, 200);
    world.put(&item(), workload(&json!({ "paths": ["/etc"] })));
    world.settle();
    let containers = format!("{VAULT}/backupProtectionContainers");
    let items = format!("{VAULT}/backupProtectedItems");
    let cases: [(&str, &str, &[&str]); 6] = [
        (&containers, "backupManagementType eq 'AzureWorkload'", &["host"]),
        (&containers, "backupManagementType eq 'MAB'", &[]),
        (&items, "backupManagementType eq 'AzureWorkload'", &["SQLDataBase;documents"]),
        (
            &items,
            "itemType eq 'SQLDataBase' and friendlyName eq 'documents'",
            &["SQLDataBase;documents"],
        ),
        (&items, "itemType eq 'SAPHanaDatabase'", &[]),
        (&items, "containerName eq 'host'", &["SQLDataBase;documents"]),
    ];
    for (list, filter, names) in cases {
        assert_eq!(world.names(&format!("{list}?$filter={filter}")), names, "{filter}");
    }
    let wrong = world.get(&format!("{items}?$filter=shoeSize eq '9'"));
    assert_eq!(wrong.error(), (400, "InvalidFilterInQueryString"));

    let policies = format!("{VAULT}/backupPolicies");
    assert_eq!(world.names(&policies), ["DefaultPolicy"]);
    let mine = format!("{policies}/mine");
    let policy = json!({ "properties": { "backupManagementType": "AzureWorkload" } });
    assert_eq!(world.put(&mine, policy).status, 200);
    assert_eq!(world.put(&mine, json!({ "properties": {} })).status, 400);
    let mut bound = workload(&json!({ "paths": ["/etc"] }));
    bound["properties"]["policyId"] = mine.replacen('S', &world.subscription, 1).into();
    assert_eq!(world.put(&item(), bound).status, 202);
    world.settle();
    assert_eq!(world.delete(&mine).error(), (409, "PolicyInUse"));
    assert_eq!(world.delete(&format!("{policies}/DefaultPolicy")).status, 200);

    let refresh = format!("{VAULT}/backupFabrics/Azure/refreshContainers");
    let refreshed = world.post(&refresh, json!({}));
    assert_eq!(refreshed.status, 202);
    let result = refreshed.headers["location"].to_str().unwrap();
    assert_eq!(world.get(result).status, 204);
}
