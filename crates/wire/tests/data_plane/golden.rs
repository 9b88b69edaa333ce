//! Bodies and errors as they go over the wire, against files that are to be read when they change.
//! What is drawn by chance is numbered or counted; `CUSTODY_GOLDEN=1` writes the files anew.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;

use custody_wire::Peer;
use http::{Request, header};
use serde_json::{Map, Value, json};

use crate::world::{HSM, KEY_VAULT, World, b64};

/// Members whose values are bytes drawn by chance.
const BYTES: &[&str] = &["n", "x", "y", "value", "iv", "tag"];

#[test]
fn keys_of_each_kind() {
    let mut golden = Transcript::new();
    let attributes = json!({ "nbf": 1_700_000_000, "exp": 4_070_908_800_i64 });
    for (host, name, body) in [
        (KEY_VAULT, "rsa", json!({ "kty": "RSA", "key_size": 3072, "tags": { "a": "b" } })),
        (KEY_VAULT, "rsa-hsm", json!({ "kty": "RSA-HSM", "attributes": attributes })),
        (KEY_VAULT, "ec", json!({ "kty": "EC" })),
        (KEY_VAULT, "ec-hsm", json!({ "kty": "EC-HSM", "crv": "P-521", "key_ops": ["sign"] })),
        (HSM, "oct", json!({ "kty": "oct", "key_size": 128 })),
        (HSM, "oct-hsm", json!({ "kty": "oct-HSM", "attributes": { "enabled": false } })),
    ] {
        golden.ask("POST", host, &format!("/keys/{name}/create"), &body);
    }
    let d = b64(&{
        let mut one = [0; 32];
        one[31] = 1;
        one
    });
    // The generator of the curve is the public half of the private key 1.
    let (x, y) = (
        "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    );
    let key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "d": d });
    golden.ask("PUT", KEY_VAULT, "/keys/imported", &json!({ "key": key }));
    golden.ask("GET", KEY_VAULT, "/keys/rsa", &Value::Null);
    let change = json!({ "attributes": { "enabled": false }, "tags": {} });
    golden.ask("PATCH", KEY_VAULT, "/keys/rsa/", &change);
    golden.ask("POST", KEY_VAULT, "/keys/ec/rotate", &Value::Null);
    golden.ask("GET", KEY_VAULT, "/keys?maxresults=2", &Value::Null);
    golden.ask("GET", KEY_VAULT, "/keys/ec/versions", &Value::Null);
    golden.check("keys.txt");
}

#[test]
fn what_keys_do() {
    let mut golden = Transcript::new();
    for (name, body) in [("rsa", json!({ "kty": "RSA" })), ("ec", json!({ "kty": "EC" }))] {
        golden.ask("POST", KEY_VAULT, &format!("/keys/{name}/create"), &body);
    }
    golden.ask("POST", HSM, "/keys/oct/create", &json!({ "kty": "oct-HSM" }));
    let text = b64(b"the only copy");
    let wrap = json!({ "alg": "RSA-OAEP-256", "value": text });
    let wrapped = golden.ask("POST", KEY_VAULT, "/keys/rsa/wrapkey", &wrap);
    let unwrap = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    golden.ask("POST", KEY_VAULT, "/keys/rsa/unwrapkey", &unwrap);
    let encrypt = json!({ "alg": "A256GCM", "value": text, "aad": b64(b"for whom") });
    golden.ask("POST", HSM, "/keys/oct/encrypt", &encrypt);
    let sign = json!({ "alg": "ES256", "value": b64(&[7; 32]) });
    let signed = golden.ask("POST", KEY_VAULT, "/keys/ec/sign", &sign);
    let verify = json!({ "alg": "ES256", "digest": b64(&[7; 32]), "value": signed["value"] });
    golden.ask("POST", KEY_VAULT, "/keys/ec/verify", &verify);
    golden.ask("POST", HSM, "/rng", &json!({ "count": 16 }));
    golden.ask("GET", KEY_VAULT, "/keys/rsa/rotationpolicy", &Value::Null);
    let rotate = json!({
        "trigger": { "timeAfterCreate": "P90D" },
        "action": { "type": "rotate" },
    });
    let policy = json!({
        "lifetimeActions": [rotate],
        "attributes": { "expiryTime": "P2Y" },
    });
    golden.ask("PUT", KEY_VAULT, "/keys/rsa/rotationpolicy", &policy);
    golden.check("operations.txt");
}

