//! Managed HSMs: made, administered from within, and their keys.

use http::Method;
use serde_json::{Value, json};

use crate::world::{Somebody, World};

const ADMINISTRATOR: &str = "a290e904-7015-4bba-90c8-60543313cdb4";
const CRYPTO_OFFICER: &str = "515eb02d-2335-4d2d-92f2-b1cbdf9c3778";
const POLICY_ADMINISTRATOR: &str = "4bd23610-cdcf-4971-bdee-bdc562cc28e4";
const CRYPTO_USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";
const HOST: &str = "https://hsm-one.managedhsm.custody.localhost";
const ASSIGNMENTS: &str = "providers/Microsoft.Authorization/roleAssignments";
const DEFINITIONS: &str = "providers/Microsoft.Authorization/roleDefinitions";
const HSM: &str = "S/resourceGroups/custody/providers/Microsoft.KeyVault/managedHSMs/hsm-one";

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
    let made = world.put(HSM, body);
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
    // Rule 44: get, wrap and unwrap by local roles alone.
    assert_eq!(world.get(&format!("{HOST}/keys/k1")).status, 200);
    let crypt = |verb: &str, value: &str| {
        let body = json!({ "alg": "RSA-OAEP-256", "value": value });
        world.post(&format!("{HOST}/keys/k1/{verb}"), body)
    };
    let wrapped = crypt("wrapkey", "AAAA").body["value"].as_str().unwrap().to_owned();
    assert_eq!(crypt("unwrapkey", &wrapped).body["value"], "AAAA");
    // What is told names the host of the managed HSM, in the record as well.
    let damaged = crypt("unwrapkey", &"A".repeat(342));
    assert_eq!(damaged.error(), (400, "BadParameter"));
    let message = damaged.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("{HOST}/keys/k1/")), "{message}");
    let record = &world.get("/custody/ledger?top=1").body["value"][0]["record"];
    let told = record["properties"]["requestUri"].as_str().unwrap();
    assert_eq!(told, format!("{HOST}/keys/k1/unwrapkey?api-version=2024-11-01"));
    assert_eq!(record["properties"]["id"], format!("{HOST}/keys/k1"));
    assert_eq!(record["resultDescription"], message);
    let random = world.post(&format!("{HOST}/rng"), json!({ "count": 16 }));
    assert_eq!(random.status, 200, "all keys are the whole HSM: {}", random.body);
    assert_eq!(world.put(&path, body).error(), (409, "RoleAssignmentExists"));
    assert_eq!(world.names(&format!("{HOST}/{ASSIGNMENTS}")).len(), 2);
    assert_eq!(world.delete(&path).status, 200);
    assert_eq!(create(), 403);
    assert_eq!(crypt("unwrapkey", &wrapped).status, 403);
    assert_eq!(world.get(&path).error(), (404, "RoleAssignmentNotFound"));
}

#[test]
fn the_last_administrator_stays() {
    let world = with_hsm();
    let own = format!("{HOST}/{ASSIGNMENTS}/{}", world.administrator);
    assert_eq!(world.delete(&own).error(), (409, "LastAdministrator"));
    let roles = world.names(&format!("{HOST}/providers/Microsoft.Authorization/roleDefinitions"));
    assert!(roles.contains(&ADMINISTRATOR.to_owned()), "{roles:?}");
    let release_user = "21dbd100-6940-42c2-9190-5d6cb909625c".to_owned();
    assert!(roles.contains(&release_user), "{roles:?}");
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
    let check = |name: &str, properties: Value, expected: (u16, &str)| {
        let path = format!("{definitions}/{name}");
        let answer = world.put(&path, json!({ "properties": properties }));
        assert_eq!(answer.error(), expected, "{name} {properties}: {}", answer.body);
    };
    let guid = "44444444-4444-4444-4444-444444444444";
    let with = |permissions: Value| json!({ "permissions": permissions });
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
    let denied = world.send_as(Some(&token), Method::PUT, &path, Some(body));
    assert_eq!(denied.error(), (403, "Forbidden"));
}

/// The path of an assignment, whose name ends in `number`, at a scope as paths have it.
fn assignment(scope: &str, number: u8) -> String {
    format!("{HOST}{scope}/{ASSIGNMENTS}/77777777-7777-7777-7777-7777777777{number:02x}")
}

