//! What a server says of the key, and how it is brought to where an act begins.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::crash::keys::act::Act;
use crate::failure::Failure;
use crate::served::{Asked, MAIN, Served};

/// The key vault's host.
const KEY_VAULT: &str = "crash.vault.custody.localhost";
/// The role that may do everything with keys.
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
/// Versions beyond which the key is made anew.
const VERSIONS_MAX: usize = 20;

/// The key as a server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    /// All versions, sorted, and what the last update wrote.
    Live {
        versions: Vec<String>,
        mark: Option<String>,
    },
    /// The versions it had when it was deleted.
    Deleted {
        versions: Vec<String>,
    },
}

impl State {
    pub(crate) fn versions(&self) -> &[String] {
        match self {
            Self::Live { versions, .. } => versions,
            Self::Absent | Self::Deleted { .. } => &[],
        }
    }
}

/// A data folder and the server over it.
pub(crate) struct World {
    custody: PathBuf,
    folder: PathBuf,
    served: Option<Served>,
    updates: usize,
    /// The versions when the key was last deleted: a recovered key has them all.
    deleted: Vec<String>,
}

impl World {
    /// Starts a server and makes a key vault without purge protection.
    pub(crate) fn set_up(custody: &Path, folder: &Path) -> Result<Self, Failure> {
        let served = Served::start(custody, folder, &[])?;
        let own = served.must(&Asked {
            method: "GET",
            host: MAIN,
            path: "/custody/installation".to_owned(),
            body: Value::Null,
        })?;
        let text = |pointer: &str| own.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let group = format!("/subscriptions/{}/resourceGroups/custody", text("/subscriptionId"));
        let put = |path: String, properties: Value| {
            let body = json!({ "location": text("/location"), "properties": properties });
            served.must(&Asked { method: "PUT", host: MAIN, path, body })
        };
        let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/crash");
        let version = "?api-version=2026-02-01";
        put(format!("{vault}{version}"), json!({ "enableRbacAuthorization": true }))?;
        let authorization = "providers/Microsoft.Authorization";
        let name = "00000000-0000-0000-0000-000000000001";
        let properties = json!({
            "roleDefinitionId": format!("/{authorization}/roleDefinitions/{CRYPTO_OFFICER}"),
            "principalId": text("/administrator/principalId"),
        });
        let path = format!("{vault}/{authorization}/roleAssignments/{name}?api-version=2022-04-01");
        served.must(&Asked {
            method: "PUT",
            host: MAIN,
            path,
            body: json!({ "properties": properties }),
        })?;
        let (custody, folder) = (custody.to_owned(), folder.to_owned());
        Ok(Self { custody, folder, served: Some(served), updates: 0, deleted: Vec::new() })
    }

    pub(crate) fn served(&self) -> Result<&Served, Failure> {
        self.served.as_ref().ok_or_else(|| Failure::new("no server runs"))
    }

    /// Kills the server and starts another over the same folder.
    pub(crate) fn kill_and_start(&mut self) -> Result<(), Failure> {
        if let Some(served) = self.served.take() {
            served.kill()?;
        }
        self.served = Some(Served::start(&self.custody, &self.folder, &[])?);
        Ok(())
    }

    /// The request of an act.
    pub(crate) fn asked(&self, act: Act) -> Asked<'static> {
        let (method, path, body) = act.request(&format!("{}", self.updates));
        asked(method, path, body)
    }

    /// Brings the key to where the act begins, and says how it is then.
    pub(crate) fn prepare(&mut self, act: Act) -> Result<State, Failure> {
        self.updates += 1;
        let mut state = self.state()?;
        if state.versions().len() >= VERSIONS_MAX {
            self.perform(Act::Delete)?;
            state = self.state()?;
        }
        let wanted = |state: &State| match act {
            Act::Create => *state == State::Absent,
            Act::Recover | Act::Purge => matches!(state, State::Deleted { .. }),
            Act::NewVersion | Act::Rotate | Act::Import | Act::Update | Act::Delete => {
                matches!(state, State::Live { .. })
            }
        };
        while !wanted(&state) {
            // Around the life of a key once, at most.
            self.perform(match state {
                State::Absent => Act::Create,
                State::Live { .. } => Act::Delete,
                State::Deleted { .. } => Act::Purge,
            })?;
            state = self.state()?;
        }
        if let State::Live { versions, .. } = &state {
            self.deleted.clone_from(versions);
        }
        Ok(state)
    }

    fn perform(&mut self, act: Act) -> Result<(), Failure> {
        if let (Act::Delete, State::Live { versions, .. }) = (act, self.state()?) {
            self.deleted = versions;
        }
        self.served()?.must(&self.asked(act)).map(drop)
    }

    /// How the key is. A version that stands twice and a key that both lives and is deleted are
    /// faults.
    pub(crate) fn state(&self) -> Result<State, Failure> {
        let served = self.served()?;
        let live = served.ask(&asked("GET", "/keys/k", Value::Null))?;
        let gone = served.ask(&asked("GET", "/deletedkeys/k", Value::Null))?;
        match (live.status, gone.status) {
            (404, 404) => return Ok(State::Absent),
            (404, 200) => return Ok(State::Deleted { versions: self.deleted.clone() }),
            (200, 404) => {}
            (live, gone) => {
                return Err(Failure::new(format!("the key is {live}, deleted it is {gone}")));
            }
        }
        let mut versions = self.versions()?;
        versions.sort();
        let count = versions.len();
        versions.dedup();
        if count != versions.len() {
            return Err(Failure::new(format!("a version stands twice: {versions:?}")));
        }
        let mark = live.body.pointer("/tags/mark").and_then(Value::as_str).map(str::to_owned);
        Ok(State::Live { versions, mark })
    }

    /// All pages of the key's versions.
    fn versions(&self) -> Result<Vec<String>, Failure> {
        let mut versions = Vec::new();
        let mut next = Some("/keys/k/versions".to_owned());
        while let Some(path) = next {
            let page = self.served()?.must(&asked("GET", &path, Value::Null))?;
            for item in page.get("value").and_then(Value::as_array).into_iter().flatten() {
                let kid = item.get("kid").and_then(Value::as_str).unwrap_or_default();
                versions.push(kid.rsplit('/').next().unwrap_or_default().to_owned());
            }
            let link = page.get("nextLink").and_then(Value::as_str).unwrap_or_default();
            next = link.find("/keys/").and_then(|at| link.get(at..)).map(str::to_owned);
        }
        Ok(versions)
    }

    /// Signs with each of these versions: their private halves are there and open.
    pub(crate) fn signs(&self, versions: &[String]) -> Result<(), Failure> {
        for version in versions {
            let digest = "A".repeat(43);
            let body = json!({ "alg": "ES256", "value": digest });
            self.served()?.must(&asked("POST", &format!("/keys/k/{version}/sign"), body))?;
        }
        Ok(())
    }

    pub(crate) fn ledger_verifies(&self) -> Result<(), Failure> {
        let path = "/custody/ledger/verify".to_owned();
        let report =
            self.served()?.must(&Asked { method: "POST", host: MAIN, path, body: json!({}) })?;
        if report.get("ok") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(Failure::new(format!("the ledger does not verify: {report}")))
    }
}

fn asked<'a>(method: &'a str, path: &str, body: Value) -> Asked<'a> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let version = if path.contains("api-version") {
        String::new()
    } else {
        format!("{joint}api-version=7.6")
    };
    Asked { method, host: KEY_VAULT, path: format!("{path}{version}"), body }
}
