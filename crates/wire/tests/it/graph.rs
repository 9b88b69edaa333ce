//! Graph, in the order in which `az ad` asks.

use serde_json::{Value, json};

use crate::site::{Answer, MAIN, Site, escaped};

fn graph(site: &Site, method: &str, path: &str, body: Value) -> Answer {
    let token = site.bearer(MAIN);
    site.ask(method, &format!("/v1.0/{path}"), Some(&token), body)
}

fn found(site: &Site, collection: &str, filter: &str) -> Vec<Value> {
    let path = format!("{collection}?$filter={}", escaped(filter));
    let answer = graph(site, "GET", &path, Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["value"].as_array().unwrap().clone()
}

/// `az ad sp create-for-rbac`: client id, secret, object id of the service principal.
fn create_for_rbac(site: &Site, name: &str) -> (String, String, String) {
    assert!(found(site, "servicePrincipals", &format!("displayName eq '{name}'")).is_empty());
    let filter = format!("startswith(displayName,'{name}')");
    assert!(found(site, "applications", &filter).is_empty());
    let made = graph(site, "POST", "applications", json!({ "displayName": name }));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["passwordCredentials"], json!([]));
    let (id, app) = (made.body["id"].as_str().unwrap(), made.body["appId"].as_str().unwrap());
    let wish = json!({ "passwordCredential": {
        "displayName": "rbac", "startDateTime": "2027-01-15T08:00:00Z",
        "endDateTime": "2028-01-15T08:00:00Z",
    }});
    let added = graph(site, "POST", &format!("applications/{id}/addPassword"), wish);
    assert_eq!(added.status, 200, "{added:?}");
    let principal = json!({ "appId": app, "accountEnabled": true });
    let principal = graph(site, "POST", "servicePrincipals", principal);
    assert_eq!(principal.status, 201, "{principal:?}");
    let secret = added.body["secretText"].as_str().unwrap();
    let object = principal.body["id"].as_str().unwrap();
    (app.to_owned(), secret.to_owned(), object.to_owned())
}

#[test]
fn an_application_for_role_based_access() {
    let site = Site::new();
    let (app, secret, object) = create_for_rbac(&site, "backup of it");
    let named =
        found(&site, "servicePrincipals", &format!("servicePrincipalNames/any(c:c eq '{app}')"));
    assert_eq!(named[0]["id"], object);
    assert_eq!(found(&site, "applications", &format!("appId eq '{app}'"))[0]["appId"], app);
    let ids = json!({ "ids": [object, site.object], "types": ["servicePrincipal"] });
    let stubs = graph(&site, "POST", "directoryObjects/getByIds", ids);
    assert_eq!(stubs.body["value"].as_array().unwrap().len(), 2);
    assert_eq!(stubs.body["value"][0]["@odata.type"], "#microsoft.graph.servicePrincipal");
    let token = site.bearer_of(&site.tenant, &app, &secret, MAIN);
    let list = "/subscriptions?api-version=2022-12-01";
    let before = site.ask("GET", list, Some(&token), Value::Null);
    let role = "/providers/Microsoft.Authorization/roleDefinitions/\
                acdd72a7-3385-48ef-bd42-f606fba81ae7";
    let path = "/providers/Microsoft.Authorization/roleAssignments/\
                00000000-0000-0000-0000-000000000001?api-version=2022-04-01";
    let body = json!({ "properties": {
        "roleDefinitionId": role, "principalId": object, "principalType": "ServicePrincipal",
    }});
    assert_eq!(site.ask("PUT", path, Some(&site.bearer(MAIN)), body).status, 201);
    let after = site.ask("GET", list, Some(&token), Value::Null);
    assert_eq!(after.status, 200, "{before:?} {after:?}");
    // A Reader may look at the directory and not write to it.
    let may = |method: &str, path: &str, body: Value| {
        site.ask(method, &format!("/v1.0/{path}"), Some(&token), body)
    };
    assert_eq!(may("GET", "applications", Value::Null).status, 200);
    let refused = may("POST", "applications", json!({ "displayName": "x" }));
    assert_eq!(refused.status, 403);
    assert_eq!(refused.body["error"]["code"], "Authorization_RequestDenied");
}