fn granting(role: &str, principal: &str) -> Value {
    json!({ "properties": { "roleDefinitionId": role, "principalId": principal } })
}

/// Somebody with a role at a scope, and a token.
fn stranger(world: &World, role: &str, scope: &str, number: u8) -> (Somebody, String) {
    let somebody = world.application(&format!("stranger-{number}"));
    world.make(&assignment(scope, number), granting(role, &somebody.object));
    let token = world.token(&somebody, "https://managedhsm.custody.localhost");
    (somebody, token)
}

#[test]
fn who_may_assign_roles_on_keys_gains_nothing_above_or_beside_them() {
    let world = with_hsm();
    let bystander = world.application("bystander").object;
    for (scope, number) in [("", 1), ("/keys", 2), ("/keys/k1", 3), ("/keys/k2", 4)] {
        world.make(&assignment(scope, number), granting(CRYPTO_USER, &bystander));
    }
    let role = format!("{DEFINITIONS}/44444444-4444-4444-4444-444444444444");
    let action = "Microsoft.KeyVault/managedHsm/keys/create";
    let defined = json!({ "properties": { "permissions": [{ "dataActions": [action] }] } });
    world.make(&format!("{HOST}/{role}"), defined.clone());
    let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
    let (forbidden, bad) = ((403, "Forbidden"), (400, "BadParameter"));
    let (absent, found) = ((404, "RoleAssignmentNotFound"), (200, ""));
    // Who holds what, and whether they find an assignment at /, /keys, /keys/k1 and /keys/k2 by way
    // of the scope that they hold it at.
    let table = [
        (CRYPTO_OFFICER, "/keys", [absent, found, found, found]),
        (CRYPTO_OFFICER, "/keys/k1", [absent, absent, found, absent]),
        (POLICY_ADMINISTRATOR, "/keys/k1", [absent, absent, found, absent]),
        (POLICY_ADMINISTRATOR, "/KEYS/K1", [absent, absent, found, absent]),
    ];
    for (number, (held, own, reached)) in (10..).zip(table) {
        let (somebody, token) = stranger(&world, held, own, number);
        let check = |method: &Method, path: &str, body: Option<&Value>, expected: (u16, &str)| {
            let answer = world.send_as(Some(&token), method.clone(), path, body.cloned());
            let code = answer.body.pointer("/error/code").and_then(Value::as_str);
            let shown = (answer.status, code.unwrap_or_default());
            assert_eq!(shown, expected, "{held} at {own}: {method} {path}: {}", answer.body);
        };
        // More for themselves, where their role does not reach.
        let raised = granting(ADMINISTRATOR, &somebody.object);
        check(&put, &assignment("", 0x40), Some(&raised), forbidden);
        if own != "/keys" {
            check(&put, &assignment("/keys", 0x40), Some(&raised), forbidden);
            check(&put, &assignment("/keys/k2", 0x40), Some(&raised), forbidden);
        }
        for (scope, expected) in [("", forbidden), (own, bad)] {
            check(&put, &format!("{HOST}{scope}/{role}"), Some(&defined), expected);
            check(&delete, &format!("{HOST}{scope}/{role}"), None, expected);
        }
        // An administrator's assignment and others', where they are and by way of their own scope.
        let first = format!("{ASSIGNMENTS}/{}", world.administrator);
        for (scope, expected) in [("", forbidden), (own, absent)] {
            check(&get, &format!("{HOST}{scope}/{first}"), None, expected);
            check(&delete, &format!("{HOST}{scope}/{first}"), None, expected);
        }
        for (target, expected) in (1..).zip(reached) {
            check(&get, &assignment(own, target), None, expected);
            if expected == absent {
                check(&delete, &assignment(own, target), None, absent);
            }
        }
        // What their role is for.
        let added = granting(CRYPTO_USER, &somebody.object);
        check(&put, &assignment(own, 0x41), Some(&added), (201, ""));
        check(&get, &assignment(own, 0x41), None, found);
        check(&delete, &assignment(own, 0x41), None, found);
        check(&get, &format!("{HOST}{own}/{DEFINITIONS}"), None, found);
        check(&get, &format!("{HOST}{own}/{ASSIGNMENTS}"), None, found);
    }
    // An administrator of the HSM finds what lies below by way of / too.
    assert_eq!(world.delete(&assignment("", 4)).status, 200);
}

