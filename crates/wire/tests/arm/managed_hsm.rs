//! Managed HSMs: made, administered from within, and their keys.

use serde_json::json;

use crate::world::World;

const ADMINISTRATOR: &str = "a290e904-7015-4bba-90c8-60543313cdb4";
const CRYPTO_USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";
const HOST: &str = "https://hsm-one.managedhsm.custody.localhost";
const ASSIGNMENTS: &str = "providers/Microsoft.Authorization/roleAssignments";

fn with_hsm() -> World {
    let world = World::new();
    let body = json!({
        "location": "eastus",
        "sku": { "family": "B", "name": "Standard_B1" },
        "properties": {
            "initialAdminObjectIds": [world.administrator],
            "softDeleteRetentionInDays": "7", // as az writes it
        },
    });
    let path = "S/resourceGroups/custody/providers/Microsoft.KeyVault/managedHSMs/hsm-one";
    let made = world.put(path, body);
    assert_eq!(
        (made.status, &made.body["properties"]["hsmUri"]),
        (200, &json!(format!("{HOST}/")))
    );
    assert_eq!(made.body["properties"]["softDeleteRetentionInDays"], json!(7));
    world
}

#[test]
fn only_local_roles_reach_the_keys_of_a_managed_hsm() {
    let world = with_hsm();
    let key = json!({ "kty": "RSA-HSM", "key_size": 2048 });
    let create = || world.post(&format!("{HOST}/keys/k1/create"), key.clone()).status;
    assert_eq!(create(), 403, "its administrator has no keys");
    let path = format!("{HOST}/keys/{ASSIGNMENTS}/11111111-1111-1111-1111-111111111111");
    let body = json!({ "properties": {
        "roleDefinitionId": format!("Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{CRYPTO_USER}"),
        "principalId": world.administrator,
    } });
    let made = world.put(&path, body.clone());
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        made.body,
        json!({
            "id": "/keys/providers/Microsoft.Authorization/roleAssignments/11111111-1111-1111-1111-111111111111",
            "name": "11111111-1111-1111-1111-111111111111",
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": {
                "scope": "/keys",
                "roleDefinitionId": format!("Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{CRYPTO_USER}"),
                "principalId": world.administrator,
            },
        })
    );
    assert_eq!(create(), 200);
    assert_eq!(world.put(&path, body).error(), (409, "RoleAssignmentExists"));
    assert_eq!(world.names(&format!("{HOST}/{ASSIGNMENTS}")).len(), 2);
    assert_eq!(world.delete(&path).status, 200);
    assert_eq!(create(), 403);
    assert_eq!(world.get(&path).error(), (404, "RoleAssignmentNotFound"));
}

#[test]
fn the_last_administrator_stays() {
    let world = with_hsm();
    let own = format!("{HOST}/{ASSIGNMENTS}/{}", world.administrator);
    assert_eq!(world.delete(&own).error(), (409, "LastAdministrator"));
    let roles = world.names(&format!("{HOST}/providers/Microsoft.Authorization/roleDefinitions"));
    assert!(roles.contains(&ADMINISTRATOR.to_owned()), "{roles:?}");
    let name = "22222222-2222-2222-2222-222222222222";
    let mut body =
        json!({ "properties": { "roleDefinitionId": ADMINISTRATOR, "principalId": name } });
    assert_eq!(world.put(&format!("{HOST}/{ASSIGNMENTS}/{name}"), body.clone()).status, 201);
    assert_eq!(world.delete(&own).status, 200);
    let another = format!("{HOST}/{ASSIGNMENTS}/33333333-3333-3333-3333-333333333333");
    assert_eq!(world.put(&another, body.clone()).error(), (403, "Forbidden"));
    body["properties"]["roleDefinitionId"] = "x".into();
    assert_eq!(world.put(&another, body).error(), (404, "RoleDefinitionNotFound"));
    let elsewhere = format!("{HOST}/certificates/{ASSIGNMENTS}/{name}");
    assert_eq!(world.get(&elsewhere).error(), (400, "BadParameter"));
}

