//! A request whose record cannot be written fails, as seen from the network.

use std::fs;

use http::{Request, header};
use serde_json::{Value, json};

use crate::site::{Site, VAULTS};

const KEYS: &str = "https://kv-1.vault.custody.localhost/keys";

#[test]
fn the_record_tells_where_a_request_came_and_nothing_else_of_its_query() {
    let site = Site::new();
    site.key_vault("kv-1");
    let token = site.bearer(VAULTS);
    let ask = |path: &str| {
        let uri = format!("https://KV-1.vault.custody.localhost{path}");
        let request = Request::get(uri).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let (status, _) = site.ask_over_network(request.body(Vec::new()).unwrap());
        let ledger = site.ask("GET", "/custody/ledger?top=1", None, Value::Null).body;
        (status, ledger["value"][0]["record"].clone())
    };
    let (status, record) = ask("/keys/k?code=hunter2&api-version=7.6-preview.2&x=hunter2");
    assert_eq!(status, 404);
    assert_eq!(record["operationName"], "KeyGet");
    assert_eq!(record["operationVersion"], "7.6-preview.2");
    assert_eq!(record["durationMs"], "0", "the clock stands");
    let told = "https://kv-1.vault.custody.localhost/keys/k?api-version=7.6-preview.2";
    assert_eq!(record["properties"]["requestUri"], told);
    assert_eq!(record["properties"]["id"], "https://kv-1.vault.custody.localhost/keys/k");
    assert!(!record.to_string().contains("hunter2"), "{record}");
    for version in ["7.6-previewhunter2", "7.6-preview.hunter2", "hunter2", "7.66666", ""] {
        let (status, after) = ask(&format!("/keys/k?api-version={version}"));
        assert_eq!((status, after), (400, record.clone()), "{version} is no version");
    }
}

#[test]
fn without_a_record_nothing_is_done_and_nothing_answered() {
    let site = Site::new();
    site.key_vault("kv-1");
    let token = site.bearer(VAULTS);
    let ask = |method: &str, path: &str, body: &Value| {
        let request = Request::builder()
            .method(method)
            .uri(format!("{KEYS}/{path}?api-version=7.6"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(if body.is_null() { Vec::new() } else { body.to_string().into_bytes() });
        let (status, text) = site.ask_over_network(request.unwrap());
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let rsa = json!({ "kty": "RSA" });
    let (status, made) = ask("POST", "k/create", &rsa);
    assert_eq!(status, 200, "{made}");
    let value = json!({ "alg": "RSA-OAEP-256", "value": "AAAA" });
    let (_, wrapped) = ask("POST", "k//wrapkey", &value);
    let wrapped = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    assert_eq!(ask("POST", "k//unwrapkey", &wrapped).1["value"], "AAAA");

    // Nothing can be written where the ledger was.
    let (ledger, aside) =
        (site.folder.path().join("data/ledger"), site.folder.path().join("aside"));
    fs::rename(&ledger, &aside).unwrap();
    fs::write(&ledger, "in the way").unwrap();
    let disable = json!({ "attributes": { "enabled": false } });
    let none = Value::Null;
    for (method, path, body) in [
        ("GET", "k", &none),
        ("GET", "k/versions", &none),
        ("POST", "new/create", &rsa),
        ("POST", "k/rotate", &none),
        ("PATCH", "k/", &disable),
        ("POST", "k//wrapkey", &value),
        ("POST", "k//unwrapkey", &wrapped),
        ("DELETE", "k", &none),
        ("GET", "absent", &none),
    ] {
        let (status, answer) = ask(method, path, body);
        assert!(status >= 500, "{method} {path}: {status} {answer}");
        assert_eq!(answer["error"]["code"], "AuditUnavailable", "{method} {path}: {answer}");
        assert!(answer.get("value").is_none() && answer.get("key").is_none(), "{answer}");
    }
    let metrics = Request::get("https://custody.localhost/metrics").body(Vec::new()).unwrap();
    let (_, metrics) = site.ask_over_network(metrics);
    assert!(metrics.contains("\ncustody_audit_write_failures_total 9\n"), "{metrics}");

    fs::remove_file(&ledger).unwrap();
    fs::rename(&aside, &ledger).unwrap();
    let (status, found) = ask("GET", "k", &none);
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["key"]["kid"], made["key"]["kid"], "not rotated");
    assert_eq!(found["attributes"]["enabled"], true);
    assert_eq!(ask("GET", "new", &none).0, 404);
}
