//! The activity log: one write is several events with one correlation id.

use http::Method;
use serde_json::{Value, json};

use crate::world::{MAIN, Somebody, World};

const GROUP: &str = "S/resourceGroups/G";
const VAULT: &str = "S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/kv-log";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const KIND: &str = "Microsoft.Resources/subscriptions/resourceGroups";

fn events(world: &World, filter: &str) -> Vec<Value> {
    let path = format!(
        "S/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01&$filter={filter}"
    );
    world.get(&path).body["value"].as_array().unwrap().clone()
}

fn shown(events: &[Value]) -> Vec<(String, String)> {
    let text = |event: &Value, name: &str| event[name]["value"].as_str().unwrap().to_owned();
    events.iter().map(|event| (text(event, "operationName"), text(event, "status"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect()
}

#[test]
fn a_write_starts_and_succeeds() {
    let world = World::new();
    world.make(GROUP, json!({ "location": "eastus" }));
    world.clock.advance(std::time::Duration::from_mins(10));
    world.delete(GROUP);
    let all =
        events(&world, "eventTimestamp ge '2026-03-01T00:00:00Z' and resourceGroupName eq 'g'");
    let (write, delete) = (format!("{KIND}/write"), format!("{KIND}/delete"));
    let expected = [
        (delete.as_str(), "Succeeded"),
        (&delete, "Started"),
        (&write, "Succeeded"),
        (&write, "Started"),
    ];
    assert_eq!(shown(&all), pairs(&expected));
    let (ended, begun) = (&all[2], &all[3]);
    assert_eq!(ended["caller"], "tester");
    assert_eq!(ended["eventName"]["value"], "EndRequest");
    assert_eq!(begun["eventName"]["value"], "BeginRequest");
    assert_eq!(
        ended["subStatus"],
        json!({ "value": "Created", "localizedValue": "Created (HTTP Status Code: 201)" })
    );
    assert_eq!(begun["subStatus"]["value"], "");
    assert_eq!(ended["resourceProviderName"]["value"], "Microsoft.Resources");
    assert_eq!(ended["eventTimestamp"], "2026-03-01T12:00:00Z");
    assert_eq!(ended["resourceGroupName"], "G");
    assert_eq!(ended["correlationId"], begun["correlationId"]);
    assert_ne!(ended["eventDataId"], begun["eventDataId"]);
    let later = "eventTimestamp ge 2026-03-01T12:05:00.1234567 and resourceGroupName eq 'g'";
    assert_eq!(events(&world, later).len(), 2);
    assert_eq!(events(&world, "resourceProvider eq 'Microsoft.KeyVault'").len(), 0);
    let correlation = ended["correlationId"].as_str().unwrap();
    assert_eq!(events(&world, &format!("correlationId eq '{correlation}'")).len(), 2);
    assert_eq!(events(&world, "resourceGroupName eq 'G' and status eq 'succeeded'").len(), 2);
}

#[test]
fn an_operation_is_accepted_and_ends() {
    let world = World::new();
    world.make(GROUP, json!({ "location": "local" }));
    world.make(VAULT, json!({ "location": "local", "properties": {} }));
    assert_eq!(world.delete(GROUP).status, 202);
    world.settle();
    let deleted = events(&world, &format!("operations eq '{KIND}/delete'"));
    let name = format!("{KIND}/delete");
    let expected = [(name.as_str(), "Succeeded"), (&name, "Accepted"), (&name, "Started")];
    assert_eq!(shown(&deleted), pairs(&expected));
    let correlation = deleted[0]["correlationId"].as_str().unwrap();
    let all = events(&world, &format!("correlationId eq '{correlation}'"));
    assert_eq!(all.len(), 5, "what goes with the group bears the same id: {:?}", shown(&all));
}

#[test]
fn a_refused_write_leaves_its_failure() {
    let world = World::new();
    let reader = world.application("reader");
    world.grant("S", READER, &reader.object, 1);
    let token = world.token(&reader, MAIN);
    let body = json!({ "location": "eastus" });
    let denied = world.send_as(Some(&token), Method::PUT, GROUP, Some(body.clone()));
    assert_eq!(denied.error(), (403, "AuthorizationFailed"));
    let failed = events(&world, "resourceGroupName eq 'g' and status eq 'Failed'");
    let name = format!("{KIND}/write");
    assert_eq!(shown(&events(&world, "resourceGroupName eq 'g'")), pairs(&[(&name, "Failed")]));
    assert_eq!(
        (&failed[0]["caller"], &failed[0]["level"]),
        (&json!(reader.client), &json!("Error"))
    );
    assert_eq!(failed[0]["properties"]["statusCode"], "Forbidden");
    let why: Value =
        serde_json::from_str(failed[0]["properties"]["statusMessage"].as_str().unwrap()).unwrap();
    assert_eq!(why["error"]["code"], "AuthorizationFailed");

    world.make(GROUP, body);
    let bad = json!({ "location": "eastus", "properties": { "sku": { "family": "Z" } } });
    assert_eq!(world.put(VAULT, bad).error(), (400, "BadRequest"));
    let vaults = events(&world, "resourceProvider eq 'Microsoft.KeyVault'");
    let name = "Microsoft.KeyVault/vaults/write";
    assert_eq!(shown(&vaults), pairs(&[(name, "Failed"), (name, "Started")]));
    assert_eq!(vaults[0]["subStatus"]["value"], "BadRequest");
    assert_eq!(vaults[0]["correlationId"], vaults[1]["correlationId"]);
    assert_eq!(world.get(VAULT).status, 404, "nothing else of it is kept");
    let reads = events(&world, "operations eq 'Microsoft.KeyVault/vaults/read'");
    assert!(reads.is_empty(), "to look is no write");
}

#[test]
fn nobody_writes_into_the_log_of_another_tenant() {
    let world = World::new();
    let other = world.post("/custody/tenants", json!({ "displayName": "other" })).body;
    let theirs = format!("/subscriptions/{}", other["subscriptionId"].as_str().unwrap());
    let group = format!("{theirs}/resourceGroups/g");
    let refused = world.put(&group, json!({ "location": "eastus" }));
    assert_eq!(refused.error(), (404, "SubscriptionNotFound"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let administrator = &other["administrator"];
    let theirs_own = Somebody {
        client: text(&administrator["clientId"]),
        object: text(&administrator["objectId"]),
        secret: text(&administrator["clientSecret"]),
    };
    let token = world.token_in(&text(&other["tenantId"]), &theirs_own, MAIN);
    let path = format!("{theirs}/providers/Microsoft.Insights/eventtypes/management/values");
    let log = world.send_as(Some(&token), Method::GET, &path, None);
    assert_eq!(log.status, 200, "{}", log.body);
    assert!(!log.body.to_string().contains("resourceGroups"), "{}", log.body);
}

/// Rule 78: the update of encryption settings is in the vault's activity log, under the document's
/// name where it has one.
#[test]
fn an_update_of_encryption_is_in_the_activity_log() {
    let world = World::new();
    world.make(GROUP, json!({ "location": "eastus" }));
    for (kind, local) in [
        ("Microsoft.DataProtection/backupVaults", "Backup Vault update (PATCH)"),
        ("Microsoft.RecoveryServices/vaults", "Microsoft.RecoveryServices/vaults/write"),
    ] {
        let vault = format!("{GROUP}/providers/{kind}/v");
        let made = world.make(&vault, json!({ "location": "eastus" }));
        world.settle();
        let again = world.post(&format!("{vault}/rewrap"), json!({}));
        assert_eq!(again.status, 202, "{again:?}");
        world.settle();
        let id = made["id"].as_str().unwrap();
        let all = events(&world, &format!("resourceUri eq '{id}'"));
        let write = format!("{kind}/write");
        let named = |event: &&Value| event["operationName"]["value"] == write.as_str();
        let ended = all.iter().find(named).unwrap();
        assert_eq!(ended["operationName"]["localizedValue"], local);
        assert_eq!(ended["status"]["value"], "Succeeded", "{ended}");
        let rewrap = format!("{kind}/rewrap/action");
        assert!(all.iter().any(|event| event["operationName"]["value"] == rewrap.as_str()));
    }
}
