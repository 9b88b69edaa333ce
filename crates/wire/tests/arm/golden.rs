//! What ARM answers, kept in `tests/golden/arm`: each kind as it is read back, and each error.

use http::Method;
use serde_json::{Map, Value, json};

use crate::world::{Answer, World};

const GROUP: &str = "S/resourceGroups/G";
const HSM_HOST: &str = "https://hsm-one.managedhsm.custody.localhost";
const ROLE: &str = "11111111-1111-1111-1111-111111111111";
const ASSIGNMENT: &str = "22222222-2222-2222-2222-222222222222";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const NOBODY: &str = "33333333-3333-3333-3333-333333333333";
const SOMEBODY: &str = "00000000-0000-0000-0000-0000000000aa";

fn inside(kind: &str, name: &str) -> String {
    format!("{GROUP}/providers/{kind}/{name}")
}

/// A world with one resource of each kind.
fn furnished() -> World {
    let world = World::new();
    world.make(GROUP, json!({ "location": "West Europe", "tags": { "team": "a" } }));
    let place = || json!({ "location": "westeurope", "tags": { "env": "test" } });
    world.make(&inside("Microsoft.ManagedIdentity/userAssignedIdentities", "one-id"), place());
    let acls = json!({
        "bypass": "AzureServices",
        "defaultAction": "Deny",
        "ipRules": [{ "value": "192.0.2.0/24" }],
    });
    let policy = json!({
        "tenantId": world.tenant,
        "objectId": SOMEBODY,
        "permissions": { "keys": ["get", "wrapKey", "unwrapKey"] },
    });
    let mut vault = place();
    vault["properties"] = json!({
        "sku": { "family": "A", "name": "premium" },
        "accessPolicies": [policy],
        "enablePurgeProtection": true,
        "softDeleteRetentionInDays": 7,
        "networkAcls": acls,
    });
    world.make(&inside("Microsoft.KeyVault/vaults", "kv-one"), vault.clone());
    world.make(&inside("Microsoft.KeyVault/vaults", "kv-gone"), vault);
    world.delete(&inside("Microsoft.KeyVault/vaults", "kv-gone"));
    let mut hsm = place();
    hsm["sku"] = json!({ "family": "B", "name": "Standard_B1" });
    hsm["properties"] = json!({ "initialAdminObjectIds": [world.administrator] });
    world.make(&inside("Microsoft.KeyVault/managedHSMs", "hsm-one"), hsm.clone());
    world.make(&inside("Microsoft.KeyVault/managedHSMs", "hsm-gone"), hsm);
    world.delete(&inside("Microsoft.KeyVault/managedHSMs", "hsm-gone"));
    let mut vault = place();
    let storage = json!([{ "datastoreType": "VaultStore", "type": "LocallyRedundant" }]);
    vault["identity"] = json!({ "type": "SystemAssigned" });
    vault["properties"] = json!({ "storageSettings": storage });
    world.make(&inside("Microsoft.DataProtection/backupVaults", "vault-one"), vault);
    world.settle();
    make_keys_and_roles(&world);
    let mut vault = place();
    vault["sku"] = json!({ "name": "Standard" });
    world.make(&inside("Microsoft.RecoveryServices/vaults", "rsv-one"), vault);
    world.settle();
    world
}

