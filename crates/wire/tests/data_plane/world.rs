//! A server over a fresh folder with a key vault and a managed HSM, and its administrator.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{PlatformOptions, ReleaseAuthority, SealChoice, Server};
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};

pub(crate) const KEY_VAULT: &str = "https://kv1.vault.custody.localhost";
pub(crate) const HSM: &str = "https://hsm1.managedhsm.custody.localhost";
pub(crate) const API: &str = "7.6";
pub(crate) const OWN_API: &str = "custody-1";
/// The time in every world.
pub(crate) const NOW: &str = "2026-11-22T06:00:00Z";

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) group: String,
    folder: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The inner code of an error, or its code, or `OK`.
    pub(crate) fn code(&self) -> &str {
        let text = |path: &str| self.body.pointer(path).and_then(Value::as_str);
        text("/error/innererror/code").or_else(|| text("/error/code")).unwrap_or("OK")
    }

    pub(crate) fn message(&self) -> &str {
        self.text("/error/message")
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.body.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_authorities(Vec::new())
    }

    /// The same, where the word of these counts for the release of keys.
    pub(crate) fn with_authorities(release_authorities: Vec<ReleaseAuthority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = open(&folder, 7, release_authorities);
        let mut world = Self { server, group: String::new(), folder };
        let own = world.send(Method::GET, "https://custody.localhost/custody/installation", None);
        let subscription = own.text("/subscriptionId").to_owned();
        let administrator = own.text("/administrator/principalId").to_owned();
        world.group = format!("/subscriptions/{subscription}/resourceGroups/custody");
        world.key_vault("kv1", &json!({}));
        let group = world.group.clone();
        let hsm = format!("{group}/providers/Microsoft.KeyVault/managedHSMs/hsm1");
        let properties =
            json!({ "initialAdminObjectIds": [administrator], "softDeleteRetentionInDays": 7 });
        let sku = json!({ "family": "B", "name": "Standard_B1" });
        let body = json!({ "location": "local", "sku": sku, "properties": properties });
        let made = world.arm(Method::PUT, &hsm, "2026-02-01", &body);
        assert!(made.status < 300, "{}", made.body);
        let officer = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
        world.grant(&group, officer, &administrator, 1);
        // The local roles of a managed HSM are no business of ARM.
        for (number, role) in
            ["21dbd100-6940-42c2-9190-5d6cb909625b", "515eb02d-2335-4d2d-92f2-b1cbdf9c3778"]
                .iter()
                .enumerate()
        {
            let path = format!(
                "/providers/Microsoft.Authorization/roleAssignments/\
                 00000000-0000-0000-0000-0000000000{number:02}"
            );
            let properties = json!({ "roleDefinitionId": role, "principalId": administrator });
            let body = json!({ "properties": properties });
            let made = world.put("https://hsm1.managedhsm.custody.localhost", &path, &body);
            assert_eq!(made.status, 201, "{}", made.body);
        }
        world
    }

    /// Another process on the same data folder.
    pub(crate) fn beside(&self) -> Server {
        // No two processes draw the same.
        static SEED: AtomicU64 = AtomicU64::new(8);
        open(&self.folder, SEED.fetch_add(1, Ordering::Relaxed), Vec::new())
    }

    pub(crate) fn key_vault(&self, name: &str, tags: &Value) {
        let path = format!("{}/providers/Microsoft.KeyVault/vaults/{name}", self.group);
        let properties = json!({ "enableRbacAuthorization": true });
        let body = json!({ "location": "local", "tags": tags, "properties": properties });
        let made = self.arm(Method::PUT, &path, "2026-02-01", &body);
        assert!(made.status < 300, "{}", made.body);
    }

    fn grant(&self, scope: &str, role: &str, principal: &str, number: usize) {
        let path = format!(
            "{scope}/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-00000000000{number}"
        );
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": principal });
        let body = json!({ "properties": properties });
        let made = self.arm(Method::PUT, &path, "2022-04-01", &body);
        assert!(made.status < 300, "{}", made.body);
    }

    fn arm(&self, method: Method, path: &str, version: &str, body: &Value) -> Answer {
        let uri = format!("https://custody.localhost{path}?api-version={version}");
        self.send(method, &uri, Some(body))
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        self.send(Method::GET, &with_version(host, path, API), None)
    }

    pub(crate) fn post(&self, host: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, &with_version(host, path, API), Some(body))
    }

    pub(crate) fn put(&self, host: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, &with_version(host, path, API), Some(body))
    }

    pub(crate) fn patch(&self, host: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, &with_version(host, path, API), Some(body))
    }

    pub(crate) fn delete(&self, host: &str, path: &str) -> Answer {
        self.send(Method::DELETE, &with_version(host, path, API), None)
    }

    pub(crate) fn own(&self, method: Method, host: &str, path: &str, body: &Value) -> Answer {
        self.send(method, &with_version(host, path, OWN_API), Some(body))
    }

    pub(crate) fn send(&self, method: Method, uri: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.send_bytes(method, uri, body)
    }

    pub(crate) fn send_bytes(&self, method: Method, uri: &str, body: Vec<u8>) -> Answer {
        send_to(&self.server, method, uri, &[], body)
    }
}

/// Sends a request with these headers to this one of several servers.
pub(crate) fn send_to(
    server: &Server,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, mut body) = server.handle(request.body(body).unwrap()).into_parts();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    let body = match bytes.as_slice() {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes).unwrap(),
    };
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

fn open(
    folder: &tempfile::TempDir,
    seed: u64,
    release_authorities: Vec<ReleaseAuthority>,
) -> Server {
    let clock = FixedClock::at_text(NOW);
    Server::open(PlatformOptions {
        data_folder: folder.path().join("data"),
        seal: SealChoice::File { folder: folder.path().join("seal") },
        clock: Arc::new(clock),
        entropy: Arc::new(SeededEntropy::new(seed)),
        os_user: "kim".to_owned(),
        locations: Vec::new(),
        release_authorities,
    })
    .unwrap()
}

fn with_version(host: &str, path: &str, version: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{host}{path}{joint}api-version={version}")
}

pub(crate) fn b64(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
}
