//! Keys in the control plane.

use http::Method;
use serde_json::{Value, json};

use crate::world::{MAIN, World};

const VAULT: &str = "S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv-keys";
const HSM: &str = "S/resourceGroups/custody/providers/Microsoft.KeyVault/managedHSMs/hsm-keys";
const KEY_VAULT_CONTRIBUTOR: &str = "f25e0fa2-a7c8-4377-a976-54943a77a395";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
const EVENTS: &str = "S/providers/Microsoft.Insights/eventtypes/management/values";

fn with_vault(properties: Value) -> World {
    let world = World::new();
    world.make(VAULT, json!({ "location": "westeurope", "properties": properties }));
    world
}

fn key(properties: Value) -> Value {
    json!({ "properties": properties, "tags": { "team": "a" } })
}

#[test]
fn a_key_is_made_once_and_shown() {
    let world = with_vault(json!({}));
    let path = format!("{VAULT}/keys/First-Key");
    let made = world.put(&path, key(json!({ "kty": "RSA", "keySize": 2048 })));
    assert_eq!(made.status, 200, "{}", made.body);
    let shown = &made.body["properties"];
    let version = shown["keyUriWithVersion"].as_str().unwrap().rsplit('/').next().unwrap();
    let key_uri = "https://kv-keys.vault.custody.localhost/keys/First-Key";
    assert_eq!(
        made.body,
        json!({
            "id": path.replacen('S', &world.subscription, 1),
            "name": "First-Key",
            "type": "Microsoft.KeyVault/vaults/keys",
            "location": "westeurope",
            "tags": { "team": "a" },
            "properties": {
                "attributes": {
                    "enabled": true,
                    "created": 1_772_366_400,
                    "updated": 1_772_366_400,
                    "recoveryLevel": "Recoverable+Purgeable",
                    "exportable": false,
                },
                "kty": "RSA",
                "keyOps": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
                "keySize": 2048,
                "keyUri": key_uri,
                "keyUriWithVersion": format!("{key_uri}/{version}"),
            },
        })
    );
    let others = [json!({ "kty": "EC" }), json!({ "kty": "RSA", "keySize": 4096 })];
    for other in others {
        assert_eq!(world.put(&path, key(other)).body, made.body, "what is there stays as it is");
    }
    assert_eq!(world.get(&path.to_uppercase()).body, made.body);
    let versions = world.get(&format!("{path}/versions")).body;
    let one = &versions["value"][0];
    assert_eq!(versions["value"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&one["name"], &one["type"]),
        (&json!(version), &json!("Microsoft.KeyVault/vaults/keys/versions"))
    );
    assert_eq!(one["properties"]["keyUriWithVersion"], shown["keyUriWithVersion"]);
    let by_version = world.get(&format!("{path}/versions/{version}")).body;
    assert_eq!((&by_version["id"], &by_version["properties"]["kty"]), (&one["id"], &json!("RSA")));
    assert_eq!(world.names(&format!("{VAULT}/keys")), ["First-Key"]);
}