#[test]
fn assignments_are_listed_by_scope() {
    let world = with_hsm();
    for (scope, number) in [("", 1), ("/keys", 2), ("/keys/k1", 3), ("/keys/k2", 4)] {
        world.make(&assignment(scope, number), granting(CRYPTO_USER, &world.administrator));
    }
    // At, above and below the scope; at and above it. The first administrator's is at /.
    let table =
        [("", 5, 2), ("/keys", 5, 3), ("/keys/k1", 4, 4), ("/keys/K1", 4, 4), ("/keys/k", 3, 3)];
    for (scope, all, above) in table {
        let path = format!("{HOST}{scope}/{ASSIGNMENTS}");
        assert_eq!(world.names(&path).len(), all, "{scope}");
        assert_eq!(world.names(&format!("{path}?$filter=atScope()")).len(), above, "{scope}");
    }
}

#[test]
fn administrators_of_keys_alone_do_not_count_as_the_last() {
    let world = with_hsm();
    let other = "22222222-2222-2222-2222-222222222222";
    for (scope, number) in [("/keys", 1), ("/keys/k1", 2)] {
        world.make(&assignment(scope, number), granting(ADMINISTRATOR, other));
    }
    let own = format!("{HOST}/{ASSIGNMENTS}/{}", world.administrator);
    assert_eq!(world.delete(&own).error(), (409, "LastAdministrator"));
    assert_eq!(world.delete(&assignment("/keys", 1)).status, 200);
    assert_eq!(world.delete(&assignment("/keys/k1", 2)).status, 200);
    world.make(&assignment("", 3), granting(ADMINISTRATOR, other));
    assert_eq!(world.delete(&own).status, 200);
}

#[test]
fn a_managed_hsm_is_recovered_with_its_last_administrators() {
    let world = with_hsm();
    let all = format!("{HOST}/{ASSIGNMENTS}");
    let (successor, token) = stranger(&world, ADMINISTRATOR, "", 1);
    // Neither of these administers all of it.
    stranger(&world, ADMINISTRATOR, "/keys", 2);
    stranger(&world, POLICY_ADMINISTRATOR, "", 3);
    assert_eq!(world.delete(&format!("{all}/{}", world.administrator)).status, 200);
    for round in 1..=2 {
        assert_eq!(world.delete(HSM).status, 200);
        let recover = json!({ "location": "eastus", "properties": { "createMode": "recover" } });
        world.make(HSM, recover);
        assert_eq!(world.get(&all).error(), (403, "Forbidden"), "dismissed, round {round}");
        let shown = world.send_as(Some(&token), Method::GET, &all, None).body;
        let properties = json!({
            "scope": "/",
            "roleDefinitionId": format!("Microsoft.KeyVault/{DEFINITIONS}/{ADMINISTRATOR}"),
            "principalId": successor.object,
        });
        let who = shown["value"].as_array().unwrap().iter().map(|one| &one["properties"]);
        assert_eq!(who.collect::<Vec<_>>(), [&properties], "round {round}");
    }
}

#[test]
fn a_managed_hsm_lies_in_one_region() {
    let world = with_hsm();
    let own = json!([{ "name": "eastus", "provisioningState": "Succeeded", "isPrimary": true }]);
    assert_eq!(world.get(&format!("{HSM}/regions")).body, json!({ "value": own }));
    let mut shown = world.get(HSM).body;
    assert_eq!(shown["properties"]["regions"], own);
    assert_eq!(world.put(HSM, shown.clone()).status, 200, "what is read can be written");
    shown["properties"]["regions"] = json!([{ "name": "eastus" }, { "name": "West US" }]);
    assert_eq!(world.put(HSM, shown).error(), (400, "BadRequest"));
    let absent = world.get(&format!("{HSM}-none/regions"));
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

    let acls = json!({ "bypass": "None", "defaultAction": "Deny" });
    let closed = json!({ "properties": { "networkAcls": acls } });
    assert_eq!(world.send(Method::PATCH, HSM, Some(closed)).status, 200);
    assert_eq!(world.get(&definitions).error(), (403, "ForbiddenByFirewall"));
    check(record("RoleDefinitionList", "Failure", 403));
}
