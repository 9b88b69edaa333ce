//! No secret is ever in a file of the data folder in clear, in a record, a log, a metric, an error
//! or what is sent to others.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use http::{Request, header};
use serde_json::{Value, json};

use crate::hook::Hook;
use crate::site::{MAIN, Site, VAULTS, escaped};

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

/// The private half of the example key of RFC 7515, appendix A.3.
const PRIVATE: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
const HOST: &str = "https://kv-1.vault.custody.localhost";

/// Everything that a request leaves behind for others to see.
struct Traces {
    site: Site,
    hook: Hook,
    token: String,
    vault: String,
    /// What was answered to requests that failed.
    errors: String,
}

impl Traces {
    /// A key vault whose records and events go to a file and to a webhook.
    fn new() -> Self {
        let hook = Hook::open();
        let mut site = Site::new();
        site.server = site.server.posting_to(vec!["127.0.0.1".parse().unwrap()]);
        let vault = site.key_vault("kv-1");
        let group = vault.split("/providers/").next().unwrap();
        let destination = |name: &str, properties: Value| {
            let id = format!("{group}/providers/Custody.Audit/destinations/{name}");
            let body = json!({ "location": "local", "properties": properties });
            site.put(&id, "2026-02-01", &body);
            id
        };
        let file = destination("file", json!({ "destinationType": "File" }));
        let address = format!("{}/audit?code=canary-code-1", hook.url);
        let properties = json!({ "destinationType": "Webhook", "address": address });
        let posted = destination("hook", properties);
        let logs = json!([{ "category": "AuditEvent", "enabled": true }]);
        let properties = json!({ "logs": logs, "storageAccountId": file, "workspaceId": posted });
        let setting = format!("{vault}/providers/Microsoft.Insights/diagnosticSettings/all");
        site.put(&setting, "2021-05-01-preview", &json!({ "properties": properties }));
        let url = format!("{}/events?code=canary-code-2", hook.url);
        let properties = json!({
            "destination": { "endpointType": "WebHook", "properties": { "endpointUrl": url } },
            "eventDeliverySchema": "CloudEventSchemaV1_0",
        });
        let subscription = format!("{vault}/providers/Microsoft.EventGrid/eventSubscriptions/all");
        site.put(&subscription, "2025-02-15", &json!({ "properties": properties }));
        let token = site.bearer(VAULTS);
        Self { site, hook, token, vault, errors: String::new() }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("{HOST}/{path}?api-version=7.6"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(body.as_bytes().to_vec());
        let (status, text) = self.site.ask_over_network(request.unwrap());
        if status >= 400 {
            self.errors.push_str(&text);
        }
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Everything that can be seen: errors, posts, ledger, deliveries, activity log, metrics.
    fn all(self) -> String {
        assert!(self.site.server.send_on().is_empty());
        let mut posts = String::new();
        while !(posts.contains("POST /audit") && posts.contains("POST /events")) {
            let request = self.hook.next();
            // The first line names the address, which the receiver knows.
            let (line, rest) = request.split_once("\r\n").unwrap();
            posts.push_str(&line.replace("canary-code", ""));
            posts.push_str(rest);
        }
        let read = |path: &str| self.site.ask("GET", path, None, Value::Null).body.to_string();
        let subscription = self.vault.split("/resourceGroups/").next().unwrap();
        let since = "eventTimestamp%20ge%20%272020-01-01T00%3A00%3A00Z%27";
        let activity = format!(
            "{subscription}/providers/Microsoft.Insights/eventtypes/management/values\
             ?api-version=2015-04-01&$filter={since}"
        );
        let metrics = Request::get(format!("{MAIN}/metrics")).body(Vec::new()).unwrap();
        let (status, metrics) = self.site.ask_over_network(metrics);
        assert_eq!(status, 200);
        let kinds = [
            ("an error", self.errors),
            ("a post", posts),
            ("the ledger", read("/custody/ledger?top=1000")),
            ("deliveries", read("/custody/audit")),
            ("the activity log", read(&activity)),
            ("metrics", metrics),
        ];
        let mut seen = String::new();
        for (name, text) in kinds {
            assert!(text.len() > 100, "{name}: {text}");
            seen.push_str(&text);
        }
        visit(&self.site.folder.path().join("data"), &mut |path, bytes| {
            // The records hold the addresses of webhooks; everything else is looked at as it is.
            let is_record = path.to_string_lossy().contains("records.db");
            let text = String::from_utf8_lossy(bytes);
            seen.push_str(&if is_record { text.replace("canary-code", "") } else { text.into() });
        });
        seen
    }
}

/// What a customer encrypts and wraps.
const PLAIN: &str = "canary-plaintext-of-a-customer";

#[test]
fn no_secret_of_a_request_to_a_key_is_seen_again() {
    let mut traces = Traces::new();
    let value = BASE64URL_NOPAD.encode(PLAIN.as_bytes());
    let random = use_keys(&mut traces, &value);
    misuse_keys(&mut traces, &value);
    misuse_credentials(&mut traces, &value);

    let token = traces.token.clone();
    let tail = token.rsplit('.').next().unwrap().to_owned();
    let private = BASE64URL_NOPAD.decode(PRIVATE.as_bytes()).unwrap();
    let secret = traces.site.secret.clone();
    let seen = traces.all();
    for canary in [
        value.as_str(),
        PLAIN,
        &BASE64.encode(PLAIN.as_bytes()),
        &HEXLOWER.encode(PLAIN.as_bytes()),
        &escaped(PLAIN),
        PRIVATE,
        &BASE64.encode(&private),
        &HEXLOWER.encode(&private),
        &random,
        &token,
        &tail,
        &secret,
        "canary-code-1",
        "canary-code-2",
    ] {
        let found = seen.find(canary).map(|at| {
            let from = seen[..at].char_indices().rev().nth(200).map_or(0, |(from, _)| from);
            &seen[from..at]
        });
        assert_eq!(found, None, "{canary:.40} was seen behind this");
    }
}

/// Imports a key and uses another on `value`; returns random bytes that were asked for.
fn use_keys(traces: &mut Traces, value: &str) -> String {
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "d": PRIVATE,
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let imported = traces.send("PUT", "keys/imported", &json!({ "key": jwk }).to_string());
    assert_eq!(imported["key"]["kty"], "EC", "{imported}");
    traces.send("POST", "keys/k/create", &json!({ "kty": "RSA" }).to_string());
    let operate = |traces: &mut Traces, verb: &str, value: &str| {
        let body = json!({ "alg": "RSA-OAEP-256", "value": value }).to_string();
        let answer = traces.send("POST", &format!("keys/k//{verb}"), &body);
        answer["value"].as_str().unwrap_or_default().to_owned()
    };
    let encrypted = operate(traces, "encrypt", value);
    assert_eq!(operate(traces, "decrypt", &encrypted), value);
    let wrapped = operate(traces, "wrapkey", value);
    assert_eq!(operate(traces, "unwrapkey", &wrapped), value);
    let random = traces.send("POST", "rng", r#"{"count":32}"#);
    random["value"].as_str().unwrap().to_owned()
}

/// What cannot be understood is not repeated.
fn misuse_keys(traces: &mut Traces, value: &str) {
    traces.send("POST", "keys/k//decrypt", &format!("{{\"alg\":\"{value}\",\"value\":\"\"}}"));
    for rest in [format!("\"{value}*\"}}"), format!("\"{value}"), format!("{{\"{value}\":1}}}}")] {
        traces.send("POST", "keys/k//encrypt", &format!("{{\"alg\":\"RSA-OAEP\",\"value\":{rest}"));
    }
    let broken = json!({ "key": { "kty": "EC", "crv": "P-256", "d": PRIVATE, "x": PRIVATE } });
    traces.send("PUT", "keys/broken", &broken.to_string());
    traces.send("PUT", "keys/broken", &json!({ "key": { "kty": PRIVATE } }).to_string());
    let target = format!("a.{value}.c");
    traces.send("POST", "keys/k//release", &json!({ "target": target }).to_string());
}

/// A credential that is wrong, and one that is no credential.
fn misuse_credentials(traces: &mut Traces, value: &str) {
    let assertion = format!("x.{value}.y");
    let site = &traces.site;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", site.client.as_str()),
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("scope", "https://custody.localhost/.default"),
    ];
    let answer = site.token(&site.tenant, &form);
    assert!(answer.status >= 400, "{answer:?}");
    traces.errors.push_str(&answer.body.to_string());
    let good = std::mem::replace(&mut traces.token, value.to_owned());
    traces.send("GET", "keys/k", "");
    traces.token = good;
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