#[test]
fn a_key_is_made_as_it_is_asked_for() {
    let world =
        with_vault(json!({ "softDeleteRetentionInDays": 7, "enablePurgeProtection": true }));
    let policy = json!({
        "attributes": { "expiryTime": "P2Y" },
        "lifetimeActions": [
            { "trigger": { "timeAfterCreate": "P18M" }, "action": { "type": "rotate" } },
        ],
    });
    let body = key(json!({
        "kty": "EC-HSM",
        "curveName": "P-384",
        "keyOps": ["sign"],
        "attributes": { "enabled": "false", "nbf": 1_800_000_000, "exp": 1_900_000_000 },
        "rotationPolicy": policy,
    }));
    let shown = world.make(&format!("{VAULT}/keys/ec"), body)["properties"].clone();
    assert_eq!(shown["attributes"]["enabled"], false, "booleans may be text");
    assert_eq!(shown["attributes"]["recoveryLevel"], "CustomizedRecoverable");
    assert_eq!((&shown["kty"], &shown["curveName"]), (&json!("EC-HSM"), &json!("P-384")));
    assert_eq!(
        (&shown["keyOps"], &shown["attributes"]["exp"]),
        (&json!(["sign"]), &json!(1_900_000_000))
    );
    assert_eq!(shown.get("keySize"), None);
    let kept = &shown["rotationPolicy"];
    assert_eq!(kept["lifetimeActions"], policy["lifetimeActions"]);
    assert_eq!(kept["attributes"]["expiryTime"], "P2Y");
    let check = |body: Value, expected: (u16, &str)| {
        let answer = world.put(&format!("{VAULT}/keys/other"), body);
        assert_eq!(answer.error(), expected, "{}", answer.body);
    };
    check(json!({}), (400, "InvalidRequestContent"));
    check(key(json!({ "kty": "RSA", "keySize": 1024 })), (400, "BadParameter"));
    check(key(json!({ "kty": "oct-HSM" })), (400, "BadParameter"));
    check(
        key(json!({ "kty": "RSA", "attributes": { "enabled": "yes" } })),
        (400, "InvalidRequestContent"),
    );
    let short = json!({ "attributes": { "expiryTime": "P1D" } });
    check(key(json!({ "kty": "RSA", "rotationPolicy": short })), (400, "BadParameter"));
    assert_eq!(world.get(&format!("{VAULT}/keys/other")).error(), (404, "KeyNotFound"));
    let name = world.put(&format!("{VAULT}/keys/not_a_name"), key(json!({ "kty": "RSA" })));
    assert_eq!(name.error(), (400, "InvalidResourceId"));
    for method in [Method::PATCH, Method::DELETE] {
        let answer = world.send(method, &format!("{VAULT}/keys/ec"), Some(json!({})));
        assert_eq!(answer.error(), (405, "MethodNotAllowed"));
    }
    let elsewhere = VAULT.replace("kv-keys", "kv-none");
    assert_eq!(world.get(&format!("{elsewhere}/keys")).error(), (404, "ResourceNotFound"));
}

#[test]
fn roles_of_the_control_plane_decide_and_no_others() {
    // Nobody passes the firewall, and the data plane grants nothing: neither is asked.
    let acls = json!({ "bypass": "None", "defaultAction": "Deny" });
    let world = with_vault(json!({ "networkAcls": acls, "enableRbacAuthorization": true }));
    let (manager, reader, officer) =
        (world.application("manager"), world.application("reader"), world.application("officer"));
    world.grant("S", KEY_VAULT_CONTRIBUTOR, &manager.object, 1);
    world.grant(VAULT, READER, &reader.object, 2);
    world.grant(VAULT, CRYPTO_OFFICER, &officer.object, 3);
    let path = format!("{VAULT}/keys/k1");
    let body = key(json!({ "kty": "RSA" }));
    let check = |who, method: Method, path: &str, expected: u16| {
        let token = world.token(who, MAIN);
        let asked = (method == Method::PUT).then(|| body.clone());
        let answer = world.send_as(Some(&token), method.clone(), path, asked);
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        answer
    };
    for somebody in [&reader, &officer] {
        check(somebody, Method::PUT, &path, 403);
    }
    check(&manager, Method::PUT, &path, 200);
    check(&reader, Method::GET, &path, 200);
    check(&reader, Method::GET, &format!("{path}/versions"), 200);
    let denied = check(&world.application("nobody"), Method::GET, &path, 403);
    assert_eq!(denied.error(), (403, "AuthorizationFailed"));
    let data_plane =
        world.send(Method::GET, "https://kv-keys.vault.custody.localhost/keys/k1", None);
    assert_eq!(data_plane.status, 403, "{}", data_plane.body);
}

