//! A server with two key vaults and an identity that may use their keys, and what is asked of it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::encryption;
use crate::failure::{Failure, Trying};
use crate::served::{Asked, MAIN, Served};

/// The keys: each its key vault and its name.
pub(super) const KEYS: [&str; 3] = ["crash1/k", "crash2/k", "crash1/followed"];
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
const ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
const VAULTS_API: &str = "2025-02-01";
/// What is protected.
const LETTER: &str = "the only copy";
/// How often it is looked whether something has come about, and how long at most.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS_MAX: usize = 6_000;

/// A data folder and the server over it.
pub(super) struct Site {
    custody: PathBuf,
    folder: PathBuf,
    served: Option<Served>,
    group: String,
    location: String,
    identity: String,
    number: usize,
}

/// The id of the item in a vault.
pub(super) fn item_of(vault: &str) -> String {
    format!("{vault}/backupInstances/docs")
}

/// A key's URI, without a version.
pub(super) fn key_uri(key: &str) -> String {
    let (vault, name) = key.split_once('/').unwrap_or_default();
    format!("https://{vault}.vault.custody.localhost/keys/{name}")
}

impl Site {
    /// Starts a server and makes key vaults, keys, an identity and its grants.
    pub(super) fn set_up(custody: &Path, folder: &Path) -> Result<Self, Failure> {
        let source = folder.join("source");
        for made in [&folder.join("home"), &source] {
            fs::create_dir_all(made).trying(made.display())?;
        }
        fs::write(source.join("letter.txt"), LETTER).trying(source.display())?;
        let served = Served::start(custody, folder, &[])?;
        let mut site = Self {
            custody: custody.to_owned(),
            folder: folder.to_owned(),
            served: Some(served),
            group: String::new(),
            location: String::new(),
            identity: String::new(),
            number: 0,
        };
        let own = site.arm("GET", "/custody/installation", Value::Null)?;
        let text = |pointer: &str| own.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        site.group = format!("/subscriptions/{}/resourceGroups/custody", text("/subscriptionId"));
        text("/location").clone_into(&mut site.location);
        let administrator = text("/administrator/principalId").to_owned();
        site.identity = site.resource("Microsoft.ManagedIdentity/userAssignedIdentities", "one");
        let path = format!("{}?api-version=2024-11-30", site.identity);
        let made = site.arm("PUT", &path, json!({ "location": site.location }))?;
        let principal = made.pointer("/properties/principalId").and_then(Value::as_str);
        for name in ["crash1", "crash2"] {
            let vault = site.resource("Microsoft.KeyVault/vaults", name);
            let properties =
                json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
            let body = json!({ "location": site.location, "properties": properties });
            site.arm("PUT", &format!("{vault}?api-version=2026-02-01"), body)?;
            site.grant(&vault, CRYPTO_OFFICER, &administrator, 1)?;
            site.grant(&vault, ENCRYPTION_USER, principal.unwrap_or_default(), 2)?;
        }
        for key in KEYS {
            site.new_version(key)?;
        }
        Ok(site)
    }

    fn resource(&self, kind: &str, name: &str) -> String {
        format!("{}/providers/{kind}/{name}", self.group)
    }