#[test]
fn credentials_come_and_go() {
    let site = Site::new();
    let (app, secret, object) = create_for_rbac(&site, "one");
    let application = found(&site, "applications", &format!("appId eq '{app}'")).remove(0);
    let id = application["id"].as_str().unwrap();
    let key = &application["passwordCredentials"][0];
    assert_eq!(key["secretText"], Value::Null);
    assert!(secret.starts_with(key["hint"].as_str().unwrap()));
    site.bearer_of(&site.tenant, &app, &secret, MAIN);
    // A secret of the service principal itself.
    let path = format!("servicePrincipals/{object}/addPassword");
    let own = graph(&site, "POST", &path, json!({ "passwordCredential": {} }));
    let own = own.body["secretText"].as_str().unwrap();
    site.bearer_of(&site.tenant, &app, own, MAIN);
    let path = format!("applications/{id}/removePassword");
    let body = json!({ "keyId": key["keyId"] });
    assert_eq!(graph(&site, "POST", &path, body.clone()).status, 204);
    assert_eq!(graph(&site, "POST", &path, body).status, 400);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
        ("scope", "https://custody.localhost/.default"),
    ];
    assert_eq!(site.token(&site.tenant, &fields).status, 401);
    // A certificate, as az puts it: base64 with line breaks, beside what is there.
    let der = include_bytes!("../../../directory/tests/it/data/certificate.der");
    let text = data_encoding::BASE64.encode(der);
    let text = format!("{}\n{}\n", &text[..64], &text[64..]);
    let body = json!({ "keyCredentials": [{
        "type": "AsymmetricX509Cert", "usage": "Verify", "key": text, "displayName": "c",
        "startDateTime": "2027-01-15T08:00:00Z", "endDateTime": "2028-01-15T08:00:00Z",
    }]});
    let path = format!("applications/{id}");
    assert_eq!(graph(&site, "PATCH", &path, body).status, 204);
    let shown = graph(&site, "GET", &path, Value::Null).body;
    let kept = shown["keyCredentials"][0].clone();
    assert_eq!(kept["customKeyIdentifier"].as_str().unwrap().len(), 40);
    assert_eq!(kept["endDateTime"], "2028-01-15T08:00:00Z");
    let body = json!({ "keyCredentials": [kept] });
    assert_eq!(graph(&site, "PATCH", &path, body).status, 204);
    let shown = graph(&site, "GET", &path, Value::Null).body;
    assert_eq!(shown["keyCredentials"][0]["keyId"], kept["keyId"]);
    let bad = json!({ "keyCredentials": [{ "key": "AAAA" }] });
    assert_eq!(graph(&site, "PATCH", &path, bad).status, 400);
}

#[test]
fn deleting_an_application_ends_everything() {
    let site = Site::new();
    let (app, secret, object) = create_for_rbac(&site, "one");
    let token = site.bearer_of(&site.tenant, &app, &secret, MAIN);
    let me = |token: &str| site.ask("GET", "/v1.0/applications", Some(token), Value::Null).status;
    assert_eq!(me(&token), 200);
    let application = found(&site, "applications", &format!("appId eq '{app}'")).remove(0);
    let path = format!("applications/{}", application["id"].as_str().unwrap());
    assert_eq!(graph(&site, "DELETE", &path, Value::Null).status, 204);
    assert_eq!(me(&token), 401);
    assert_eq!(graph(&site, "GET", &path, Value::Null).status, 404);
    let path = format!("servicePrincipals/{object}");
    assert_eq!(graph(&site, "GET", &path, Value::Null).status, 404);
}

#[test]
fn what_there_is_not() {
    let site = Site::new();
    let check = |method: &str, path: &str, status: u16, code: &str| {
        let answer = graph(&site, method, path, json!({}));
        assert_eq!(answer.status, status, "{path} {answer:?}");
        if !code.is_empty() {
            assert_eq!(answer.body["error"]["code"], code, "{path}");
        }
    };
    check("GET", "me", 400, "BadRequest");
    check("GET", "users?$filter=userPrincipalName%20eq%20%27a%40b%27", 200, "");
    check("GET", "users/a", 404, "Request_ResourceNotFound");
    check("GET", "organization", 200, "");
    check("GET", "nothing", 404, "Request_ResourceNotFound");
    check("GET", "applications?$filter=appId%20gt%201", 400, "Request_UnsupportedQuery");
    check("POST", "applications", 400, "Request_BadRequest");
    let nobody = "servicePrincipals/11111111-1111-1111-1111-111111111111";
    check("GET", nobody, 404, "Request_ResourceNotFound");
    check("DELETE", nobody, 404, "Request_ResourceNotFound");
    let app = json!({ "appId": "11111111-1111-1111-1111-111111111111" });
    let made = graph(&site, "POST", "servicePrincipals", app);
    assert_eq!(made.body["error"]["code"], "NoBackingApplicationObject");
    let twice = graph(&site, "POST", "servicePrincipals", json!({ "appId": site.client }));
    assert_eq!(twice.status, 409);
}
