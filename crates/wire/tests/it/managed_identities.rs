//! Managed identities on the host.

use std::net::IpAddr;

use custody_wire::{Body, Server};
use http::{Request, Response};
use serde_json::{Value, json};

use crate::site::{Answer, MAIN, Site, VAULTS, base, read};

const IMDS: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01";
const APP_SERVICE: &str = "/msi/token?api-version=2019-08-01";

/// The bodies of an identity made by the administrator.
fn identity(site: &Site, name: &str) -> Value {
    let subscription = site.ask("GET", "/subscriptions?api-version=2022-12-01", None, Value::Null);
    let subscription = subscription.body["value"][0]["id"].as_str().unwrap().to_owned();
    let path = format!(
        "{subscription}/resourceGroups/custody/providers/Microsoft.ManagedIdentity/\
         userAssignedIdentities/{name}?api-version=2024-11-30"
    );
    let made = site.ask("PUT", &path, None, json!({ "location": "local" }));
    assert_eq!(made.status, 201, "{made:?}");
    made.body
}

fn attach(site: &Site, identity: &Value, workload: Option<&str>) -> Value {
    let body = json!({ "identityId": identity["id"], "workload": workload });
    let answer = site.ask("POST", "/custody/host/identities", None, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn get(server: &Server, path: &str, headers: &[(&str, &str)], from: &str) -> Answer {
    get_by("127.0.0.1", server, path, headers, from)
}

fn get_by(host: &str, server: &Server, path: &str, headers: &[(&str, &str)], from: &str) -> Answer {
    let mut request = Request::get(path).header("Host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let from: IpAddr = from.parse().unwrap();
    let response: Response<Body> =
        server.handle_managed_identity(&request.body(Vec::new()).unwrap(), &base(), from);
    read(response)
}

#[test]
fn nothing_is_served_until_an_identity_is_attached() {
    let site = Site::new();
    let main = identity(&site, "main");
    let path = format!("{IMDS}&resource={VAULTS}");
    let ask = |path: &str| get(&site.server, path, &[("Metadata", "true")], "127.0.0.1");
    assert_eq!(ask(&path).status, 404);
    attach(&site, &main, None);
    let answer = ask(&path);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["resource"], VAULTS);
    assert_eq!(answer.body["expires_in"], "86400");
    assert_eq!(answer.body["expires_on"], (1_800_000_000 + 86_400).to_string());
    assert_eq!(answer.body["client_id"], main["properties"]["clientId"]);
    let ledger = site.ask("GET", "/custody/ledger?top=1", None, Value::Null).body;
    let record = &ledger["value"][0]["record"];
    assert_eq!(record["operationName"], "ManagedIdentityToken");
    assert_eq!(record["resourceId"], main["id"]);
    assert_eq!(record["identity"]["principalId"], main["properties"]["principalId"]);
    let token = answer.body["access_token"].as_str().unwrap();
    assert!(!ledger.to_string().contains(token));
    // Detached, nothing new; deleted, the token itself ends.
    let keys = "https://kv1.vault.custody.localhost/keys?api-version=7.6";
    let status = || site.ask("GET", keys, Some(token), Value::Null).status;
    assert_eq!(status(), 404);
    let id = main["id"].as_str().unwrap();
    let detach = format!("/custody/host/identities?identityId={id}");
    assert_eq!(site.ask("DELETE", &detach, None, Value::Null).status, 200);
    assert_eq!(ask(&path).status, 404);
    assert_eq!(site.ask("DELETE", &detach, None, Value::Null).status, 404);
    assert_eq!(status(), 404);
    let id = format!("{id}?api-version=2024-11-30");
    assert_eq!(site.ask("DELETE", &id, None, Value::Null).status, 200);
    assert_eq!(status(), 401);
}

#[test]
fn the_metadata_form() {
    let site = Site::new();
    let (one, two) = (identity(&site, "one"), identity(&site, "two"));
    attach(&site, &one, None);
    attach(&site, &two, None);
    let metadata = [("Metadata", "true")];
    let check = |rest: &str, headers: &[(&str, &str)], from: &str, expected: u16| {
        let answer = get(&site.server, &format!("{IMDS}{rest}"), headers, from);
        assert_eq!(answer.status, expected, "{rest} {headers:?} {answer:?}");
        if expected != 200 {
            assert!(answer.body["error"].is_string() && answer.body["message"].is_string());
        }
    };
    let text = |path: &str| two.pointer(path).unwrap().as_str().unwrap();
    let resource = format!("&resource={VAULTS}");
    for choice in [
        format!("{resource}&client_id={}", text("/properties/clientId")),
        format!("{resource}&object_id={}", text("/properties/principalId")),
        format!("{resource}&principal_id={}", text("/properties/principalId")),
        format!("{resource}&msi_res_id={}", text("/id")),
        format!(
            "{resource}&mi_res_id={}",
            text("/id").to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions")
        ),
    ] {
        check(&choice, &metadata, "127.0.0.1", 200);
        check(&choice, &metadata, "::1", 200);
        check(&choice, &metadata, "192.0.2.1", 403);
        check(&choice, &[], "127.0.0.1", 400);
        check(&choice, &[("Metadata", "false")], "127.0.0.1", 400);
        let forwarded = [("Metadata", "true"), ("X-Forwarded-For", "127.0.0.1")];
        check(&choice, &forwarded, "127.0.0.1", 403);
    }
    check(&resource, &metadata, "127.0.0.1", 400);
    let unknown = format!("&resource=https://other&object_id={}", text("/properties/principalId"));
    check(&unknown, &metadata, "127.0.0.1", 400);
    check("", &metadata, "127.0.0.1", 400);
    check("&resource=", &metadata, "127.0.0.1", 400);
    let nobody = "&client_id=11111111-1111-1111-1111-111111111111";
    check(&format!("{resource}{nobody}"), &metadata, "127.0.0.1", 400);
    check(&format!("{resource}&client_id=x"), &metadata, "127.0.0.1", 400);
    let both = format!("{resource}{nobody}&object_id=11111111-1111-1111-1111-111111111111");
    check(&both, &metadata, "127.0.0.1", 400);
    let path = format!("/metadata/identity/oauth2/token?resource={VAULTS}");
    assert_eq!(get(&site.server, &path, &metadata, "127.0.0.1").status, 400);
    assert_eq!(get(&site.server, "/other", &metadata, "127.0.0.1").status, 404);
}

#[test]
fn a_name_that_somebody_points_here_gets_no_token() {
    let site = Site::new();
    attach(&site, &identity(&site, "one"), None);
    let path = format!("{IMDS}&resource={VAULTS}");
    let check = |host: &str, expected: u16| {
        let answer = get_by(host, &site.server, &path, &[("Metadata", "true")], "127.0.0.1");
        assert_eq!(answer.status, expected, "{host:?} {answer:?}");
    };
    for host in [
        "localhost",
        "LocalHost:8444",
        "127.0.0.1",
        "127.0.0.1:8444",
        "127.9.8.7:1",
        "[::1]",
        "[::1]:8444",
        "169.254.169.254",
        "169.254.169.254:80",
    ] {
        check(host, 200);
    }
    for host in [
        "evil.example",
        "evil.example:8444",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "custody.localhost",
        "192.0.2.1",
        "169.254.169.253",
        "[::2]:8444",
        "[::1",
        "localhost:x",
        "",
    ] {
        check(host, 403);
    }
    let doubled = [("Metadata", "true"), ("Host", "127.0.0.1")];
    assert_eq!(get(&site.server, &path, &doubled, "127.0.0.1").status, 400);
}

#[test]
fn the_app_service_form() {
    let site = Site::new();
    let (one, two) = (identity(&site, "one"), identity(&site, "two"));
    let web = attach(&site, &one, Some("web"));
    let web = web["identityHeader"].as_str().unwrap();
    let jobs = attach(&site, &two, Some("jobs"));
    let jobs = jobs["identityHeader"].as_str().unwrap();
    assert_ne!(web, jobs);
    let ask = |secret: &str, rest: &str| {
        let path = format!("{APP_SERVICE}&resource={MAIN}{rest}");
        get(&site.server, &path, &[("X-IDENTITY-HEADER", secret)], "127.0.0.1")
    };
    let client = |identity: &Value| identity["properties"]["clientId"].as_str().unwrap().to_owned();
    assert_eq!(ask(web, "").body["client_id"], client(&one));
    assert_eq!(ask(jobs, "").body["client_id"], client(&two));
    let other = format!("&client_id={}", client(&two));
    assert_eq!(ask(web, &other).status, 400);
    assert_eq!(ask("wrong", "").status, 401);
    assert_eq!(ask("", "").status, 401);
    // The whole host has none: what is attached to a workload is its alone.
    let path = format!("{IMDS}&resource={MAIN}");
    let imds = get(&site.server, &path, &[("Metadata", "true")], "127.0.0.1");
    assert_eq!(imds.status, 404);
    // A second identity keeps the secret; asked for, there is another.
    assert_eq!(attach(&site, &two, Some("web"))["identityHeader"], Value::Null);
    assert_eq!(ask(web, &other).status, 200);
    let body = json!({ "identityId": two["id"], "workload": "web", "renewHeader": true });
    let renewed = site.ask("POST", "/custody/host/identities", None, body).body;
    assert_eq!(ask(web, &other).status, 401);
    assert_eq!(ask(renewed["identityHeader"].as_str().unwrap(), &other).status, 200);
    let shown = site.ask("GET", "/custody/host/identities", None, Value::Null).body;
    assert_eq!(shown["value"].as_array().unwrap().len(), 2);
    let refused = json!({ "identityId": one["id"], "workload": "IMDS" });
    assert_eq!(site.ask("POST", "/custody/host/identities", None, refused).status, 400);
    let absent = json!({ "identityId": format!("{}x", one["id"].as_str().unwrap()) });
    assert_eq!(site.ask("POST", "/custody/host/identities", None, absent).status, 404);
}