#[test]
fn keys_deleted_and_restored() {
    let mut golden = Transcript::new();
    golden.ask("POST", KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let blob = golden.ask("POST", KEY_VAULT, "/keys/k/backup", &Value::Null);
    golden.ask("DELETE", KEY_VAULT, "/keys/k", &Value::Null);
    golden.ask("GET", KEY_VAULT, "/deletedkeys", &Value::Null);
    golden.ask("GET", KEY_VAULT, "/deletedkeys/k", &Value::Null);
    golden.ask("POST", KEY_VAULT, "/deletedkeys/k/recover", &Value::Null);
    golden.ask("DELETE", KEY_VAULT, "/keys/k", &Value::Null);
    golden.ask("DELETE", KEY_VAULT, "/deletedkeys/k", &Value::Null);
    golden.ask("POST", KEY_VAULT, "/keys/restore", &blob);
    golden.check("deleted.txt");
}

#[test]
fn errors_of_keys() {
    let mut golden = Transcript::new();
    golden.ask("POST", KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let sealed = json!({ "alg": "RSA-OAEP-256", "value": b64(&[0; 256]) });
    for (method, path, body) in [
        ("GET", "/keys/nowhere", Value::Null),
        ("GET", "/keys/k/00000000000000000000000000000000", Value::Null),
        ("GET", "/deletedkeys/k", Value::Null),
        ("POST", "/keys/k/unwrapkey", sealed.clone()),
        ("POST", "/keys/k/unwrapkey", json!({ "alg": "A256KW", "value": "AAAA" })),
        ("POST", "/keys/k/unwrapkey", json!({ "alg": "RSA-OAEP-256", "value": "=" })),
        ("POST", "/keys/k/sign", json!({ "alg": "RS256", "value": b64(&[1; 31]) })),
        ("POST", "/keys/bad/create", json!({ "kty": "RSA", "key_size": 1000 })),
        ("POST", "/keys/bad/create", json!({ "kty": "EC", "crv": "P-1" })),
        ("POST", "/keys/bad/create", json!({ "kty": "oct" })),
        ("POST", "/keys/b_d/create", json!({ "kty": "RSA" })),
        ("POST", "/keys/restore", json!({ "value": "AAAA" })),
        ("GET", "/secrets", Value::Null),
        ("GET", "/certificates/x", Value::Null),
        ("PUT", "/keys", Value::Null),
    ] {
        golden.ask(method, KEY_VAULT, path, &body);
    }
    for (attributes, key_ops) in [
        (json!({ "enabled": false }), Value::Null),
        (json!({ "enabled": true, "exp": 1_700_000_000 }), Value::Null),
        (json!({ "exp": 4_070_908_800_i64, "nbf": 4_070_000_000_i64 }), Value::Null),
        (json!({ "nbf": 0 }), json!(["sign"])),
    ] {
        let mut change = json!({ "attributes": attributes });
        if key_ops.is_array() {
            change["key_ops"] = key_ops;
        }
        golden.ask("PATCH", KEY_VAULT, "/keys/k", &change);
        let plain = json!({ "alg": "RSA-OAEP-256", "value": "AAAA" });
        golden.ask("POST", KEY_VAULT, "/keys/k/wrapkey", &plain);
        golden.ask("POST", KEY_VAULT, "/keys/k/unwrapkey", &sealed);
    }
    let blob = golden.ask("POST", KEY_VAULT, "/keys/k/backup", &Value::Null);
    golden.ask("POST", KEY_VAULT, "/keys/restore", &blob);
    golden.ask("DELETE", KEY_VAULT, "/keys/k", &Value::Null);
    golden.ask("POST", KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    golden.ask("POST", KEY_VAULT, "/keys/restore", &blob);
    golden.ask("GET", KEY_VAULT, "/keys/k", &Value::Null);
    golden.key_vault("kept", &json!({ "enablePurgeProtection": true }));
    let kept = "https://kept.vault.custody.localhost";
    golden.ask("POST", kept, "/keys/k/create", &json!({ "kty": "EC" }));
    golden.ask("DELETE", kept, "/keys/k", &Value::Null);
    golden.ask("DELETE", kept, "/deletedkeys/k", &Value::Null);
    golden.ask("GET", "https://none.vault.custody.localhost", "/keys", &Value::Null);
    golden.check("errors.txt");
}

#[test]
fn errors_of_callers() {
    let mut golden = Transcript::new();
    let policies = json!({ "enableRbacAuthorization": false });
    golden.key_vault("policies", &policies);
    golden.key_vault("walled", &json!({ "networkAcls": { "defaultAction": "Deny" } }));
    golden.key_vault("closed", &json!({ "publicNetworkAccess": "Disabled" }));
    let token = golden.token();
    golden.ask_from_outside(None, KEY_VAULT, "/keys/k");
    golden.ask_from_outside(Some("e30.e30.AA"), KEY_VAULT, "/keys/k");
    for name in ["kv1", "policies", "walled", "closed"] {
        let host = format!("https://{name}.vault.custody.localhost");
        golden.ask_from_outside(Some(&token), &host, "/keys/k");
    }
    golden.ask_from_outside(Some(&token), HSM, "/keys/k");
    golden.check("callers.txt");
}

/// Requests and answers in the order they went.
struct Transcript {
    world: World,
    text: String,
    /// What was drawn by chance, in the order it was first seen.
    drawn: Vec<String>,
}

impl Transcript {
    fn new() -> Self {
        Self { world: World::new(), text: String::new(), drawn: Vec::new() }
    }

    fn key_vault(&self, name: &str, properties: &Value) {
        let path = format!("{}/providers/Microsoft.KeyVault/vaults/{name}", self.world.group);
        let uri = format!("https://custody.localhost{path}?api-version=2026-02-01");
        let body = json!({ "location": "local", "properties": properties });
        let made = self.world.send(http::Method::PUT, &uri, Some(&body));
        assert!(made.status < 300, "{}", made.body);
    }

    /// A token of the administrator's application, which has no role on keys.
    fn token(&self) -> String {
        let application = self.world.server.administrator_application(false).unwrap();
        let secret = String::from_utf8(application.secret.unwrap().expose().to_vec()).unwrap();
        let own = "https://custody.localhost/custody/installation";
        let own = self.world.send(http::Method::GET, own, None);
        let uri = format!("https://custody.localhost/{}/oauth2/v2.0/token", own.text("/tenantId"));
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}\
             &scope=https://vault.custody.localhost/.default",
            application.client_id
        );
        let answer = self.world.send_bytes(http::Method::POST, &uri, form.into_bytes());
        answer.text("/access_token").to_owned()
    }

    fn ask(&mut self, method: &str, host: &str, path: &str, body: &Value) -> Value {
        let joint = if path.contains('?') { '&' } else { '?' };
        let uri = format!("{host}{path}{joint}api-version=7.6");
        let sent = (!body.is_null()).then_some(body);
        let answer = self.world.send(method.parse().unwrap(), &uri, sent);
        let request = format!("{method} {host}{path}\n{}", self.shown(body));
        self.note(&request, answer.status, &answer.body);
        answer.body
    }

    /// Asks as another machine does.
    fn ask_from_outside(&mut self, token: Option<&str>, host: &str, path: &str) {
        let name = host.strip_prefix("https://").unwrap();
        let mut request = Request::get(format!("{path}?api-version=7.6")).header("host", name);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let peer = Peer { address: SocketAddr::from(([192, 0, 2, 7], 4242)) };
        let answer = self.world.server.handle_from(request.body(Vec::new()).unwrap(), &peer);
        let (parts, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).unwrap();
        let token = if token.is_some() { "with a token" } else { "without a token" };
        let mut request = format!("GET {host}{path} {token}\n");
        if let Some(challenge) = parts.headers.get(header::WWW_AUTHENTICATE) {
            let challenge = self.numbered(challenge.to_str().unwrap());
            let _ = writeln!(request, "WWW-Authenticate: {challenge}");
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let code = parts.headers["x-ms-error-code"].to_str().unwrap();
        assert_eq!(body["error"]["code"], code);
        self.note(&request, parts.status.as_u16(), &body);
    }

    fn note(&mut self, request: &str, status: u16, body: &Value) {
        let body = self.shown(body);
        let _ = writeln!(self.text, "{request}→ {status}\n{body}");
    }

    /// A body with nothing in it that is drawn by chance; nothing for none.
    fn shown(&mut self, body: &Value) -> String {
        if body.is_null() {
            return String::new();
        }
        let body = self.settled(body, "");
        format!("{}\n", serde_json::to_string_pretty(&body).unwrap())
    }

    fn settled(&mut self, value: &Value, name: &str) -> Value {
        match value {
            Value::String(text) if BYTES.contains(&name) && text.len() > 20 => {
                let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
                // The length of a backup is nobody's business.
                let many =
                    if bytes.len() > 600 { "many".to_owned() } else { bytes.len().to_string() };
                json!(format!("<{many} bytes>"))
            }
            Value::String(text) => json!(self.numbered(text)),
            Value::Array(values) => values.iter().map(|each| self.settled(each, name)).collect(),
            Value::Object(members) => {
                let settled =
                    |(name, value): (&String, &Value)| (name.clone(), self.settled(value, name));
                Value::Object(members.iter().map(settled).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// Every run of hexadecimal digits and hyphens of at least 32 becomes its number.
    fn numbered(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
        let mut numbered = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(is_part) {
            let (before, from) = rest.split_at(at);
            let (run, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            numbered.push_str(before);
            if run.len() < 32 || run.bytes().all(|byte| byte == b'0') {
                numbered.push_str(run);
            } else {
                let known = self.drawn.iter().position(|each| each == run);
                let number = known.unwrap_or_else(|| {
                    self.drawn.push(run.to_owned());
                    self.drawn.len() - 1
                });
                let _ = write!(numbered, "<{}>", number + 1);
            }
            rest = after;
        }
        numbered + rest
    }

    fn check(self, name: &str) {
        let path = format!("{}/tests/golden/data-plane/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("CUSTODY_GOLDEN").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.text, expected, "{name} differs; CUSTODY_GOLDEN=1 writes it anew");
    }
}
