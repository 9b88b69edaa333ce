//! What holds for every request: versions, locations, tags, casing, errors.

use serde_json::json;

use crate::world::World;

const KEY_VAULT: &str = "S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/Kv-1";

#[test]
fn requests_that_say_too_little_or_too_much_are_refused() {
    let world = World::new();
    world.put("S/resourceGroups/G", json!({ "location": "eastus" }));
    let version = |version: &str| world.get(&format!("S?api-version={version}"));
    assert_eq!(version("").error(), (400, "MissingApiVersionParameter"));
    assert_eq!(version("soon").error(), (400, "InvalidApiVersionParameter"));
    let at = |location: &str| json!({ "location": location, "properties": {} });
    let refused = world.put(KEY_VAULT, at("Middle Earth"));
    assert_eq!(refused.error(), (400, "LocationNotAvailableForResourceType"));
    let elsewhere = KEY_VAULT.replace("/G/", "/H/");
    assert_eq!(world.put(&elsewhere, at("eastus")).error(), (404, "ResourceGroupNotFound"));
    assert_eq!(world.put(KEY_VAULT, json!({})).error(), (400, "LocationRequired"));
    let absent = world.get(KEY_VAULT);
    assert_eq!(absent.error(), (404, "ResourceNotFound"));
    assert_eq!(
        absent.body["error"]["message"],
        "The Resource 'Microsoft.KeyVault/vaults/Kv-1' under resource group 'G' was not found. \
         For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    );
}

#[test]
fn names_keep_their_case_and_words_get_the_servers() {
    let world = World::new();
    world.put("S/resourcegroups/G", json!({ "location": "eastus" }));
    let path = "S/resourcegroups/G/providers/microsoft.keyvault//VAULTS/Kv-1";
    let made = world.put(path, json!({ "location": "East US", "properties": {} }));
    assert_eq!(made.status, 201, "{}", made.body);
    let id = KEY_VAULT.replacen('S', &world.subscription, 1);
    assert_eq!(made.body["id"], id);
    assert_eq!(made.body["location"], "eastus");
    assert_eq!(world.get(&KEY_VAULT.to_uppercase().replace("/KV-1", "/kv-1")).body["id"], id);
}

#[test]
fn what_can_be_sent_to_audit_destinations_is_listed() {
    let world = World::new();
    let vault = "S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv-sent";
    let properties = json!({ "enableRbacAuthorization": true });
    world.make(vault, json!({ "location": "eastus", "properties": properties }));
    let categories = "providers/Microsoft.Insights/diagnosticSettingsCategories";
    let id = vault.replacen('S', &world.subscription, 1);
    let audit_event = json!({
        "id": format!("{id}/{categories}/AuditEvent"),
        "name": "AuditEvent",
        "type": "Microsoft.Insights/diagnosticSettingsCategories",
        "properties": { "categoryType": "Logs", "categoryGroups": ["audit", "allLogs"] },
    });
    let all = world.get(&format!("{vault}/{categories}")).body;
    assert_eq!(all, json!({ "value": [audit_event] }));
    let one = world.get(&format!("{vault}/{}/auditevent", categories.to_lowercase())).body;
    assert_eq!(one, audit_event);
    let unknown = world.get(&format!("{vault}/{categories}/AllMetrics"));
    assert_eq!(unknown.error(), (404, "ResourceNotFound"));
    let nowhere = world.get(&format!("{vault}-not/{categories}"));
    assert_eq!(nowhere.error(), (404, "ResourceNotFound"));
}

#[test]
fn metadata_needs_no_subscription() {
    let world = World::new();
    let answer = world.get("/metadata/endpoints?api-version=2022-09-01").body;
    assert_eq!(answer["authentication"]["loginEndpoint"], "https://custody.localhost");
    assert_eq!(answer["suffixes"]["keyVaultDns"], "vault.custody.localhost");
}
