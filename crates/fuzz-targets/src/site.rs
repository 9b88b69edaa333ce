//! The installation that requests go to.

use std::cell::OnceCell;
use std::io::Read as _;
use std::sync::Arc;

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{Base, Network, Peer, PlatformOptions, SealChoice, Server};
use http::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::attestation::Attested;

pub(crate) const MAIN: &str = "https://custody.localhost";
pub(crate) const KEY_VAULT: &str = "https://kv1.vault.custody.localhost";
pub(crate) const HSM: &str = "https://hsm1.managedhsm.custody.localhost";
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
/// The local roles that make keys and use them.
const HSM_ROLES: [&str; 2] =
    ["515eb02d-2335-4d2d-92f2-b1cbdf9c3778", "21dbd100-6940-42c2-9190-5d6cb909625b"];

/// What targets work on, made when one first needs it.
#[derive(Default)]
pub struct World {
    site: OnceCell<Site>,
    attested: OnceCell<Attested>,
}

impl World {
    pub(crate) fn site(&self) -> &Site {
        self.site.get_or_init(Site::new)
    }

    pub(crate) fn attested(&self) -> &Attested {
        self.attested.get_or_init(Attested::new)
    }
}

/// A server with a key vault, a managed HSM, keys, an attached identity, and its administrator.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) peer: Peer,
    pub(crate) tenant: String,
    pub(crate) subscription: String,
    pub(crate) client: String,
    pub(crate) principal: String,
    pub(crate) secret: String,
    /// Tokens for ARM and Graph, key vaults, managed HSMs.
    pub(crate) tokens: [String; 3],
    /// The backup of a key that is purged.
    pub(crate) blob: Vec<u8>,
    /// An application with a registered certificate.
    pub(crate) certified: String,
    _folder: TempDir,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let body = self.body();
        let text = body.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer} in {} {body}", self.status)).to_owned()
    }
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::open(PlatformOptions {
            data_folder: folder.path().join("data"),
            seal: SealChoice::File { folder: folder.path().join("seal") },
            clock: Arc::new(FixedClock::at_text("2027-01-15T08:00:00Z")),
            entropy: Arc::new(SeededEntropy::new(1)),
            os_user: "tester".to_owned(),
            locations: Vec::new(),
        })
        .unwrap();
        let address = "127.0.0.1:443".parse().unwrap();
        let server = server.reached_by(Network {
            base: Base::canonical(),
            address,
            authority_file: None,
            administrator: None,
            identity_port: None,
            clock: None,
        });
        let made = server.administrator_application(false).unwrap();
        let mut site = Self {
            server,
            peer: Peer { address },
            tenant: String::new(),
            subscription: String::new(),
            client: made.client_id.to_string(),
            principal: made.object_id.to_string(),
            secret: String::from_utf8(made.secret.unwrap().expose().to_vec()).unwrap(),
            tokens: Default::default(),
            blob: Vec::new(),
            certified: String::new(),
            _folder: folder,
        };
        let own = site.made("GET", "/custody/installation", &Value::Null);
        site.tenant = own.text("/tenantId");
        site.subscription = format!("/subscriptions/{}", own.text("/subscriptionId"));
        site.tokens = ["", "vault.", "managedhsm."]
            .map(|domain| site.bearer(&format!("https://{domain}custody.localhost")));
        site.vaults(&own.text("/administrator/principalId"));
        site.keys();
        site.directory();
        site
    }

    /// Signs the administrator in.
    fn bearer(&self, resource: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={resource}/.default",
            self.client, self.secret
        );
        let uri = format!("{MAIN}/{}/oauth2/v2.0/token", self.tenant);
        let request = Request::post(uri).body(form.into_bytes()).unwrap();
        read(self.server.handle(request)).text("/access_token")
    }

    fn vaults(&self, bootstrap: &str) {
        let group = format!("{}/resourceGroups/custody", self.subscription);
        let vault =
            format!("{group}/providers/Microsoft.KeyVault/vaults/kv1?api-version=2026-02-01");
        let properties = json!({ "enableRbacAuthorization": true });
        self.made("PUT", &vault, &json!({ "location": "local", "properties": properties }));
        let hsm = format!("{group}/providers/Microsoft.KeyVault/managedHSMs/hsm1");
        let properties = json!({
            "initialAdminObjectIds": [bootstrap, self.principal], "softDeleteRetentionInDays": 7,
        });
        let sku = json!({ "family": "B", "name": "Standard_B1" });
        let body = json!({ "location": "local", "sku": sku, "properties": properties });
        self.made("PUT", &format!("{hsm}?api-version=2026-02-01"), &body);
        for (number, principal) in [bootstrap, &self.principal].iter().enumerate() {
            let name = format!("00000000-0000-0000-0000-00000000000{number}");
            let assignment = format!("/providers/Microsoft.Authorization/roleAssignments/{name}");
            let role =
                |of: &str| format!("/providers/Microsoft.Authorization/roleDefinitions/{of}");
            let body = |role: &str| {
                json!({ "properties": {
                    "roleDefinitionId": role, "principalId": principal,
                }})
            };
            let path = format!("{group}{assignment}?api-version=2022-04-01");
            self.made("PUT", &path, &body(&role(CRYPTO_OFFICER)));
            for (role_number, role) in HSM_ROLES.iter().enumerate() {
                let name = format!("00000000-0000-0000-0000-0000000001{number}{role_number}");
                let path = format!(
                    "{HSM}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=7.6"
                );
                self.made("PUT", &path, &body(role));
            }
        }
    }

    fn keys(&mut self) {
        let create = |host: &str, name: &str, body: Value| {
            self.made("POST", &format!("{host}/keys/{name}/create?api-version=7.6"), &body)
        };
        create(KEY_VAULT, "ec", json!({ "kty": "EC" }));
        create(KEY_VAULT, "rsa", json!({ "kty": "RSA" }));
        create(HSM, "oct", json!({ "kty": "oct-HSM", "key_size": 256 }));
        create(KEY_VAULT, "gone", json!({ "kty": "EC" }));
        let ask = |method: &str, path: &str| {
            self.made(method, &format!("{KEY_VAULT}{path}?api-version=7.6"), &Value::Null)
        };
        let blob = ask("POST", "/keys/gone/backup").text("/value");
        ask("DELETE", "/keys/gone");
        ask("DELETE", "/deletedkeys/gone");
        self.blob = data_encoding::BASE64URL_NOPAD.decode(blob.as_bytes()).unwrap();
    }

    fn directory(&mut self) {
        let identity = format!(
            "{}/resourceGroups/custody/providers/Microsoft.ManagedIdentity/\
             userAssignedIdentities/one",
            self.subscription
        );
        let place = json!({ "location": "local" });
        self.made("PUT", &format!("{identity}?api-version=2024-11-30"), &place);
        self.made("POST", "/custody/host/identities", &json!({ "identityId": identity }));
        let certificate = data_encoding::BASE64.encode(crate::values::CERTIFICATE);
        let credential = json!({
            "type": "AsymmetricX509Cert", "usage": "Verify", "key": certificate,
        });
        let body = json!({ "displayName": "certified", "keyCredentials": [credential] });
        self.certified = self.made("POST", "/v1.0/applications", &body).text("/appId");
        self.made("POST", "/v1.0/servicePrincipals", &json!({ "appId": self.certified }));
    }

    /// Sends a request of the bootstrap administrator that must succeed.
    fn made(&self, method: &str, path: &str, body: &Value) -> Answer {
        let uri = if path.starts_with('/') { format!("{MAIN}{path}") } else { path.to_owned() };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(&uri).body(bytes).unwrap();
        let answer = read(self.server.handle(request));
        assert!(answer.status < 300, "{method} {uri}: {} {}", answer.status, answer.body());
        answer
    }

    /// Sends a request from the network, and checks what holds for every answer.
    pub(crate) fn ask(&self, request: Request<Vec<u8>>) -> Answer {
        checked(read(self.server.handle_from(request, &self.peer)))
    }

    /// Asks a key vault or the main host with the administrator's token for it.
    pub(crate) fn ask_with_token(&self, method: &str, uri: &str, body: Vec<u8>) -> Option<Answer> {
        let token = &self.tokens[usize::from(uri.starts_with(KEY_VAULT))];
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        Some(self.ask(request.body(body).ok()?))
    }
}

pub(crate) fn checked(answer: Answer) -> Answer {
    let shown = || String::from_utf8_lossy(&answer.bytes).chars().take(500).collect::<String>();
    assert!(answer.status != 500, "a fault of the server: {}", shown());
    let is_json = answer.content_type.starts_with("application/json");
    if is_json && !answer.bytes.is_empty() {
        let body = serde_json::from_slice::<Value>(&answer.bytes);
        assert!(body.is_ok(), "a body that is no JSON: {}", shown());
    }
    answer
}

pub(crate) fn read(response: http::Response<custody_wire::Body>) -> Answer {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, content_type) = (response.status().as_u16(), content_type.to_owned());
    let mut bytes = Vec::new();
    response.into_body().read_to_end(&mut bytes).unwrap();
    Answer { status, content_type, bytes }
}
