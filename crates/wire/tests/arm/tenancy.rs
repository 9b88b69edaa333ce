//! Tenants, subscriptions, locations, providers, groups, resources and tags.

use custody_wire::Region;
use http::Method;
use serde_json::{Value, json};

use crate::world::{MAIN, World};

const KEY_VAULTS: &str = "S/resourceGroups/G/providers/Microsoft.KeyVault/vaults";

fn with_group() -> World {
    let world = World::new();
    world.put("S/resourcegroups/G", json!({ "location": "West Europe", "tags": { "team": "a" } }));
    world
}

#[test]
fn a_subscription_is_shown_in_its_own_shape() {
    let world = World::new();
    let id = world.subscription.rsplit('/').next().unwrap().to_owned();
    let expected = json!({
        "id": world.subscription,
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": world.tenant,
        "displayName": "custody",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "Custody",
            "spendingLimit": "Off",
        },
    });
    assert_eq!(world.get("S").body, expected);
    assert_eq!(world.get("/subscriptions").body, json!({ "value": [expected] }));
    let tenants = world.get("/tenants").body;
    assert_eq!(tenants["value"][0]["tenantId"], world.tenant.as_str());
    assert_eq!(tenants["value"][0]["id"], format!("/tenants/{}", world.tenant));
    let absent = world.get("/subscriptions/00000000-0000-0000-0000-00000000000f");
    assert_eq!(absent.error(), (404, "SubscriptionNotFound"));
}

#[test]
fn nobody_learns_which_subscriptions_there_are() {
    let world = World::new();
    let other = world.post("/custody/tenants", json!({ "displayName": "other" })).body;
    let foreign = other["subscriptionId"].as_str().unwrap();
    let absent = "00000000-0000-0000-0000-00000000000f";
    let nobody = world.token(&world.application("nobody"), MAIN);
    let providers = "/providers/Microsoft.KeyVault";
    for rest in [
        "",
        "/locations",
        "/resources",
        "/resources?$filter=resourceType eq 'Microsoft.KeyVault/vaults'",
        "/resourceGroups",
        "/resourceGroups?$filter=tagName eq 'a'",
        "/resourceGroups/custody",
        "/resourceGroups/custody/resources",
        "/tagNames",
        "/providers",
        providers,
        "/providers/Microsoft.KeyVault/vaults",
        "/providers/Microsoft.KeyVault/managedHSMs",
        "/providers/Microsoft.KeyVault/deletedVaults",
        "/providers/Microsoft.KeyVault/deletedManagedHSMs",
        "/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv1",
        "/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv1",
        "/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv1/keys",
        "/providers/Microsoft.DataProtection/backupVaults",
        "/providers/Microsoft.Authorization/permissions",
        "/providers/Microsoft.Authorization/roleAssignments",
        "/providers/Microsoft.Authorization/roleDefinitions",
        "/providers/Microsoft.Insights/eventtypes/management/values",
    ] {
        // The administrator has rights at the root, the other one has none anywhere.
        for token in [None, Some(nobody.as_str())] {
            let ask = |subscription: &str| {
                let path = format!("/subscriptions/{subscription}{rest}");
                let answer = world.send_as(token, Method::GET, &path, None);
                assert_eq!(answer.error(), (404, "SubscriptionNotFound"), "{path}");
                answer.body.to_string().replace(subscription, "")
            };
            assert_eq!(ask(foreign), ask(absent), "{rest}");
        }
    }
    let check_name = format!("{providers}/checkNameAvailability");
    for (method, rest) in [
        (Method::POST, check_name.as_str()),
        (Method::PUT, "/resourceGroups/g"),
        (Method::DELETE, "/resourceGroups/custody"),
        (Method::POST, "/providers/Microsoft.KeyVault/register"),
    ] {
        for subscription in [foreign, absent] {
            let path = format!("/subscriptions/{subscription}{rest}");
            let body = json!({ "location": "eastus", "name": "kv1" });
            for token in [None, Some(nobody.as_str())] {
                let answer = world.send_as(token, method.clone(), &path, Some(body.clone()));
                assert_eq!(answer.error(), (404, "SubscriptionNotFound"), "{method} {path}");
            }
        }
    }
}