#[test]
fn a_managed_hsm_defines_roles_of_its_own() {
    let world = with_hsm();
    let definitions = format!("{HOST}/providers/Microsoft.Authorization/roleDefinitions");
    let path = format!("{definitions}/44444444-4444-4444-4444-444444444444");
    let role = |actions: &[&str]| {
        json!({ "properties": {
            "roleName": "Key Maker",
            "description": "Makes keys.",
            "type": "CustomRole",
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": [],
                "notActions": [],
                "dataActions": actions,
                "notDataActions": ["Microsoft.KeyVault/managedHsm/keys/delete"],
            }],
        } })
    };
    let make = "Microsoft.KeyVault/managedHsm/keys/create";
    let made = world.put(&path, role(&[make]));
    assert_eq!(made.status, 201, "{}", made.body);
    let mut expected = role(&[make]);
    let id = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/44444444-4444-4444-4444-444444444444";
    expected["id"] = json!(id);
    expected["name"] = json!("44444444-4444-4444-4444-444444444444");
    expected["type"] = json!("Microsoft.Authorization/roleDefinitions");
    assert_eq!(made.body, expected);
    assert_eq!(world.get(&path).body, expected);
    let all = world.names(&definitions);
    assert!(all.contains(&"44444444-4444-4444-4444-444444444444".to_owned()), "{all:?}");

    // Who is assigned the role may do what it says, from the next request on, and nothing else.
    let key = json!({ "kty": "RSA-HSM", "key_size": 2048 });
    let create = || world.post(&format!("{HOST}/keys/k1/create"), key.clone()).status;
    let read = || world.get(&format!("{HOST}/keys/k1")).status;
    let assignment = format!("{HOST}/{ASSIGNMENTS}/55555555-5555-5555-5555-555555555555");
    let body =
        json!({ "properties": { "roleDefinitionId": id, "principalId": world.administrator } });
    assert_eq!(create(), 403);
    assert_eq!(world.put(&assignment, body).status, 201);
    assert_eq!((create(), read()), (200, 403));
    assert_eq!(world.delete(&path).error(), (400, "RoleDefinitionHasAssignments"));
    let both = [make, "Microsoft.KeyVault/managedHsm/keys/read/action"];
    assert_eq!(world.put(&path, role(&both)).status, 201);
    assert_eq!((create(), read()), (200, 200));
    assert_eq!(world.delete(&assignment).status, 200);
    assert_eq!((create(), read()), (403, 403));
    assert_eq!(world.delete(&path).body["name"], expected["name"]);
    assert_eq!(world.delete(&path).error(), (404, "RoleDefinitionNotFound"));
    assert_eq!(world.get(&path).error(), (404, "RoleDefinitionNotFound"));
}

#[test]
fn roles_of_a_managed_hsm_that_make_no_sense_are_refused() {
    let world = with_hsm();
    let definitions = format!("{HOST}/providers/Microsoft.Authorization/roleDefinitions");
    let check = |name: &str, properties: serde_json::Value, expected: (u16, &str)| {
        let path = format!("{definitions}/{name}");
        let answer = world.put(&path, json!({ "properties": properties }));
        assert_eq!(answer.error(), expected, "{name} {properties}: {}", answer.body);
    };
    let guid = "44444444-4444-4444-4444-444444444444";
    let with = |permissions: serde_json::Value| json!({ "permissions": permissions });
    let read = "Microsoft.KeyVault/managedHsm/keys/read/action";
    let good = with(json!([{ "dataActions": [read] }]));
    let bad = (400, "BadParameter");
    check("no-guid", good.clone(), bad);
    check(ADMINISTRATOR, good.clone(), (403, "BuiltInRoleCannotBeChanged"));
    check(guid, json!({}), bad);
    check(guid, with(json!([])), bad);
    check(guid, with(json!([{ "dataActions": [read] }, { "dataActions": [read] }])), bad);
    check(guid, with(json!([{ "dataActions": [] }])), bad);
    check(guid, with(json!([{ "dataActions": ["*"] }])), bad);
    check(guid, with(json!([{ "dataActions": ["Microsoft.KeyVault/vaults/keys/read"] }])), bad);
    check(guid, with(json!([{ "dataActions": [read], "actions": [read] }])), bad);
    let mut wrong = good.clone();
    wrong["assignableScopes"] = json!(["/keys/k1"]);
    check(guid, wrong, bad);
    let mut wrong = good.clone();
    wrong["type"] = json!("AKVBuiltInRole");
    check(guid, wrong, bad);
    let made = world.put(&format!("{definitions}/{guid}"), json!({ "properties": good }));
    assert_eq!((made.status, &made.body["properties"]["roleName"]), (201, &json!(guid)));
    // Those who may not define roles cannot give themselves more.
    let unknown = json!({ "properties": {
        "roleDefinitionId": "66666666-6666-6666-6666-666666666666",
        "principalId": world.administrator,
    } });
    let assignment = format!("{HOST}/{ASSIGNMENTS}/55555555-5555-5555-5555-555555555555");
    assert_eq!(world.put(&assignment, unknown).error(), (404, "RoleDefinitionNotFound"));
    let stranger = world.application("stranger");
    let token = world.token(&stranger, "https://managedhsm.custody.localhost");
    let path = format!("{definitions}/{guid}");
    let body = json!({ "properties": good });
    let denied = world.send_as(Some(&token), http::Method::PUT, &path, Some(body));
    assert_eq!(denied.error(), (403, "Forbidden"));
}

