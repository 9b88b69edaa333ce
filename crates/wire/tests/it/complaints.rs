//! What users of the originals complain of around keys, and what they meet here instead; the table of
//! docs/rules.md says which complaint each test answers.

use serde_json::{Value, json};

use crate::desk::{
    AUTH_FAILURE, BACKUP, COMPLETED, CRYPTO_OFFICER, Desk, ENCRYPTION_USER, KEY, MISSING, RECOVERY,
    Speaker, end,
};

const PURGE_OFF: &str = "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault";
const SOFT_DELETE_OFF: &str = "UserErrorCMKSoftDeleteNotEnabledOnKeyVault";

/// "Keyvault policy recoverable is not set", "parameter is invalid": a key that is refused says which
/// key vault or key, what of it, and the command that mends it.
#[test]
fn a_refused_key_names_what_is_wrong_and_the_command_that_mends_it() {
    let desk = Desk::new();
    desk.key_vault("kv-wiped", &json!({ "enablePurgeProtection": null }));
    let id = format!("{}/providers/Microsoft.KeyVault/vaults/kv-hard", desk.group);
    let properties = json!({ "enableRbacAuthorization": true, "enableSoftDelete": false });
    let body = json!({ "location": "local", "properties": properties });
    desk.site.put(&id, "2025-05-01", &body);
    desk.grant("kv-hard", CRYPTO_OFFICER, &desk.site.object, 1);
    desk.key_vault("kv-shut", &json!({}));
    desk.key_vault("kv-deaf", &json!({}));
    let rsa = json!({ "kty": "RSA", "key_size": 2048 });
    for holder in ["kv-wiped", "kv-hard", "kv-shut", "kv-deaf"] {
        desk.key(holder, "k", &rsa);
    }
    let disabled = desk.key("kv1", "off", &rsa);
    desk.set(&disabled, json!({ "enabled": false }));
    let walls = json!({ "bypass": "None", "defaultAction": "Deny" });
    desk.key_vault("kv-shut", &json!({ "networkAcls": walls }));
    for holder in ["kv1", "kv-wiped", "kv-hard", "kv-shut"] {
        desk.admit(holder);
    }
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "told");
        for (key, code, named, mends) in [
            ("kv-wiped/k", PURGE_OFF, "kv-wiped", "--enable-purge-protection"),
            ("kv-hard/k", SOFT_DELETE_OFF, "kv-hard", "enableSoftDelete"),
            ("kv-shut/k", AUTH_FAILURE, "kv-shut", "--default-action Allow"),
            ("kv-deaf/k", MISSING, "kv-deaf", "role assignment create"),
            ("kv-none/k", AUTH_FAILURE, "kv-none", "keyvault recover"),
            ("kv1/none", AUTH_FAILURE, "none", "key recover"),
            ("kv1/off", "UserErrorCMKKeyDisabled", "off", "--enabled true"),
        ] {
            let (holder, name) = key.split_once('/').unwrap();
            let uri = format!("https://{holder}.vault.custody.localhost/keys/{name}");
            let refused = desk.encrypt(&vault, &uri, Speaker::User);
            assert_eq!(refused.as_deref(), Some(code), "{kind} {key}");
            let error = desk.get(&vault)["properties"]["encryptionError"].clone();
            for (part, expected) in [("message", named), ("fix", named), ("fix", mends)] {
                let text = error[part].as_str().unwrap_or_default();
                assert!(text.contains(expected), "{kind} {key}: {expected} in {part} of {error}");
            }
        }
    }
}

/// A Deny policy or Terraform that knows but one request, and identities "not valid" for their
/// spelling: the key comes with the request that makes the vault, in whatever case identifiers are
/// written, and the same request again changes nothing.
#[test]
fn one_request_makes_a_vault_under_its_key_however_its_identity_is_spelled() {
    let desk = Desk::new();
    desk.admit("kv1");
    let shouted = desk.identity.0.replace("resourceGroups", "resourcegroups").to_uppercase();
    for (number, id) in (1..).zip([desk.identity.0.clone(), shouted]) {
        for kind in [BACKUP, RECOVERY] {
            let vault = format!("{}/providers/{kind}/at-once-{number}", desk.group);
            let key = json!({ "keyUri": KEY });
            let properties = if kind == RECOVERY {
                json!({ "encryption": {
                    "keyVaultProperties": key, "kekIdentity": { "userAssignedIdentity": id },
                    "infrastructureEncryption": "Enabled",
                } })
            } else {
                json!({ "securitySettings": { "encryptionSettings": {
                    "state": "Enabled", "keyVaultProperties": key,
                    "kekIdentity": { "identityType": "UserAssigned", "identityId": id },
                    "infrastructureEncryption": "Enabled",
                } } })
            };
            let identity =
                json!({ "type": "UserAssigned", "userAssignedIdentities": { id.clone(): {} } });
            let body = json!({
                "location": "local", "identity": identity, "properties": properties,
                "sku": { "name": "Standard" }, "tags": { "by": "one request" },
            });
            for _ in 0..2 {
                desk.site.put(&vault, "2025-02-01", &body);
                desk.site.server.finish();
                let shown = desk.get(&vault);
                assert_eq!(shown["properties"]["provisioningState"], "Succeeded", "{shown}");
                assert_eq!(shown["tags"]["by"], "one request");
                let wraps = desk.wraps(&vault);
                assert!(wraps.iter().all(|wrap| wrap.starts_with(KEY)), "{wraps:?}");
            }
        }
    }
}