#[test]
fn what_is_done_to_keys_is_on_the_ledger_and_in_the_activity_log() {
    let world = with_vault(json!({ "enableRbacAuthorization": true }));
    let path = format!("{VAULT}/keys/k1");
    world.make(&path, key(json!({ "kty": "RSA" })));
    let record = |name: &str, result: &str, status| (name.to_owned(), result.to_owned(), status);
    let created = record("KeyCreateIfNotExist", "Success", 200);
    assert_eq!(world.ledger(2), [record("KeyRotationPolicyGet", "Success", 200), created]);
    assert_eq!(world.get(&format!("{VAULT}/keys/none")).status, 404);
    assert_eq!(world.ledger(1), [record("KeyGet", "Failure", 404)]);
    world.get(&format!("{VAULT}/keys"));
    assert_eq!(world.ledger(1), [record("KeyList", "Success", 200)]);
    let host = "https://kv-keys.vault.custody.localhost";
    world.grant(VAULT, CRYPTO_OFFICER, &world.administrator, 1);
    assert_eq!(world.delete(&format!("{host}/keys/k1?api-version=7.6")).status, 200);
    let again = world.put(&path, key(json!({ "kty": "RSA" })));
    assert_eq!(again.error(), (409, "ObjectIsDeletedButRecoverable"));
    let events = world.get(&format!(
        "{EVENTS}?$filter=resourceUri eq '{}'",
        path.replacen('S', &world.subscription, 1)
    ));
    let events: Vec<(&str, &str)> = events.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["operationName"]["value"].as_str().unwrap(),
                one["status"]["value"].as_str().unwrap(),
            )
        })
        .collect();
    let write = "Microsoft.KeyVault/vaults/keys/write";
    assert_eq!(
        events,
        [(write, "Failed"), (write, "Started"), (write, "Succeeded"), (write, "Started")]
    );
}

#[test]
fn lists_of_keys_have_pages() {
    let world = with_vault(json!({}));
    for number in 0..27 {
        world.make(&format!("{VAULT}/keys/k{number:02}"), key(json!({ "kty": "EC" })));
    }
    let first = world.get(&format!("{VAULT}/keys")).body;
    assert_eq!(first["value"].as_array().unwrap().len(), 25);
    let item = &first["value"][0];
    assert_eq!(item["name"], "k00");
    assert_eq!(item["properties"]["keyUri"], "https://kv-keys.vault.custody.localhost/keys/k00");
    assert_eq!(item["properties"].get("keyUriWithVersion"), None);
    assert_eq!(world.names(first["nextLink"].as_str().unwrap()), ["k25", "k26"]);
    let wrong = world.get(&format!("{VAULT}/keys?$skiptoken=%25"));
    assert_eq!(wrong.error(), (400, "InvalidRequestContent"));
}

#[test]
fn a_managed_hsm_has_keys_in_the_control_plane_too() {
    let world = World::new();
    let hsm = json!({
        "location": "eastus",
        "sku": { "family": "B", "name": "Standard_B1" },
        "properties": { "initialAdminObjectIds": [world.administrator] },
    });
    world.make(HSM, hsm);
    let path = format!("{HSM}/keys/k1");
    let made = world.make(&path, key(json!({ "kty": "oct-HSM", "keySize": 256 })));
    assert_eq!(made["type"], "Microsoft.KeyVault/managedHSMs/keys");
    assert_eq!(made["properties"]["kty"], "oct-HSM");
    let key_uri = "https://hsm-keys.managedhsm.custody.localhost/keys/k1";
    assert_eq!(made["properties"]["keyUri"], key_uri);
    let versions = world.get(&format!("{path}/versions")).body;
    assert_eq!(versions["value"][0]["type"], "Microsoft.KeyVault/managedHSMs/keys/versions");
    assert_eq!(
        world.get(&format!("{key_uri}?api-version=7.6")).status,
        403,
        "not in the data plane"
    );
}