#[test]
fn a_managed_hsm_lies_in_one_region() {
    let world = with_hsm();
    let path = "S/resourceGroups/custody/providers/Microsoft.KeyVault/managedHSMs/hsm-one";
    let own = json!([{ "name": "eastus", "provisioningState": "Succeeded", "isPrimary": true }]);
    assert_eq!(world.get(&format!("{path}/regions")).body, json!({ "value": own }));
    let mut shown = world.get(path).body;
    assert_eq!(shown["properties"]["regions"], own);
    assert_eq!(world.put(path, shown.clone()).status, 200, "what is read can be written");
    shown["properties"]["regions"] = json!([{ "name": "eastus" }, { "name": "West US" }]);
    assert_eq!(world.put(path, shown).error(), (400, "BadRequest"));
    let absent = world.get(&format!("{path}-none/regions"));
    assert_eq!(absent.error(), (404, "ResourceNotFound"));
}

#[test]
fn requests_to_local_roles_are_on_the_ledger_and_pass_the_firewall() {
    let world = with_hsm();
    let record = |name: &str, result: &str, status| (name.to_owned(), result.to_owned(), status);
    let check = |expected: (String, String, u64)| assert_eq!(world.ledger(1), [expected]);
    world.get(&format!("{HOST}/{ASSIGNMENTS}"));
    check(record("RoleAssignmentList", "Success", 200));
    let path = format!("{HOST}/keys/{ASSIGNMENTS}/11111111-1111-1111-1111-111111111111");
    let body = json!({ "properties": {
        "roleDefinitionId": CRYPTO_USER,
        "principalId": world.administrator,
    } });
    world.make(&path, body.clone());
    check(record("RoleAssignmentCreate", "Success", 201));
    assert_eq!(world.put(&path, body).status, 409);
    check(record("RoleAssignmentCreate", "Failure", 409));
    assert_eq!(world.delete(&path).status, 200);
    check(record("RoleAssignmentDelete", "Success", 200));
    let definitions = format!("{HOST}/providers/Microsoft.Authorization/roleDefinitions");
    let role = format!("{definitions}/44444444-4444-4444-4444-444444444444");
    let action = "Microsoft.KeyVault/managedHsm/keys/create";
    let permissions = json!([{ "dataActions": [action] }]);
    world.make(&role, json!({ "properties": { "permissions": permissions } }));
    check(record("RoleDefinitionSet", "Success", 201));
    assert_eq!(world.delete(&role).status, 200);
    check(record("RoleDefinitionDelete", "Success", 200));

    let path = "S/resourceGroups/custody/providers/Microsoft.KeyVault/managedHSMs/hsm-one";
    let acls = json!({ "bypass": "None", "defaultAction": "Deny" });
    let closed = json!({ "properties": { "networkAcls": acls } });
    assert_eq!(world.send(http::Method::PATCH, path, Some(closed)).status, 200);
    assert_eq!(world.get(&definitions).error(), (403, "ForbiddenByFirewall"));
    check(record("RoleDefinitionList", "Failure", 403));
}