    fn grant(&self, on: &str, role: &str, to: &str, number: u32) -> Result<(), Failure> {
        let authorization = "providers/Microsoft.Authorization";
        let path = format!(
            "{on}/{authorization}/roleAssignments/00000000-0000-0000-0000-{number:012}\
             ?api-version=2022-04-01"
        );
        let role = format!("/{authorization}/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": to });
        self.arm("PUT", &path, json!({ "properties": properties })).map(drop)
    }

    /// The id of a Backup vault.
    pub(super) fn vault(&self, name: &str) -> String {
        self.resource("Microsoft.DataProtection/backupVaults", name)
    }

    pub(super) fn next_number(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    fn served(&self) -> Result<&Served, Failure> {
        self.served.as_ref().ok_or_else(|| Failure::new("no server runs"))
    }

    fn arm(&self, method: &str, path: &str, body: Value) -> Result<Value, Failure> {
        self.served()?.must(&Asked { method, host: MAIN, path: path.to_owned(), body })
    }

    /// Kills the server and starts another over the same folder.
    pub(super) fn kill_and_start(&mut self) -> Result<(), Failure> {
        if let Some(served) = self.served.take() {
            served.kill()?;
        }
        self.served = Some(Served::start(&self.custody, &self.folder, &[])?);
        Ok(())
    }

    fn new_version(&self, key: &str) -> Result<Value, Failure> {
        self.served()?.must(&new_version(key)?)
    }

    /// Sends what brings a vault under a key, or makes a new version of the key, without waiting.
    pub(super) fn send(
        &self,
        follows: bool,
        vault: &str,
        key: &'static str,
    ) -> Result<UnixStream, Failure> {
        let asked = if follows { new_version(key)? } else { self.asked(vault, Some(key)) };
        self.served()?.send(&asked).trying(vault)
    }

    /// The same, and reads the answer.
    pub(super) fn begin(&self, follows: bool, vault: &str, key: &str) -> Result<(), Failure> {
        if follows {
            return self.new_version(key).map(drop);
        }
        self.wait(|site| {
            let answered = site.served()?.ask(&site.asked(vault, Some(key)))?;
            match answered.status {
                0..300 => Ok(true),
                // The server is finishing by itself what was broken off.
                409 => Ok(false),
                status => Err(Failure::new(format!("{vault}: {status} {}", answered.body))),
            }
        })
    }

    /// Makes a vault, and waits until it is there.
    pub(super) fn put_vault(&self, vault: &str, key: Option<&str>) -> Result<(), Failure> {
        self.served()?.must(&self.asked(vault, key))?;
        self.settle(vault)
    }

    fn asked(&self, vault: &str, key: Option<&str>) -> Asked<'static> {
        let properties = key.map_or_else(|| json!({}), |key| encryption(&self.identity, key));
        let identity = json!({
            "type": "UserAssigned", "userAssignedIdentities": { self.identity.clone(): {} },
        });
        let body = json!({
            "location": self.location, "identity": identity, "properties": properties,
        });
        let path = format!("{vault}?api-version={VAULTS_API}");
        Asked { method: "PUT", host: MAIN, path, body }
    }

    fn get(&self, id: &str) -> Result<Value, Failure> {
        self.arm("GET", &format!("{id}?api-version={VAULTS_API}"), Value::Null)
    }

    /// The vault's state and key; none if it is not there or under the platform's key.
    pub(super) fn settings(&self, vault: &str) -> Result<Option<Value>, Failure> {
        let path = format!("{vault}?api-version={VAULTS_API}");
        let seen =
            self.served()?.ask(&Asked { method: "GET", host: MAIN, path, body: Value::Null })?;
        let settings = seen.body.pointer("/properties/securitySettings/encryptionSettings");
        Ok(settings.map(|settings| {
            let key = settings.pointer("/keyVaultProperties/keyUri");
            json!({ "state": settings.get("state"), "keyUri": key })
        }))
    }

    /// The key versions that wrap the vault.
    pub(super) fn wraps(&self, vault: &str) -> Result<Vec<String>, Failure> {
        let seen = self.get(vault)?;
        let generations = seen.pointer("/properties/keyring/generations");
        let generations = generations.and_then(Value::as_array).into_iter().flatten();
        let wraps = generations.filter_map(|one| one.get("wraps")?.as_array()).flatten();
        Ok(wraps.filter_map(|wrap| wrap.as_str().map(str::to_owned)).collect())
    }

    /// Waits until nothing is being done to the vault.
    pub(super) fn settle(&self, vault: &str) -> Result<(), Failure> {
        self.wait(|site| {
            let seen = site.get(vault)?;
            let state = seen.pointer("/properties/provisioningState").and_then(Value::as_str);
            Ok(matches!(state, Some("Succeeded" | "Failed")))
        })
    }

    /// Protects the folder in a vault and makes a recovery point; the item's id.
    pub(super) fn protect(&self, vault: &str) -> Result<String, Failure> {
        let item = item_of(vault);
        let properties = json!({
            "objectType": "BackupInstance", "friendlyName": "docs",
            "dataSourceInfo": {
                "objectType": "Datasource", "datasourceType": "Custody.Sources/folders",
                "resourceName": "docs",
            },
            "folder": { "paths": [self.folder.join("source")] },
        });
        let path = format!("{item}?api-version={VAULTS_API}");
        self.arm("PUT", &path, json!({ "properties": properties }))?;
        self.job(vault, &item, "backup", json!({}))?;
        Ok(item)
    }

    /// The newest recovery point restores to what was protected.
    pub(super) fn restores(&self, vault: &str, item: &str) -> Result<(), Failure> {
        let into = self.folder.join("restored");
        if into.exists() {
            fs::remove_dir_all(&into).trying(into.display())?;
        }
        fs::create_dir_all(&into).trying(into.display())?;
        let body = json!({ "point": "latest", "target": into, "overwrite": "always" });
        self.job(vault, item, "restore", body)?;
        let found = fs::read_to_string(into.join("letter.txt")).trying(into.display())?;
        if found == LETTER { Ok(()) } else { Err(Failure::new(format!("restored {found:?}"))) }
    }

    /// Runs a job, which must succeed.
    fn job(&self, vault: &str, of: &str, verb: &str, body: Value) -> Result<(), Failure> {
        let path = format!("{of}/{verb}?api-version={VAULTS_API}");
        let begun =
            self.served()?.granted(&Asked { method: "POST", host: MAIN, path, body })?.operation;
        let begun = begun.ok_or_else(|| Failure::new(format!("{verb} began no operation")))?;
        self.wait(|site| {
            let shown = site.get(&format!("{vault}/backupJobs/{begun}"))?;
            let job = shown.get("properties").cloned().unwrap_or_default();
            let status = job.get("status").and_then(Value::as_str).unwrap_or_default();
            match status {
                "Completed" => Ok(true),
                "Queued" | "InProgress" => Ok(false),
                _ => Err(Failure::new(format!("{verb}: {job}"))),
            }
        })
    }

    /// Waits until something has come about.
    pub(super) fn wait(&self, has: impl Fn(&Self) -> Result<bool, Failure>) -> Result<(), Failure> {
        for _ in 0..LOOKS_MAX {
            if has(self)? {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(Failure::new("waited a minute for nothing"))
    }

    pub(super) fn ledger_verifies(&self) -> Result<(), Failure> {
        let report = self.arm("POST", "/custody/ledger/verify", json!({}))?;
        if report.get("ok") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(Failure::new(format!("the ledger does not verify: {report}")))
    }
}

fn new_version(key: &str) -> Result<Asked<'static>, Failure> {
    let host = KEYS.iter().find(|known| **known == key).map(|known| match *known {
        "crash2/k" => "crash2.vault.custody.localhost",
        _ => "crash1.vault.custody.localhost",
    });
    let host = host.ok_or_else(|| Failure::new(format!("{key} is no key")))?;
    let (_, name) = key.split_once('/').unwrap_or_default();
    let path = format!("/keys/{name}/create?api-version=7.6");
    let body = json!({ "kty": "RSA", "key_size": 2048 });
    Ok(Asked { method: "POST", host, path, body })
}