#[test]
fn locations_are_those_of_azure_and_ones_own() {
    let world = World::new();
    let all = world.get("S/locations").body;
    let named = |name: &str| {
        all["value"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!(
        named("eastus"),
        json!({
            "id": format!("{}/locations/eastus", world.subscription),
            "name": "eastus",
            "type": "Region",
            "displayName": "East US",
            "regionalDisplayName": "(US) East US",
            "metadata": {
                "regionType": "Physical",
                "regionCategory": "Other",
                "geography": "United States",
                "geographyGroup": "US",
                "pairedRegion": [
                    { "name": "westus", "id": format!("{}/locations/westus", world.subscription) },
                ],
            },
        })
    );
    assert_eq!(named("local")["metadata"]["regionCategory"], "Recommended");
}

#[test]
fn configured_locations_hold_resources_and_have_a_geography() {
    let home = Region::own("My Region 1", None, None).unwrap();
    let europe = Region::own("europehall", Some("The Hall"), Some("Europe")).unwrap();
    let world = World::with_locations(vec![home, europe]);
    let all = world.get("S/locations").body;
    let named = |name: &str| {
        all["value"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let (home, hall) = (named("myregion1"), named("europehall"));
    assert_eq!(
        (&home["displayName"], &home["metadata"]["geography"]),
        (&json!("My Region 1"), &json!("myregion1"))
    );
    assert_eq!(
        (&hall["displayName"], &hall["metadata"]["geography"]),
        (&json!("The Hall"), &json!("Europe"))
    );
    assert_eq!(hall["metadata"]["regionCategory"], "Recommended");
    let provider = world.get("S/providers/Microsoft.KeyVault").body.to_string();
    assert!(provider.contains("The Hall"), "{provider}");
    world.make("S/resourceGroups/G", json!({ "location": "My Region 1" }));
    for (name, location, normal) in [
        ("kv-home", "my region 1", "myregion1"),
        ("kv-hall", "EuropeHall", "europehall"),
        ("kv-west", "West Europe", "westeurope"),
    ] {
        let properties = json!({ "enableRbacAuthorization": true });
        let body = json!({ "location": location, "properties": properties });
        assert_eq!(world.make(&format!("{KEY_VAULTS}/{name}"), body)["location"], normal);
        let officer = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
        world.grant(&format!("{KEY_VAULTS}/{name}"), officer, &world.administrator, 1);
    }
    let host = |name: &str| format!("https://{name}.vault.custody.localhost/keys");
    let version = "api-version=7.6";
    let key = json!({ "kty": "EC" });
    let made = world.post(&format!("{}/k1/create?{version}", host("kv-hall")), key);
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.headers["x-ms-keyvault-region"], "europehall");
    let refused = world.get(&format!("{}/absent?{version}", host("kv-west")));
    assert_eq!(refused.headers["x-ms-keyvault-region"], "westeurope");
    let blob = world.post(&format!("{}/k1/backup?{version}", host("kv-hall")), json!({})).body;
    let restored =
        |name: &str| world.post(&format!("{}/restore?{version}", host(name)), blob.clone()).status;
    assert_eq!(restored("kv-home"), 400, "another geography");
    assert_eq!(restored("kv-west"), 200, "the same geography");
}

#[test]
fn providers_come_from_the_registry() {
    let world = World::new();
    for (method, path) in [
        (Method::GET, "S/providers/microsoft.keyvault"),
        (Method::POST, "S/providers/Microsoft.KeyVault/register"),
    ] {
        let shown = world.send(method, path, None).body;
        assert_eq!(shown["namespace"], "Microsoft.KeyVault");
        assert_eq!(shown["registrationState"], "Registered");
        let types = shown["resourceTypes"].as_array().unwrap();
        let vaults = types.iter().find(|one| one["resourceType"] == "vaults").unwrap();
        assert!(vaults["locations"].as_array().unwrap().contains(&"West Europe".into()));
        assert!(vaults["apiVersions"].as_array().unwrap().contains(&"2026-02-01".into()));
    }
    let absent = world.get("S/providers/Microsoft.Nothing");
    assert_eq!(absent.error(), (404, "InvalidResourceNamespace"));
    let all = world.get("S/providers").body;
    let spaces: Vec<&str> = all["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["namespace"].as_str().unwrap())
        .collect();
    assert!(spaces.contains(&"Microsoft.ManagedIdentity"), "{spaces:?}");
}

#[test]
fn a_group_is_made_found_and_removed() {
    let world = World::new();
    let body = json!({ "location": "East US" });
    let created = world.put("S/resourcegroups/My-Group", body.clone());
    assert_eq!(created.status, 201);
    assert_eq!(
        created.body,
        json!({
            "id": format!("{}/resourceGroups/My-Group", world.subscription),
            "name": "My-Group",
            "type": "Microsoft.Resources/resourceGroups",
            "location": "eastus",
            "tags": {},
            "properties": { "provisioningState": "Succeeded" },
        })
    );
    assert_eq!(world.put("S/resourceGroups/my-group", body).status, 200);
    assert_eq!(world.get("S/RESOURCEGROUPS/MY-GROUP").body["name"], "My-Group");
    assert_eq!(world.send(Method::HEAD, "S/resourcegroups/my-group", None).status, 204);
    assert_eq!(world.send(Method::HEAD, "S/resourcegroups/other", None).status, 404);
    let moved = world.put("S/resourcegroups/my-group", json!({ "location": "westus" }));
    assert_eq!(moved.error(), (409, "InvalidResourceGroupLocation"));
    let patched = world.send(
        Method::PATCH,
        "S/resourcegroups/my-group",
        Some(json!({ "tags": { "team": "b" } })),
    );
    assert_eq!((patched.status, &patched.body["tags"]), (200, &json!({ "team": "b" })));
    world.put("S/resourcegroups/second", json!({ "location": "westus", "tags": { "team": "c" } }));
    let check = |filter: &str, expected: &[&str]| {
        let path = format!("S/resourcegroups?$filter={filter}");
        assert_eq!(world.names(&path), expected, "{filter}");
    };
    check("tagName eq 'team' and tagValue eq 'b'", &["My-Group"]);
    check("tagName eq 'TEAM'", &["My-Group", "second"]);
    check("tagName eq 'none'", &[]);
    assert_eq!(world.names("S/resourcegroups"), ["custody", "My-Group", "second"]);
    assert_eq!(world.delete("S/resourcegroups/second").status, 200);
    assert_eq!(world.delete("S/resourcegroups/second").status, 204);
    let absent = world.get("S/resourcegroups/second");
    assert_eq!(absent.error(), (404, "ResourceGroupNotFound"));
    assert_eq!(absent.headers["x-ms-failure-cause"], "gateway");
}

#[test]
fn resources_are_found_by_filter() {
    let world = with_group();
    for (name, tags) in [("kv-one", json!({ "env": "test" })), ("kv-two", json!({}))] {
        let body = json!({ "location": "westeurope", "tags": tags, "properties": {} });
        assert_eq!(world.put(&format!("{KEY_VAULTS}/{name}"), body).status, 201);
    }
    let check = |filter: &str, expected: &[&str]| {
        let path = format!("S/resources?$filter={filter}&api-version=2015-11-01");
        assert_eq!(world.names(&path), expected, "{filter}");
    };
    check("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'KV-ONE'", &["kv-one"]);
    check("resourceType eq 'microsoft.keyvault/vaults'", &["kv-one", "kv-two"]);
    check("resourceType ne 'microsoft.keyvault/vaults'", &[]);
    check("resourceGroup eq 'g' and location eq 'West Europe'", &["kv-one", "kv-two"]);
    check("substringof('two', name)", &["kv-two"]);
    check("tagName eq 'env' and tagValue eq 'test'", &["kv-one"]);
    check("name eq 'kv-three'", &[]);
    let refused = world.get("S/resources?$filter=colour eq 'red'");
    assert_eq!(refused.error(), (400, "InvalidFilterInQueryString"));
    let shown =
        world.get("S/resourceGroups/g/resources?$expand=createdTime,provisioningState").body;
    assert_eq!(
        shown["value"][0],
        json!({
            "id": format!("{}/resourceGroups/G/providers/Microsoft.KeyVault/vaults/kv-one", world.subscription),
            "name": "kv-one",
            "type": "Microsoft.KeyVault/vaults",
            "location": "westeurope",
            "sku": { "family": "A", "name": "standard" },
            "tags": { "env": "test" },
            "createdTime": "2026-03-01T12:00:00Z",
            "provisioningState": "Succeeded",
        })
    );
    let first = world.get("S/resources?$top=1&$filter=resourceGroup eq 'g'").body;
    let link = first["nextLink"].as_str().unwrap();
    assert_eq!(world.names(link), ["kv-two"]);
    assert_eq!(world.get(link).body.get("nextLink"), None);
    let tags = world.get("S/tagNames").body;
    let shown: Vec<(&str, &Value)> = tags["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["tagName"].as_str().unwrap(), &one["values"][0]["tagValue"]))
        .collect();
    assert_eq!(shown, [("env", &json!("test")), ("team", &json!("a"))]);
}

#[test]
fn tags_are_read_and_changed_by_themselves() {
    let world = with_group();
    world.put(&format!("{KEY_VAULTS}/kv-one"), json!({ "location": "westeurope" }));
    for place in ["S/resourceGroups/G", &format!("{KEY_VAULTS}/kv-one")] {
        let path = format!("{place}/providers/Microsoft.Resources/tags/default");
        let check = |method: Method, body: Value, expected: Value| {
            let answer = world.send(method, &path, Some(body));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.body["properties"]["tags"], expected);
            assert_eq!(world.get(&path).body, answer.body);
            assert_eq!(world.get(place).body["tags"], expected);
        };
        let tags = |operation: &str, tags: Value| json!({ "operation": operation, "properties": { "tags": tags } });
        check(Method::PUT, tags("", json!({ "a": "1" })), json!({ "a": "1" }));
        let merged = tags("Merge", json!({ "A": "2", "b": "3" }));
        check(Method::PATCH, merged, json!({ "A": "2", "b": "3" }));
        let gone = tags("Delete", json!({ "a": "2", "b": "other" }));
        check(Method::PATCH, gone, json!({ "b": "3" }));
        check(Method::PATCH, tags("Replace", json!({ "c": "4" })), json!({ "c": "4" }));
        check(Method::DELETE, json!({}), json!({}));
        let refused = world.send(Method::PATCH, &path, Some(tags("Add", json!({}))));
        assert_eq!(refused.error(), (400, "InvalidRequestContent"));
    }
    let nowhere = "S/resourceGroups/none/providers/Microsoft.Resources/tags/default";
    assert_eq!(world.get(nowhere).error(), (404, "ResourceGroupNotFound"));
    let without = "S/providers/Microsoft.Resources/tags/default";
    assert_eq!(world.get(without).error(), (400, "InvalidRequestContent"));
}
