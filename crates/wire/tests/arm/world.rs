//! A server in the same process over a fresh data folder.

use std::path::Path;
use std::sync::Arc;

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{Housekeeping, PlatformOptions, Region, SealChoice, Server};
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The api-version of requests that name none.
pub(crate) const API_VERSION: &str = "2024-11-01";
/// ARM and Graph.
pub(crate) const MAIN: &str = "https://custody.localhost";
/// What tokens for key vaults are for.
pub(crate) const VAULTS: &str = "https://vault.custody.localhost";

/// A server, its clock and its folders.
pub(crate) struct World {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) subscription: String,
    pub(crate) tenant: String,
    pub(crate) administrator: String,
    server: Server,
    _folders: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// An application with a service principal.
pub(crate) struct Somebody {
    pub(crate) client: String,
    pub(crate) object: String,
    pub(crate) secret: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_locations(Vec::new())
    }

    pub(crate) fn with_locations(locations: Vec<Region>) -> Self {
        let folders = TempDir::new().unwrap();
        let clock = Arc::new(FixedClock::at_text("2026-03-01T12:00:00Z"));
        let options = PlatformOptions {
            data_folder: folders.path().join("data"),
            seal: SealChoice::File { folder: folders.path().join("seal") },
            clock: Arc::<FixedClock>::clone(&clock),
            entropy: Arc::new(SeededEntropy::new(7)),
            os_user: "tester".to_owned(),
            release_authorities: Vec::new(),
            locations,
        };
        let server = Server::open(options).unwrap();
        let mut world = Self {
            clock,
            subscription: String::new(),
            tenant: String::new(),
            administrator: String::new(),
            server,
            _folders: folders,
        };
        let facts = world.send(Method::GET, "/custody/installation", None).body;
        world.subscription =
            format!("/subscriptions/{}", facts["subscriptionId"].as_str().unwrap());
        facts["tenantId"].as_str().unwrap().clone_into(&mut world.tenant);
        let administrator = facts["administrator"]["principalId"].as_str();
        administrator.unwrap().clone_into(&mut world.administrator);
        world
    }

    /// Sends a request; `S` at the beginning of a path stands for the subscription.
    pub(crate) fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send_as(None, method, path, body)
    }

    /// The same with a token.
    pub(crate) fn send_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let path = match path.strip_prefix("S/") {
            Some(rest) => format!("{}/{rest}", self.subscription),
            None if path == "S" => self.subscription.clone(),
            None => path.to_owned(),
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let version = if path.contains("api-version") {
            String::new()
        } else {
            format!("{joint}api-version={API_VERSION}")
        };
        let path = path.replace(' ', "%20");
        let uri = if path.starts_with("https://") {
            format!("{path}{version}")
        } else {
            format!("{MAIN}{path}{version}")
        };
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        read(self.server.handle(request.body(body).unwrap()))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None)
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body))
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None)
    }

    /// The same as [`World::put`], of what must be made.
    pub(crate) fn make(&self, path: &str, body: Value) -> Value {
        let answer = self.put(path, body);
        assert!([200, 201].contains(&answer.status), "{path}: {answer:?}");
        answer.body
    }

    /// The names in a list.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let body = self.get(path).body;
        let all = body["value"].as_array().unwrap_or_else(|| panic!("{path}: {body}"));
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes an application that can sign in.
    pub(crate) fn application(&self, name: &str) -> Somebody {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let made = self.post("/v1.0/applications", json!({ "displayName": name })).body;
        let client = text(&made["appId"]);
        let password = format!("/v1.0/applications/{}/addPassword", text(&made["id"]));
        let secret = text(&self.post(&password, json!({})).body["secretText"]);
        let principal = self.post("/v1.0/servicePrincipals", json!({ "appId": client })).body;
        Somebody { client, secret, object: text(&principal["id"]) }
    }

    /// A token of an application for this resource.
    pub(crate) fn token(&self, of: &Somebody, resource: &str) -> String {
        self.token_in(&self.tenant, of, resource)
    }

    /// The same in this tenant.
    pub(crate) fn token_in(&self, tenant: &str, of: &Somebody, resource: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={resource}/.default",
            of.client, of.secret
        );
        let uri = format!("{MAIN}/{tenant}/oauth2/v2.0/token");
        let request = Request::post(uri).body(form.into_bytes()).unwrap();
        let answer = read(self.server.handle(request));
        answer.body["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    /// Grants a role, by its GUID, to a principal. `number` tells assignments apart.
    pub(crate) fn grant(&self, scope: &str, role: &str, principal: &str, number: u8) -> String {
        let path = format!(
            "{scope}/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-0000000001{number:02x}"
        );
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
        self.make(
            &path,
            json!({ "properties": {
                "roleDefinitionId": role,
                "principalId": principal,
                "principalType": "ServicePrincipal",
            } }),
        );
        path
    }

    /// The newest records of the ledger, newest first: operation, result, HTTP status.
    pub(crate) fn ledger(&self, count: usize) -> Vec<(String, String, u64)> {
        let all = self.get(&format!("/custody/ledger?top={count}")).body;
        let all = all["value"].as_array().unwrap().clone();
        all.iter()
            .map(|line| {
                let record = &line["record"];
                let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
                let status = record["properties"]["httpStatusCode"].as_u64().unwrap_or_default();
                (text("operationName"), text("resultType"), status)
            })
            .collect()
    }

    /// Waits until every operation has ended.
    pub(crate) fn settle(&self) {
        self.server.finish();
    }

    /// Does what is due by now.
    pub(crate) fn housekeep(&self) -> Housekeeping {
        let done = self.server.housekeep();
        assert!(done.problems.is_empty(), "{done:?}");
        done
    }

    /// Compares with a golden file; `CUSTODY_GOLDEN=1` writes it anew. What differs from run to run
    /// is written as its name: the installation's ids, versions of keys, and `others`.
    pub(crate) fn golden(&self, name: &str, body: &Value, others: &[(&str, &str)]) {
        let subscription = self.subscription.trim_start_matches("/subscriptions/");
        let own = [
            (subscription, "SUBSCRIPTION"),
            (self.tenant.as_str(), "TENANT"),
            (self.administrator.as_str(), "ADMINISTRATOR"),
        ];
        let mut text = serde_json::to_string_pretty(body).unwrap() + "\n";
        for (found, shown) in own.iter().chain(others) {
            text = text.replace(found, &format!("<{shown}>"));
        }
        let text = without_versions(&text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("CUSTODY_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{name} differs; CUSTODY_GOLDEN=1 writes it anew");
    }
}

impl Answer {
    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }
}

fn read(mut response: http::Response<custody_wire::Body>) -> Answer {
    let mut text = String::new();
    std::io::Read::read_to_string(response.body_mut(), &mut text).unwrap();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let in_lines = kind.is_some_and(|kind| kind == "application/x-ndjson");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: match text.as_str() {
            "" => Value::Null,
            lines if in_lines => lines.lines().map(|line| line.parse::<Value>().unwrap()).collect(),
            text => serde_json::from_str(text).unwrap(),
        },
    }
}

/// Versions of keys are 32 hexadecimal digits.
fn without_versions(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let words = text.split_inclusive(|c: char| !is_hex(c));
    words
        .map(|word| match word.trim_end_matches(|c: char| !is_hex(c)) {
            version if version.len() == 32 => word.replace(version, "<VERSION>"),
            _ => word.to_owned(),
        })
        .collect()
}
