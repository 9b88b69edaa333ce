//! Several tenants in one installation.

use serde_json::{Value, json};

use crate::site::{MAIN, Site, VAULTS};

#[test]
fn an_application_is_taken_in_by_another_tenant() {
    let site = Site::new();
    let made = site.ask("POST", "/custody/tenants", None, json!({ "displayName": "B" }));
    assert_eq!(made.status, 200, "{made:?}");
    let field = |path: &str| made.body.pointer(path).unwrap().as_str().unwrap().to_owned();
    let tenant = field("/tenantId");
    let (client, secret) = (field("/administrator/clientId"), field("/administrator/clientSecret"));
    let there = site.bearer_of(&tenant, &client, &secret, MAIN);
    let ask = |method: &str, path: &str, body: Value| site.ask(method, path, Some(&there), body);
    // An application of the first tenant.
    let home = site.bearer(MAIN);
    let body = json!({ "displayName": "vendor" });
    let vendor = site.ask("POST", "/v1.0/applications", Some(&home), body).body;
    let app = vendor["appId"].as_str().unwrap();
    let path = format!("/v1.0/applications/{}/addPassword", vendor["id"].as_str().unwrap());
    let vendor_secret = site.ask("POST", &path, Some(&home), json!({})).body;
    let vendor_secret = vendor_secret["secretText"].as_str().unwrap();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", app),
        ("client_secret", vendor_secret),
        ("scope", "https://vault.custody.localhost/.default"),
    ];
    let before = site.token(&tenant, &fields);
    assert_eq!(before.body["error_codes"], json!([700_016]), "{before:?}");
    let at_home = site.token(&site.tenant, &fields);
    assert_eq!(at_home.body["error_codes"], json!([7_000_229]), "{at_home:?}");
    // `az ad sp create --id` in the second tenant.
    let filter = format!("/v1.0/applications?$filter=appId%20eq%20%27{app}%27");
    assert_eq!(ask("GET", &filter, Value::Null).body["value"], json!([]));
    let principal = ask("POST", "/v1.0/servicePrincipals", json!({ "appId": app }));
    assert_eq!(principal.status, 201, "{principal:?}");
    assert_eq!(principal.body["appOwnerOrganizationId"], site.tenant);
    assert_eq!(site.token(&tenant, &fields).status, 200);
    // Neither sees the other's.
    let of_home = format!("/v1.0/servicePrincipals/{}", site.object);
    assert_eq!(ask("GET", &of_home, Value::Null).status, 404);
    assert_eq!(ask("DELETE", &of_home, Value::Null).status, 404);
    let shown = ask("GET", "/custody/tenants", Value::Null).body;
    assert_eq!(shown["value"], json!([{ "tenantId": tenant, "displayName": "B" }]));
    assert_eq!(ask("POST", "/custody/tenants", json!({ "displayName": "C" })).status, 403);
    assert_eq!(ask("POST", "/custody/signingKey/rotate", json!({})).status, 403);
}

#[test]
fn an_application_for_one_tenant_stays_there() {
    let site = Site::new();
    let made = site.ask("POST", "/custody/tenants", None, json!({ "displayName": "B" })).body;
    let text = |path: &str| made.pointer(path).unwrap().as_str().unwrap();
    let (client, secret) = (text("/administrator/clientId"), text("/administrator/clientSecret"));
    let there = site.bearer_of(text("/tenantId"), client, secret, MAIN);
    let body = json!({ "appId": site.client });
    let refused = site.ask("POST", "/v1.0/servicePrincipals", Some(&there), body);
    assert_eq!(refused.body["error"]["code"], "NoBackingApplicationObject");
    // Its secret opens nothing in the other tenant.
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", site.client.as_str()),
        ("client_secret", site.secret.as_str()),
        ("scope", "https://vault.custody.localhost/.default"),
    ];
    assert_eq!(site.token(text("/tenantId"), &fields).body["error_codes"], json!([700_016]));
    // A key vault of the first tenant does not take the second one's token.
    let token = site.bearer_of(text("/tenantId"), client, secret, VAULTS);
    let path = "https://kv1.vault.custody.localhost/keys?api-version=7.6";
    let answer = site.ask("GET", path, Some(&token), Value::Null);
    assert_eq!(answer.status, 401);
    assert!(answer.challenge.unwrap().contains(&site.tenant));
}
