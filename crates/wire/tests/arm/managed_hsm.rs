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
