//! Private-key operations of one caller beyond his share are put off; other requests go through.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use custody_wire::Peer;
use http::{Request, header};
use serde_json::{Value, json};

use crate::site::{Site, VAULTS, read};

const KEY: &str = "https://kv1.vault.custody.localhost/keys/k";
/// Requests at once: an RSA-4096 operation weighs 8, so that 64 are all that one caller may have.
const RIVALS: usize = 96;

fn request(method: &str, operation: &str, token: &str, body: &Value) -> Request<Vec<u8>> {
    Request::builder()
        .method(method)
        .uri(format!("{KEY}/{operation}?api-version=7.6"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(body.to_string().into_bytes())
        .unwrap()
}

#[test]
fn a_caller_over_his_share_is_told_when_to_come_again() {
    let site = Site::new();
    site.key_vault("kv1");
    let token = site.bearer(VAULTS);
    let peer = Peer { address: ([127, 0, 0, 1], 40_000).into() };
    let ask = |method: &str, operation: &str, body: &Value| {
        site.server.handle_from(request(method, operation, &token, body), &peer)
    };
    let made = read(ask("POST", "create", &json!({ "kty": "RSA", "key_size": 4096 })));
    assert_eq!(made.status, 200, "{made:?}");
    let wrapping = json!({ "alg": "RSA-OAEP-256", "value": "AAAA" });
    let wrapped = read(ask("POST", "/wrapkey", &wrapping)).body["value"].clone();
    let unwrapping = json!({ "alg": "RSA-OAEP-256", "value": wrapped });

    let (is_over, refused) = (AtomicBool::new(false), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..RIVALS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let response = ask("POST", "/unwrapkey", &unwrapping);
                    match response.status().as_u16() {
                        200 => {}
                        429 => {
                            is_over.store(true, Ordering::SeqCst);
                            refused.lock().unwrap().get_or_insert(response);
                        }
                        other => panic!("{other}"),
                    }
                }
            });
        }
        // It needs no private key, so it does not wait behind those that do.
        assert_eq!(read(ask("GET", "", &Value::Null)).status, 200);
    });
    let refused = refused.into_inner().unwrap().unwrap();
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(read(refused).body["error"]["code"], "Throttled");
    // What was put off is done when it is asked for again.
    assert_eq!(read(ask("POST", "/unwrapkey", &unwrapping)).body["value"], "AAAA");
}

#[test]
fn the_use_of_an_algorithm_that_is_to_disappear_is_counted() {
    let site = Site::new();
    site.key_vault("kv1");
    let token = site.bearer(VAULTS);
    let ask = |operation: &str, body: &Value| {
        site.ask_over_network(request("POST", operation, &token, body)).0
    };
    assert_eq!(ask("create", &json!({ "kty": "RSA" })), 200);
    for algorithm in ["RSA1_5", "RSA-OAEP", "RSA1_5"] {
        assert_eq!(ask("/encrypt", &json!({ "alg": algorithm, "value": "AAAA" })), 200);
    }
    let metrics = Request::get("https://custody.localhost/metrics").body(Vec::new()).unwrap();
    let (_, metrics) = site.ask_over_network(metrics);
    assert!(metrics.contains("\ncustody_rsa15_uses_total 2\n"), "{metrics}");
}
