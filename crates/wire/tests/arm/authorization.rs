//! Roles, their assignments, management groups, name checks and the activity log.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

const DEFINITIONS: &str = "S/providers/Microsoft.Authorization/roleDefinitions";
const ASSIGNMENTS: &str = "providers/Microsoft.Authorization/roleAssignments";
const CUSTOM: &str = "11111111-1111-1111-1111-111111111111";
const SOMEBODY: &str = "00000000-0000-0000-0000-0000000000aa";

fn role_names(world: &World, path: &str) -> Vec<String> {
    let body = world.get(path).body;
    let all = body["value"].as_array().unwrap_or_else(|| panic!("{path}: {body}")).iter();
    all.map(|one| one["properties"]["roleName"].as_str().unwrap().to_owned()).collect()
}

fn make_custom(world: &World) {
    let body = json!({ "properties": {
        "roleName": "Keeper",
        "assignableScopes": [world.subscription],
        "permissions": [{ "actions": ["*/read"] }],
    } });
    assert_eq!(world.put(&format!("{DEFINITIONS}/{CUSTOM}"), body).status, 201);
}

#[test]
fn role_definitions_are_found_by_name_type_and_guid() {
    let world = World::new();
    make_custom(&world);
    let check = |filter: &str, expected: &[&str]| {
        let path = format!("{DEFINITIONS}?$filter={filter}");
        assert_eq!(role_names(&world, &path), expected, "{filter}");
    };
    let service = "Key Vault Crypto Service Encryption User";
    check(&format!("roleName eq '{service}'"), &[service]);
    check("roleName eq 'keeper'", &["Keeper"]);
    check("type eq 'CustomRole'", &["Keeper"]);
    check("type eq 'CustomRole' and roleName eq 'Owner'", &[]);
    assert!(
        role_names(&world, DEFINITIONS).contains(&"Key Vault Data Access Administrator".into())
    );
    let guid = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
    let everywhere = world.get(&format!(
        "S/resourceGroups/custody/providers/microsoft.authorization/roledefinitions/{guid}"
    ));
    assert_eq!(everywhere.body["properties"]["roleName"], service);
    let custom = format!("/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}");
    assert_eq!(world.get(&custom).body["properties"]["type"], "CustomRole");
    let absent = world.get(&format!("{DEFINITIONS}/{SOMEBODY}"));
    assert_eq!(absent.error(), (404, "RoleDefinitionDoesNotExist"));
    assert_eq!(world.delete(&custom).status, 200, "named below another scope");
    check("type eq 'CustomRole'", &[]);
}

#[test]
fn role_assignments_are_listed_above_at_and_below_a_scope() {
    let world = World::new();
    world.put("S/resourceGroups/G", json!({ "location": "eastus" }));
    let reader = format!("{DEFINITIONS}/acdd72a7-3385-48ef-bd42-f606fba81ae7");
    let reader = reader.replacen('S', &world.subscription, 1);
    let body = json!({ "properties": {
        "roleDefinitionId": reader, "principalId": SOMEBODY, "principalType": "ServicePrincipal",
    } });
    let at = |scope: &str, number: u8| {
        format!("{scope}/{ASSIGNMENTS}/00000000-0000-0000-0000-0000000000{number:02}")
    };
    let created = world.put(&at("S", 1), body.clone());
    assert_eq!(created.status, 201);
    let properties = &created.body["properties"];
    assert_eq!(properties["scope"], world.subscription.as_str());
    assert_eq!(properties["createdOn"], "2026-03-01T12:00:00Z");
    assert_eq!(created.body["type"], "Microsoft.Authorization/roleAssignments");
    world.put(&at("S/resourceGroups/G", 2), body.clone());
    let again = world.put(&at("S", 3), body);
    assert_eq!(again.error(), (409, "RoleAssignmentExists"));
    let check = |scope: &str, filter: &str, expected: usize| {
        let path = format!("{scope}/{ASSIGNMENTS}?$filter={filter}");
        let body = world.get(&path).body;
        assert_eq!(body["value"].as_array().unwrap().len(), expected, "{path}");
    };
    // The administrator's own at the root counts everywhere.
    check("S", "", 3);
    check("S", "atScope()", 2);
    check("S/resourceGroups/G", "atScope()", 3);
    check("S", &format!("principalId eq '{SOMEBODY}'"), 2);
    check("S", &format!("atScope() and assignedTo('{SOMEBODY}')"), 1);
    check("S/resourceGroups/custody", &format!("principalId eq '{SOMEBODY}'"), 1);
    let wrong = world.get(&format!("S/{ASSIGNMENTS}?$filter=colour eq 'red'"));
    assert_eq!(wrong.error(), (400, "InvalidFilterInQueryString"));
    let by_id = world.get(&at("S", 1).replacen('S', &world.subscription, 1));
    assert_eq!(by_id.body["properties"]["principalId"], SOMEBODY);
    let gone = world.delete(&at("S", 1));
    assert_eq!((gone.status, &gone.body["properties"]["principalId"]), (200, &json!(SOMEBODY)));
    assert_eq!(world.delete(&at("S", 1)).status, 204);
}

