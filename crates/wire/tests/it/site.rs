//! A server over a fresh data folder, and what tests ask of it.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{Base, LoneRepository, Peer, PlatformOptions, SealChoice, Server, StartError};
use http::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

/// ARM and Graph.
pub(crate) const MAIN: &str = "https://custody.localhost";
/// What tokens for key vaults are for.
pub(crate) const VAULTS: &str = "https://vault.custody.localhost";

/// One installation and its administrator.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) server: Server,
    pub(crate) tenant: String,
    pub(crate) client: String,
    pub(crate) object: String,
    pub(crate) secret: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) challenge: Option<String>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at_text("2027-01-15T08:00:00Z"));
        let server = open(&folder, &clock, 1);
        let made = server.administrator_application(false).unwrap();
        let secret = String::from_utf8(made.secret.unwrap().expose().to_vec()).unwrap();
        let installation = ask(&server, "GET", "/custody/installation", None, Value::Null);
        let tenant = installation.body["tenantId"].as_str().unwrap().to_owned();
        let (client, object) = (made.client_id.to_string(), made.object_id.to_string());
        Self { folder, clock, server, tenant, client, object, secret }
    }

    /// The same data folder in another process.
    pub(crate) fn again(&self) -> Server {
        open(&self.folder, &self.clock, 2)
    }

    /// A repository by itself, with the keys of this data folder and without its records.
    pub(crate) fn repository(
        &self,
        folder: &Path,
        fingerprint: Option<&str>,
    ) -> Result<Server, StartError> {
        let fingerprint = fingerprint.map(str::to_owned);
        let wanted = LoneRepository { folder: folder.to_owned(), fingerprint, kit: None };
        Server::open_repository(options(&self.folder, &self.clock, 3), wanted)
    }

    /// Sends a request with this token, or as the bootstrap administrator without.
    pub(crate) fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> Answer {
        ask(&self.server, method, path, token, body)
    }

    /// Sends a request as it comes over the network, from this machine.
    pub(crate) fn ask_over_network(&self, request: Request<Vec<u8>>) -> (u16, String) {
        let peer = Peer { address: ([127, 0, 0, 1], 40_000).into() };
        let response = self.server.handle_from(request, &peer);
        let status = response.status().as_u16();
        let mut text = String::new();
        response.into_body().read_to_string(&mut text).unwrap();
        (status, text)
    }

    /// Makes a key vault whose keys the administrator's application may use, and returns its id.
    pub(crate) fn key_vault(&self, name: &str) -> String {
        let made = self.ask("GET", "/custody/installation", None, Value::Null).body;
        let group = format!(
            "/subscriptions/{}/resourceGroups/custody",
            made["subscriptionId"].as_str().unwrap()
        );
        let id = format!("{group}/providers/Microsoft.KeyVault/vaults/{name}");
        let properties = json!({ "enableRbacAuthorization": true });
        let body = json!({ "location": "local", "properties": properties });
        self.put(&id, "2026-02-01", &body);
        let officer = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{officer}");
        let properties = json!({ "roleDefinitionId": role, "principalId": self.object });
        let assignments = format!("{id}/providers/Microsoft.Authorization/roleAssignments");
        let assignment = format!("{assignments}/00000000-0000-0000-0000-000000000001");
        self.put(&assignment, "2022-04-01", &json!({ "properties": properties }));
        id
    }

    /// Puts a resource as the bootstrap administrator.
    pub(crate) fn put(&self, id: &str, version: &str, body: &Value) -> Value {
        let path = format!("{id}?api-version={version}");
        let made = self.ask("PUT", &path, None, body.clone());
        assert!(made.status < 300, "{made:?}");
        made.body
    }

    /// Sends a form to the token endpoint.
    pub(crate) fn token(&self, tenant: &str, fields: &[(&str, &str)]) -> Answer {
        self.form(&format!("/{tenant}/oauth2/v2.0/token"), fields)
    }

    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let request = Request::post(format!("{MAIN}{path}")).body(form.join("&").into_bytes());
        read(self.server.handle(request.unwrap()))
    }

    /// The administrator's token for this resource.
    pub(crate) fn bearer(&self, resource: &str) -> String {
        self.bearer_of(&self.tenant, &self.client, &self.secret, resource)
    }

    pub(crate) fn bearer_of(
        &self,
        tenant: &str,
        client: &str,
        secret: &str,
        resource: &str,
    ) -> String {
        let scope = format!("{resource}/.default");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", &scope),
        ];
        let answer = self.token(tenant, &fields);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["access_token"].as_str().unwrap().to_owned()
    }
}

fn open(folder: &TempDir, clock: &Arc<FixedClock>, seed: u64) -> Server {
    Server::open(options(folder, clock, seed)).unwrap()
}

fn options(folder: &TempDir, clock: &Arc<FixedClock>, seed: u64) -> PlatformOptions {
    PlatformOptions {
        data_folder: folder.path().join("data"),
        seal: SealChoice::File { folder: folder.path().join("seal") },
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(seed)),
        os_user: "tester".to_owned(),
        release_authorities: Vec::new(),
        locations: Vec::new(),
    }
}

pub(crate) fn ask(
    server: &Server,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Answer {
    let uri = if path.starts_with("https:") { path.to_owned() } else { format!("{MAIN}{path}") };
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    read(server.handle(request.body(bytes).unwrap()))
}

pub(crate) fn read(response: http::Response<custody_wire::Body>) -> Answer {
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    response.into_body().read_to_end(&mut bytes).unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { status, body, challenge }
}

pub(crate) fn base() -> Base {
    Base::canonical()
}

/// For a query or form.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
