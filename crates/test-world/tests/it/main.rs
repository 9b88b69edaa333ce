//! The control plane put together: directory and key vaults over one store, as a caller meets it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use custody_ambient::Clock as _;
use custody_directory::{Founding, RoleAuthorizer, found, grants_for, register, role_definitions};
use custody_key_vault::{DeletedKeyVaultKind, KeyVaultKind};
use custody_names::{CorrelationId, PrincipalId, ResourceId};
use custody_resources::{ActivityStatus, Caller, Refusal, Registry, Verb};
use custody_test_world::control_plane::{ControlPlane, RecordStore as _, SUBSCRIPTION};
use serde_json::{Value, json};

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/custody";
const ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments";

fn plane() -> ControlPlane {
    let registry = register(Registry::new()).with::<KeyVaultKind>().with::<DeletedKeyVaultKind>();
    let plane = ControlPlane::new(registry, RoleAuthorizer);
    let administrator = ControlPlane::administrator();
    let founding = Founding {
        tenant: administrator.tenant,
        subscription: SUBSCRIPTION[15..].parse().unwrap(),
        subscription_name: "Local".to_owned(),
        administrator: administrator.principal,
        administrator_name: administrator.name,
        now: plane.clock.now(),
        correlation: CorrelationId::from_bytes([1; 16]),
    };
    plane.write(found(&founding).unwrap());
    plane
}

fn grant(plane: &ControlPlane, scope: &str, number: u8, role: &str, principal: &str) -> String {
    let path =
        format!("{scope}/providers/{ASSIGNMENTS}/00000000-0000-0000-0000-0000000000{number:02}");
    let role = role_definitions(Some(role))["value"][0]["id"].clone();
    let body = json!({ "properties": { "roleDefinitionId": role, "principalId": principal, "principalType": "User" } });
    assert_eq!(plane.put(&path, body).unwrap().status, 201);
    path
}

/// How many grants reach a key.
fn reaching(plane: &ControlPlane, key: &str) -> usize {
    let key: ResourceId = key.parse().unwrap();
    let mut count = 0;
    plane
        .store
        .view(&mut |world| {
            count = grants_for(world, &key)?.assignments.len();
            Ok(())
        })
        .unwrap();
    count
}

fn send_as(
    plane: &ControlPlane,
    who: u8,
    verb: Verb,
    path: &str,
    body: Value,
) -> Result<u16, Refusal> {
    let mut request = plane.request(verb, path, body);
    request.caller = Caller {
        principal: PrincipalId::from_bytes([who; 16]),
        name: "key officer".to_owned(),
        ..ControlPlane::administrator()
    };
    plane.send(&request).map(|answer| answer.status)
}

#[test]
fn from_an_empty_installation_to_a_recovered_key_vault() {
    let plane = plane();
    let local = json!({ "location": "local" });
    assert_eq!(plane.put(GROUP, local.clone()).unwrap().status, 201);
    let identity =
        format!("{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/main-identity");
    let made = plane.put(&identity, local.clone()).unwrap().body.unwrap();
    let principal = made["properties"]["principalId"].as_str().unwrap().to_owned();

    let vault = format!("{GROUP}/providers/Microsoft.KeyVault/vaults/custody-1");
    assert_eq!(plane.put(&vault, local.clone()).unwrap().status, 201);
    let key = format!("{vault}/keys/backup");
    let role = "Key Vault Crypto Service Encryption User";
    let assignment = grant(&plane, &key, 1, role, &principal);
    assert_eq!(reaching(&plane, &key), 2, "the identity's and the administrator's at the root");
    assert_eq!(reaching(&plane, &format!("{vault}/keys/other")), 1);

    let tagged = plane.patch(&vault, json!({ "tags": { "owner": "keys" } })).unwrap().body.unwrap();
    assert_eq!(tagged["tags"]["owner"], "keys");

    assert_eq!(plane.delete(&vault).unwrap().status, 200);
    assert_eq!(plane.record(&assignment), None, "grants on it go with it, as in Azure");
    let recover = json!({ "location": "local", "properties": { "createMode": "recover" } });
    let back = plane.put(&vault, recover).unwrap().body.unwrap();
    assert_eq!((&back["id"], &back["tags"]), (&json!(vault), &tagged["tags"]));
    assert_eq!(reaching(&plane, &key), 1);
    grant(&plane, &key, 1, role, &principal);
    assert_eq!(reaching(&plane, &key), 2);

    let log = plane.store.activity(Some(&vault.parse().unwrap()), 99).unwrap();
    let done = log.iter().filter(|event| event.status == ActivityStatus::Succeeded);
    let names: Vec<&str> = done.map(|event| event.operation_name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.KeyVault/vaults/write",
            "Microsoft.KeyVault/vaults/delete",
            "Microsoft.KeyVault/vaults/write",
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.KeyVault/vaults/write",
        ]
    );
}

#[test]
fn who_manages_key_vaults_neither_grants_roles_nor_purges() {
    let plane = plane();
    let local = json!({ "location": "local" });
    plane.put(GROUP, local.clone()).unwrap();
    let officer = PrincipalId::from_bytes([0x0f; 16]).to_string();
    grant(&plane, SUBSCRIPTION, 1, "Key Vault Contributor", &officer);
    let vault = format!("{GROUP}/providers/Microsoft.KeyVault/vaults/custody-1");
    let deleted = format!(
        "{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/local/deletedVaults/custody-1"
    );
    let check = |verb: Verb, path: &str, expected: Result<u16, &str>| {
        let outcome = send_as(&plane, 0x0f, verb.clone(), path, local.clone());
        let outcome = outcome.map_err(|refusal| refusal.code.to_string());
        assert_eq!(
            outcome.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|code| *code),
            "{verb:?} {path}"
        );
    };
    check(Verb::Put, &vault, Ok(201));
    check(Verb::Action("accessPolicies/add".to_owned()), &vault, Ok(200));
    let assignment =
        format!("{vault}/providers/{ASSIGNMENTS}/00000000-0000-0000-0000-000000000002");
    check(Verb::Put, &assignment, Err("AuthorizationFailed"));
    check(Verb::Delete, &vault, Ok(200));
    check(Verb::Read, &deleted, Ok(200));
    check(Verb::Action("purge".to_owned()), &deleted, Err("AuthorizationFailed"));
    assert_eq!(plane.act(&deleted, "purge", Value::Null).unwrap().status, 202);
}