#[test]
fn management_groups_show_what_is_below_them() {
    let world = World::new();
    let group = |name: &str| format!("/providers/Microsoft.Management/managementGroups/{name}");
    world.put(&group("top"), json!({ "properties": { "displayName": "Top" } }));
    let parent = json!({ "properties": { "details": { "parent": { "id": group("top") } } } });
    world.put(&group("low"), parent);
    let id = world.subscription.rsplit('/').next().unwrap().to_owned();
    assert_eq!(world.put(&format!("{}/subscriptions/{id}", group("low")), Value::Null).status, 200);
    assert_eq!(world.names("/providers/Microsoft.Management/managementGroups"), ["low", "top"]);
    let shown = world.get(&format!("{}?$expand=children&$recurse=true", group("top"))).body;
    let low = &shown["properties"]["children"][0];
    assert_eq!((&low["name"], &low["children"][0]["name"]), (&json!("low"), &json!(id)));
    let names = world.names(&format!("{}/descendants", group("top")));
    assert_eq!(names, ["low".to_owned(), id.clone()]);
    assert_eq!(world.names(&format!("{}/subscriptions", group("low"))), [id]);
}

#[test]
fn names_of_key_vaults_are_checked() {
    let world = World::new();
    world.put(
        "S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/taken",
        json!({ "location": "local", "properties": {} }),
    );
    let check = |name: &str, expected: Option<&str>| {
        for verb in ["checkNameAvailability", "checkMhsmNameAvailability"] {
            let path = format!("S/providers/Microsoft.KeyVault/{verb}");
            let answer = world.post(&path, json!({ "name": name })).body;
            assert_eq!(answer["nameAvailable"], expected.is_none(), "{verb} {name}");
            assert_eq!(answer.get("reason").and_then(Value::as_str), expected, "{verb} {name}");
        }
    };
    check("free-name", None);
    check("TAKEN", Some("AlreadyExists"));
    check("no", Some("AccountNameInvalid"));
    check("custody-platform", Some("AlreadyExists"));
}

#[test]
fn a_group_goes_with_what_it_holds_unless_something_stays() {
    let world = World::new();
    world.put("S/resourceGroups/G", json!({ "location": "local" }));
    let inside = |kind: &str, name: &str| format!("S/resourceGroups/G/providers/{kind}/{name}");
    let identity = inside("Microsoft.ManagedIdentity/userAssignedIdentities", "one-id");
    let vault = inside("Microsoft.KeyVault/vaults", "kv-gone");
    world.put(&identity, json!({ "location": "local" }));
    world.put(&vault, json!({ "location": "local", "properties": {} }));
    let answer = world.send(Method::DELETE, "S/resourcegroups/g", None);
    assert_eq!(answer.status, 202, "{}", answer.body);
    let link = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    world.settle();
    assert_eq!(world.get(&link("azure-asyncoperation")).body["status"], "Succeeded");
    assert_eq!(world.get(&link("location")).status, 200);
    assert_eq!(world.get("S/resourceGroups/G").error(), (404, "ResourceGroupNotFound"));
    assert_eq!(world.get(&identity).status, 404);
    assert_eq!(world.names("S/providers/Microsoft.KeyVault/deletedVaults"), ["kv-gone"]);
}
