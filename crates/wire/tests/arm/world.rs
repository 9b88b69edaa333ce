//! A server in the same process over a fresh data folder.

use std::sync::Arc;

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{PlatformOptions, SealChoice, Server};
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use tempfile::TempDir;

/// The api-version of requests that name none.
pub(crate) const API_VERSION: &str = "2024-11-01";

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

impl World {
    pub(crate) fn new() -> Self {
        let folders = TempDir::new().unwrap();
        let clock = Arc::new(FixedClock::at_text("2026-03-01T12:00:00Z"));
        let options = PlatformOptions {
            data_folder: folders.path().join("data"),
            seal: SealChoice::File { folder: folders.path().join("seal") },
            clock: Arc::<FixedClock>::clone(&clock),
            entropy: Arc::new(SeededEntropy::new(7)),
            os_user: "tester".to_owned(),
            release_authorities: Vec::new(),
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
            format!("https://custody.localhost{path}{version}")
        };
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(uri).body(body).unwrap();
        let mut response = self.server.handle(request);
        let mut text = String::new();
        std::io::Read::read_to_string(response.body_mut(), &mut text).unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() },
        }
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

    /// The names in a list.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let body = self.get(path).body;
        let all = body["value"].as_array().unwrap_or_else(|| panic!("{path}: {body}"));
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until every operation has ended.
    pub(crate) fn settle(&self) {
        self.server.finish();
    }
}

impl Answer {
    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }
}
