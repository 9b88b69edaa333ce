//! Webhooks of a served installation, from the ARM request to the post.

use serde_json::{Value, json};

use crate::hook::Hook;
use crate::site::{Site, VAULTS};

#[test]
fn a_subscriber_is_asked_then_told() {
    let hook = Hook::open();
    let mut site = Site::new();
    let vault = site.key_vault("kv-hook");
    let subscription = format!("{vault}/providers/Microsoft.EventGrid/eventSubscriptions/mine");
    let properties = json!({
        "destination": {
            "endpointType": "WebHook",
            "properties": { "endpointUrl": format!("{}/in?code=c", hook.url) },
        },
        "filter": { "isSubjectCaseSensitive": false },
        "eventDeliverySchema": "CloudEventSchemaV1_0",
        "retryPolicy": { "maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440 },
    });
    let made = site.put(&subscription, "2025-02-15", &json!({ "properties": properties }));
    assert_eq!(made["type"], "Microsoft.EventGrid/eventSubscriptions");
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    let list = format!("{vault}/providers/Microsoft.EventGrid/eventSubscriptions");
    let list = format!("{list}?api-version=2025-02-15");
    let listed = site.ask("GET", &list, None, Value::Null).body;
    assert_eq!(listed["value"][0]["name"], "mine");
    let full = format!("{subscription}/getFullUrl?api-version=2025-02-15");
    let full = site.ask("POST", &full, None, Value::Null);
    assert_eq!(full.body["endpointUrl"], format!("{}/in?code=c", hook.url));

    let token = site.bearer(VAULTS);
    let create = "https://kv-hook.vault.custody.localhost/keys/k/create?api-version=7.6";
    let key = site.ask("POST", create, Some(&token), json!({ "kty": "EC" }));
    assert_eq!(key.status, 200, "{key:?}");
    // This machine is inside: nothing is sent there before the configuration says so.
    assert!(site.server.send_on().is_empty());
    let problem = loop {
        let shown = site.ask("GET", "/custody/audit", None, Value::Null).body;
        if let Some(problem) = shown["value"][0]["problem"].as_str() {
            break problem.to_owned();
        }
        std::thread::yield_now();
    };
    assert!(problem.contains("allow-addresses"), "{problem}");

    let server = site.again().posting_to(vec!["127.0.0.0/8".parse().unwrap()]);
    site.server = server;
    site.clock.advance(std::time::Duration::from_secs(10));
    // The server before sends until the last of its threads has ended.
    let asked = loop {
        assert!(site.server.send_on().is_empty());
        if let Some(asked) = hook.try_next() {
            break asked;
        }
        std::thread::yield_now();
    };
    assert!(asked.starts_with("OPTIONS /in?code=c HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("webhook-request-origin: custody.localhost\r\n"), "{asked}");
    let told = hook.next();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /in?code=c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/cloudevents+json; charset=utf-8"), "{head}");
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["type"], "Microsoft.KeyVault.KeyNewVersionCreated");
    assert_eq!(event["source"], vault);
    assert_eq!(event["data"]["Id"], key.body["key"]["kid"]);
}