fn make_keys_and_roles(world: &World) {
    let policy = json!({
        "attributes": { "expiryTime": "P2Y" },
        "lifetimeActions": [
            { "trigger": { "timeAfterCreate": "P18M" }, "action": { "type": "rotate" } },
        ],
    });
    let key = json!({ "kty": "RSA", "keySize": 2048, "rotationPolicy": policy });
    let path = format!("{}/keys/k1", inside("Microsoft.KeyVault/vaults", "kv-one"));
    world.make(&path, json!({ "properties": key, "tags": { "team": "a" } }));
    let path = format!("{}/keys/k1", inside("Microsoft.KeyVault/managedHSMs", "hsm-one"));
    world.make(&path, json!({ "properties": { "kty": "EC-HSM" } }));
    let role = json!({
        "roleName": "Keeper",
        "description": "Keeps.",
        "assignableScopes": [world.subscription],
        "permissions": [{ "actions": ["*/read"], "notActions": ["Microsoft.Compute/*"] }],
    });
    world.make(&authorization("S", "roleDefinitions", ROLE), json!({ "properties": role }));
    let assignment = json!({
        "roleDefinitionId": authorization("", "roleDefinitions", READER),
        "principalId": SOMEBODY,
        "principalType": "ServicePrincipal",
    });
    let path = authorization(GROUP, "roleAssignments", ASSIGNMENT);
    world.make(&path, json!({ "properties": assignment }));
    let group = "/providers/Microsoft.Management/managementGroups/top";
    world.make(group, json!({ "properties": { "displayName": "Top" } }));
    let sink = inside("Custody.Audit/destinations", "file");
    world.make(
        &sink,
        json!({ "location": "westeurope", "properties": { "destinationType": "File" } }),
    );
    let setting = json!({
        "logs": [{ "category": "AuditEvent", "enabled": true }],
        "workspaceId": sink.replacen('S', &world.subscription, 1),
    });
    let path = inside("Microsoft.KeyVault/vaults", "kv-one");
    let path = format!("{path}/providers/Microsoft.Insights/diagnosticSettings/all");
    world.make(&path, json!({ "properties": setting }));
    let local = json!({
        "roleName": "Key Maker",
        "permissions": [{ "dataActions": ["Microsoft.KeyVault/managedHsm/keys/create"] }],
    });
    let path = authorization(HSM_HOST, "roleDefinitions", ROLE);
    world.make(&path, json!({ "properties": local }));
}

fn authorization(scope: &str, kind: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/{kind}/{name}")
}

#[test]
fn resources_as_they_are_read_back() {
    let world = furnished();
    let one_id = inside("Microsoft.ManagedIdentity/userAssignedIdentities", "one-id");
    let one_id = world.get(&one_id).body["properties"].clone();
    let vault = world.get(&inside("Microsoft.DataProtection/backupVaults", "vault-one")).body;
    let ids = [
        (one_id["principalId"].as_str().unwrap(), "IDENTITY"),
        (one_id["clientId"].as_str().unwrap(), "CLIENT"),
        (vault["identity"]["principalId"].as_str().unwrap(), "OWN-IDENTITY"),
    ];
    let check = |name: &str, path: &str| {
        let answer = world.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        world.golden(&format!("arm/{name}.json"), &answer.body, &ids);
    };
    let vaults = inside("Microsoft.KeyVault/vaults", "kv-one");
    let hsms = inside("Microsoft.KeyVault/managedHSMs", "hsm-one");
    let deleted = "S/providers/Microsoft.KeyVault/locations/westeurope";
    check("metadata", "/metadata/endpoints?api-version=2022-09-01");
    check("tenants", "/tenants");
    check("subscription", "S");
    check("provider", "S/providers/Microsoft.KeyVault");
    check("resource-group", GROUP);
    check("resources", "S/resources?$expand=createdTime,changedTime,provisioningState");
    check("tag-names", "S/tagNames");
    check("tags", &format!("{vaults}/providers/Microsoft.Resources/tags/default"));
    check("identity", &inside("Microsoft.ManagedIdentity/userAssignedIdentities", "one-id"));
    check("key-vault", &vaults);
    check("key-vault-deleted", &format!("{deleted}/deletedVaults/kv-gone"));
    check("key-vault-key", &format!("{vaults}/keys/k1"));
    check("key-vault-keys", &format!("{vaults}/keys"));
    check("key-vault-key-versions", &format!("{vaults}/keys/k1/versions"));
    check("managed-hsm", &hsms);
    check("managed-hsm-deleted", &format!("{deleted}/deletedManagedHSMs/hsm-gone"));
    check("managed-hsm-key", &format!("{hsms}/keys/k1"));
    check("managed-hsm-regions", &format!("{hsms}/regions"));
    check("managed-hsm-role-definition", &authorization(HSM_HOST, "roleDefinitions", ROLE));
    let own = &world.administrator;
    check("managed-hsm-role-assignment", &authorization(HSM_HOST, "roleAssignments", own));
    check("role-definition-built-in", &authorization("S", "roleDefinitions", READER));
    check("role-definition-custom", &authorization("S", "roleDefinitions", ROLE));
    check("role-assignment", &authorization(GROUP, "roleAssignments", ASSIGNMENT));
    check("management-group", "/providers/Microsoft.Management/managementGroups/top");
    check("audit-destination", &inside("Custody.Audit/destinations", "file"));
    check(
        "diagnostic-setting",
        &format!("{vaults}/providers/Microsoft.Insights/diagnosticSettings/all"),
    );
    let rsv = inside("Microsoft.RecoveryServices/vaults", "rsv-one");
    let encryption = "backupEncryptionConfigs/backupResourceEncryptionConfig";
    check("recovery-services-encryption", &format!("{rsv}/{encryption}"));
    check("recovery-services-config", &format!("{rsv}/backupconfig/vaultconfig"));
    check(
        "recovery-services-storage-config",
        &format!("{rsv}/backupstorageconfig/vaultstorageconfig"),
    );
    // A ring is sealed with randomness of the system's own, never with a test's.
    let random = |path: &str| vault.pointer(path).and_then(Value::as_str).unwrap();
    let (hash, fingerprint) =
        (random("/properties/keyring/hash"), random("/properties/fingerprint"));
    let random = [(hash, "RING-HASH"), (fingerprint, "FINGERPRINT")];
    let ids: Vec<_> = ids.into_iter().chain(random).collect();
    world.golden("arm/backup-vault.json", &vault, &ids);
    let vault = world.get(&rsv).body;
    let random = |path: &str| vault.pointer(path).and_then(Value::as_str).unwrap();
    let ids = [
        (random("/properties/keyring/hash"), "RING-HASH"),
        (random("/properties/fingerprint"), "FINGERPRINT"),
    ];
    world.golden("arm/recovery-services-vault.json", &vault, &ids);
}