/// The own identity at creation: refused at once by a code that says why, nothing half made stays,
/// and the two requests that it takes go through.
#[test]
fn an_own_identity_at_creation_is_refused_with_the_way_that_works() {
    let desk = Desk::new();
    for kind in [BACKUP, RECOVERY] {
        let vault = format!("{}/providers/{kind}/own", desk.group);
        let key = json!({ "keyUri": KEY });
        let properties = if kind == RECOVERY {
            let own = json!({ "useSystemAssignedIdentity": true });
            json!({ "encryption": { "keyVaultProperties": key, "kekIdentity": own } })
        } else {
            let own = json!({ "identityType": "SystemAssigned" });
            let settings =
                json!({ "state": "Enabled", "keyVaultProperties": key, "kekIdentity": own });
            json!({ "securitySettings": { "encryptionSettings": settings } })
        };
        let mut body = json!({
            "location": "local", "identity": { "type": "SystemAssigned" },
            "properties": properties, "sku": { "name": "Standard" },
        });
        let path = format!("{vault}?api-version=2025-02-01");
        let put = |body: &Value| {
            let answer = desk.site.ask("PUT", &path, None, body.clone());
            desk.site.server.finish();
            answer
        };
        let refused = put(&body);
        let error = &refused.body["error"];
        let code = "UserErrorCMKSystemAssignedIdentityAtCreation";
        assert_eq!((refused.status, &error["code"]), (400, &json!(code)), "{refused:?}");
        assert!(refused.body.to_string().contains("enable the key afterwards"), "{refused:?}");
        assert_eq!(desk.site.ask("GET", &path, None, Value::Null).status, 404);
        let asked = body["properties"].take();
        body["properties"] = json!({});
        assert!(put(&body).status < 300);
        let principal = desk.get(&vault)["identity"]["principalId"].as_str().unwrap().to_owned();
        let grant = desk.grant("kv1", ENCRYPTION_USER, &principal, 7);
        body["properties"] = asked;
        assert!(put(&body).status < 300);
        assert!(desk.wraps(&vault).iter().any(|wrap| wrap.starts_with(KEY)), "{kind}");
        desk.revoke(&grant);
    }
}

/// "Vault cannot be deleted": what blocks it is listed by name, what goes by itself with the time when
/// it does, and then it goes. The key is asked for nothing.
#[test]
fn what_blocks_the_deletion_of_a_vault_is_listed_with_the_time_when_it_goes() {
    let desk = Desk::new();
    let grant = desk.admit("kv1");
    let vault = desk.vault(BACKUP, "held");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let second = item.replace("/docs", "/letters");
    let mut body = desk.get(&item)["properties"].clone();
    body["friendlyName"] = "letters".into();
    body["dataSourceInfo"]["resourceName"] = "letters".into();
    desk.site.put(&second, "2025-02-01", &json!({ "properties": body }));
    desk.revoke(&grant);
    let delete = |path: &str| {
        let answer =
            desk.site.ask("DELETE", &format!("{path}?api-version=2025-02-01"), None, Value::Null);
        desk.site.server.finish();
        answer
    };
    let blocked = |expected: &str| {
        let answer = delete(&vault);
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (409, &json!("VaultHoldsItems"))
        );
        let text = answer.body["error"]["message"].as_str().unwrap();
        assert!(text.contains(expected), "{text}");
    };
    blocked("holds 2 item(s): docs, letters");
    assert_eq!(delete(&item).status, 200);
    blocked("docs (soft-deleted, gone at 2027-01-29T08:00:00Z)");
    assert!(delete(&second).status < 300);
    blocked("holds 1 item(s): docs (soft-deleted, gone at 2027-01-29T08:00:00Z)");
    desk.site.clock.advance(std::time::Duration::from_hours(14 * 24));
    desk.site.server.housekeep();
    desk.site.server.finish();
    assert_eq!(delete(&vault).status, 202);
    assert_eq!(
        desk.site.ask("GET", &format!("{vault}?api-version=2025-02-01"), None, Value::Null).status,
        404
    );
}
