//! No secret ever lies in a file of the data folder in clear.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::site::{MAIN, Site};

#[test]
fn no_secret_lies_in_any_file() {
    let site = Site::new();
    let token = site.bearer(MAIN);
    let wrong = "custody_canary-that-was-mistyped-0123456789";
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", site.client.as_str()),
        ("client_secret", wrong),
        ("scope", "https://custody.localhost/.default"),
    ];
    assert_eq!(site.token(&site.tenant, &fields).status, 401);
    let made = site.ask("POST", "/custody/tenants", None, json!({ "displayName": "B" })).body;
    let other = made["administrator"]["clientSecret"].as_str().unwrap().to_owned();
    let subscription = site.ask("GET", "/subscriptions?api-version=2022-12-01", None, Value::Null);
    let subscription = subscription.body["value"][0]["id"].as_str().unwrap().to_owned();
    let id = format!(
        "{subscription}/resourceGroups/custody/providers/Microsoft.ManagedIdentity/\
         userAssignedIdentities/main"
    );
    let path = format!("{id}?api-version=2024-11-30");
    assert_eq!(site.ask("PUT", &path, None, json!({ "location": "local" })).status, 201);
    let body = json!({ "identityId": id, "workload": "web" });
    let header = site.ask("POST", "/custody/host/identities", None, body).body;
    let header = header["identityHeader"].as_str().unwrap().to_owned();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let secrets = [site.secret.clone(), wrong.to_owned(), other, header, token, signature];
    let mut files = 0;
    visit(&site.folder.path().join("data"), &mut |path, bytes| {
        files += 1;
        for (number, secret) in secrets.iter().enumerate() {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "secret {number} lies in {}", path.display());
        }
        // PKCS#8 of an RSA key begins so.
        let key = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04";
        assert!(!bytes.windows(key.len()).any(|window| window == key), "{}", path.display());
    });
    assert!(files > 3, "{files}");
    let shown = site.ask("GET", "/v1.0/applications", Some(&site.bearer(MAIN)), Value::Null).body;
    assert!(!shown.to_string().contains(&site.secret));
    assert!(!shown.to_string().contains("sha256"));
}

fn visit(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, look);
        } else {
            look(&path, &fs::read(&path).unwrap());
        }
    }
}