#[test]
fn the_roles_have_their_real_names_and_guids() {
    let world = World::new();
    let all = world.get("S/providers/Microsoft.Authorization/roleDefinitions").body;
    let mut names = Map::new();
    for role in all["value"].as_array().unwrap() {
        let name = role["properties"]["roleName"].as_str().unwrap().to_owned();
        assert_eq!(names.insert(name, role["name"].clone()), None);
    }
    world.golden("arm/role-names.json", &Value::Object(names), &[]);
}

#[test]
fn events_as_they_are_read_back() {
    let world = World::new();
    world.make(GROUP, json!({ "location": "westeurope" }));
    world.put(GROUP, json!({ "location": "eastus" }));
    let path = "S/providers/Microsoft.Insights/eventtypes/management/values";
    let body = world.get(&format!("{path}?$filter=resourceGroupName eq 'G'")).body;
    let all = body["value"].as_array().unwrap();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let ids: Vec<(String, String)> = all
        .iter()
        .enumerate()
        .flat_map(|(number, event)| {
            [
                (text(event, "eventDataId"), format!("EVENT-{number}")),
                (text(event, "correlationId"), "CORRELATION".to_owned()),
            ]
        })
        .collect();
    let ids: Vec<(&str, &str)> =
        ids.iter().map(|(found, shown)| (found.as_str(), shown.as_str())).collect();
    world.golden("arm/activity-log.json", &body, &ids);
}

/// A request: method, path, body.
type Asked = (Method, String, Option<Value>);

fn at(properties: Value) -> Value {
    json!({ "location": "westeurope", "properties": properties })
}

/// What cannot be read or written of groups, key vaults and keys.
fn bad_requests() -> Vec<Asked> {
    let vaults = "Microsoft.KeyVault/vaults";
    let named = |name: &str| inside(vaults, name);
    let get = |path: &str| (Method::GET, path.to_owned(), None);
    let put = |path: String, body: Value| (Method::PUT, path, Some(body));
    let new = |properties: Value| (Method::PUT, named("kv-new"), Some(at(properties)));
    let known = named("kv-one");
    let purge = "S/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/kv-gone/purge";
    vec![
        get(&format!("{GROUP}?api-version=")),
        get(&format!("{GROUP}?api-version=soon")),
        get("S/no/such/path/at/all/here"),
        get(&named("a%3Fb")),
        get(&inside("Microsoft.Compute/disks", "d")),
        get("S/providers/Microsoft.Compute"),
        get("/subscriptions/00000000-0000-0000-0000-00000000000f"),
        get("S/resourceGroups/none"),
        get(&named("kv-none")),
        get(&format!("{known}/keys/none")),
        get("S/resources?$filter=colour eq 'red'"),
        get("S/resources?$filter=name"),
        (Method::PUT, named("x"), Some(at(json!({})))),
        put(named("kv-new"), json!({ "properties": {} })),
        put(named("kv-new"), json!({ "location": "Middle Earth" })),
        new(json!({ "enableSoftDelete": 1 })),
        new(json!({ "softDeleteRetentionInDays": 1 })),
        new(json!({ "tenantId": NOBODY })),
        new(json!({ "createMode": "recover" })),
        (Method::PUT, named("hsm-one"), Some(at(json!({})))),
        (Method::PUT, named("kv-gone"), Some(at(json!({})))),
        put(known.clone(), json!({ "location": "eastus", "properties": {} })),
        (Method::PUT, known.clone(), Some(at(json!({ "enablePurgeProtection": false })))),
        put(format!("{known}/keys/k2"), json!({ "properties": { "kty": "DSA" } })),
        (Method::DELETE, format!("{known}/keys/k1"), None),
        put(format!("{known}/privateEndpointConnections/c1"), json!({})),
        (Method::POST, purge.to_owned(), None),
        put(GROUP.to_owned(), json!({ "location": "eastus" })),
        put(
            "S/resourceGroups/H".to_owned(),
            json!({ "location": "eastus", "tags": { "a<": "b" } }),
        ),
    ]
}

/// What cannot be a role or an assignment.
fn bad_roles(world: &World) -> Vec<Asked> {
    let define = |name: &str, properties: Value| {
        let body = json!({ "properties": properties });
        (Method::PUT, authorization("S", "roleDefinitions", name), Some(body))
    };
    let assign = |name: &str, role: &str, principal_type: Option<&str>| {
        let body = json!({ "properties": {
            "roleDefinitionId": role, "principalId": SOMEBODY, "principalType": principal_type,
        } });
        (Method::PUT, authorization(GROUP, "roleAssignments", name), Some(body))
    };
    vec![
        (Method::GET, authorization("S", "roleDefinitions", NOBODY), None),
        define("x", json!({})),
        define(READER, json!({ "roleName": "Reader" })),
        define(NOBODY, json!({ "roleName": " " })),
        define(NOBODY, json!({ "roleName": "R", "permissions": [] })),
        define(NOBODY, json!({ "roleName": "R", "permissions": [{ "actions": ["x y"] }] })),
        define(NOBODY, json!({ "roleName": "R", "permissions": [{}] })),
        define(
            NOBODY,
            json!({
                "roleName": "Owner", "permissions": [{}], "assignableScopes": [world.subscription],
            }),
        ),
        assign("x", READER, None),
        assign(NOBODY, "x", None),
        assign(NOBODY, NOBODY, None),
        assign(NOBODY, READER, Some("ServicePrincipal")),
        (
            Method::PUT,
            authorization(GROUP, "roleAssignments", NOBODY),
            Some(json!({ "properties": { "roleDefinitionId": ROLE, "principalId": NOBODY } })),
        ),
        assign(ASSIGNMENT, ROLE, None),
    ]
}

/// Each error of the control plane that a client can bring about, by its request.
#[test]
fn errors_as_clients_get_them() {
    let world = furnished();
    let mut all = Vec::new();
    for (method, path, body) in bad_requests().into_iter().chain(bad_roles(&world)) {
        let shown = json!({ "request": format!("{method} {path}"), "body": body });
        all.push(with_answer(shown, &world.send(method, &path, body)));
    }
    let nobody = world.application("nobody");
    let token = world.token(&nobody, crate::world::MAIN);
    let vault = inside("Microsoft.KeyVault/vaults", "kv-one");
    let denied = world.send_as(Some(&token), Method::DELETE, &vault, None);
    all.push(with_answer(json!({ "request": "DELETE by nobody" }), &denied));
    let ids = [(nobody.client.as_str(), "CLIENT"), (nobody.object.as_str(), "NOBODY")];
    world.golden("arm/errors.json", &Value::Array(all), &ids);
}

fn with_answer(mut shown: Value, answer: &Answer) -> Value {
    assert!(answer.status >= 400, "{shown}: {answer:?}");
    shown["status"] = answer.status.into();
    shown["answer"] = answer.body.clone();
    shown
}
