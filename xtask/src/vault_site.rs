//! A server with two key vaults and an identity that may use their keys, and what is asked of it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{Failure, Trying};
use crate::served::{Asked, MAIN, Served};

/// The keys: each its key vault and its name.
pub(crate) const KEYS: [&str; 3] = ["crash1/k", "crash2/k", "crash1/followed"];
const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
const ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
const VAULTS_API: &str = "2025-02-01";
/// What is protected.
const LETTER: &str = "the only copy";
/// How often it is looked whether something has come about, and how long at most.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS_MAX: usize = 6_000;

/// A data folder and the server over it.
pub(crate) struct Site {
    custody: PathBuf,
    folder: PathBuf,
    served: Option<Served>,
    group: String,
    location: String,
    identity: String,
    number: usize,
}

/// The id of the item in a vault.
pub(crate) fn item_of(vault: &str) -> String {
    format!("{vault}/backupInstances/docs")
}

/// A key's URI, without a version.
pub(crate) fn key_uri(key: &str) -> String {
    let (vault, name) = key.split_once('/').unwrap_or_default();
    format!("https://{vault}.vault.custody.localhost/keys/{name}")
}

impl Site {
    /// Starts a server and makes key vaults, keys, an identity and its grants.
    pub(crate) fn set_up(custody: &Path, folder: &Path) -> Result<Self, Failure> {
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
    pub(crate) fn vault(&self, name: &str) -> String {
        self.resource("Microsoft.DataProtection/backupVaults", name)
    }

    pub(crate) fn next_number(&mut self) -> usize {
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
    pub(crate) fn kill_and_start(&mut self) -> Result<(), Failure> {
        if let Some(served) = self.served.take() {
            served.kill()?;
        }
        self.served = Some(Served::start(&self.custody, &self.folder, &[])?);
        Ok(())
    }

    /// Makes a new version of a key; returns its URI.
    pub(crate) fn new_version(&self, key: &str) -> Result<String, Failure> {
        let made = self.served()?.must(&new_version(key)?)?;
        let version = made.pointer("/key/kid").and_then(Value::as_str).map(str::to_owned);
        version.ok_or_else(|| Failure::new(format!("{key}: {made}")))
    }

    /// Allows or forbids every use of a key's newest version.
    pub(crate) fn enable(&self, key: &str, enabled: bool) -> Result<(), Failure> {
        let Asked { host, .. } = new_version(key)?;
        let (_, name) = key.split_once('/').unwrap_or_default();
        let path = format!("/keys/{name}?api-version=7.6");
        let body = json!({ "attributes": { "enabled": enabled } });
        self.served()?.must(&Asked { method: "PATCH", host, path, body }).map(drop)
    }

    /// Adds a file of so many bytes, no two parts of which are alike, to what is protected.
    pub(crate) fn fill(&self, bytes: usize) -> Result<(), Failure> {
        let mut content = Vec::with_capacity(bytes);
        let mut word: u64 = 0x9e37_79b9_7f4a_7c15;
        while content.len() < bytes {
            // xorshift64: quick, and nothing that compresses.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            content.extend_from_slice(&word.to_le_bytes());
        }
        let file = self.folder.join("source/noise");
        fs::write(&file, content).trying(file.display())
    }

    /// How many vaults are wrapped by this key version alone.
    pub(crate) fn vaults_under(&self, version: &str) -> Result<usize, Failure> {
        let kind = self.vault("");
        let mut next = Some(format!("{}?api-version={VAULTS_API}", kind.trim_end_matches('/')));
        let mut count = 0;
        while let Some(path) = next {
            let page = self.arm("GET", &path, Value::Null)?;
            let vaults = page.get("value").and_then(Value::as_array).into_iter().flatten();
            count +=
                vaults.filter(|vault| wraps_of(vault).iter().all(|wrap| wrap == version)).count();
            let link = page.get("nextLink").and_then(Value::as_str).unwrap_or_default();
            next = link.find("/subscriptions/").and_then(|at| link.get(at..)).map(str::to_owned);
        }
        Ok(count)
    }

    /// Sends what brings a vault under a key, or makes a new version of the key, without waiting.
    pub(crate) fn send(
        &self,
        follows: bool,
        vault: &str,
        key: &'static str,
    ) -> Result<UnixStream, Failure> {
        let asked = if follows { new_version(key)? } else { self.asked(vault, Some(key)) };
        self.served()?.send(&asked).trying(vault)
    }

    /// The same, and reads the answer.
    pub(crate) fn begin(&self, follows: bool, vault: &str, key: &str) -> Result<(), Failure> {
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
    pub(crate) fn put_vault(&self, vault: &str, key: Option<&str>) -> Result<(), Failure> {
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
    pub(crate) fn settings(&self, vault: &str) -> Result<Option<Value>, Failure> {
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
    pub(crate) fn wraps(&self, vault: &str) -> Result<Vec<String>, Failure> {
        Ok(wraps_of(&self.get(vault)?))
    }

    /// Waits until nothing is being done to the vault.
    pub(crate) fn settle(&self, vault: &str) -> Result<(), Failure> {
        self.wait(|site| {
            let seen = site.get(vault)?;
            let state = seen.pointer("/properties/provisioningState").and_then(Value::as_str);
            Ok(matches!(state, Some("Succeeded" | "Failed")))
        })
    }

    /// Protects the folder in a vault and makes a recovery point; the item's id.
    pub(crate) fn protect(&self, vault: &str) -> Result<String, Failure> {
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
    pub(crate) fn restores(&self, vault: &str, item: &str) -> Result<(), Failure> {
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
    pub(crate) fn job(
        &self,
        vault: &str,
        of: &str,
        verb: &str,
        body: Value,
    ) -> Result<(), Failure> {
        let begun = self.start(of, verb, body)?;
        match self.end(vault, &begun)?.as_str() {
            "Completed" => Ok(()),
            status => {
                let job = self.shown(vault, &begun)?;
                Err(Failure::new(format!("{verb}: {status}: {job}")))
            }
        }
    }

    /// Begins a job; its id.
    pub(crate) fn start(&self, of: &str, verb: &str, body: Value) -> Result<String, Failure> {
        let path = format!("{of}/{verb}?api-version={VAULTS_API}");
        let asked = Asked { method: "POST", host: MAIN, path, body };
        let begun = self.served()?.granted(&asked)?.operation;
        begun.ok_or_else(|| Failure::new(format!("{verb} began no operation")))
    }

    /// Waits until a job has ended; its status.
    pub(crate) fn end(&self, vault: &str, job: &str) -> Result<String, Failure> {
        let status = |site: &Self| -> Result<String, Failure> {
            let shown = site.shown(vault, job)?;
            Ok(shown.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        self.wait(|site| Ok(!["Queued", "InProgress"].contains(&status(site)?.as_str())))?;
        status(self)
    }

    /// What a job is doing.
    pub(crate) fn phase(&self, vault: &str, job: &str) -> Result<Option<String>, Failure> {
        let shown = self.shown(vault, job)?;
        Ok(shown.pointer("/progress/phase").and_then(Value::as_str).map(str::to_owned))
    }

    fn shown(&self, vault: &str, job: &str) -> Result<Value, Failure> {
        let shown = self.get(&format!("{vault}/backupJobs/{job}"))?;
        Ok(shown.get("properties").cloned().unwrap_or_default())
    }

    /// Waits until something has come about.
    pub(crate) fn wait(&self, has: impl Fn(&Self) -> Result<bool, Failure>) -> Result<(), Failure> {
        for _ in 0..LOOKS_MAX {
            if has(self)? {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(Failure::new("waited a minute for nothing"))
    }

    pub(crate) fn ledger_verifies(&self) -> Result<(), Failure> {
        let report = self.arm("POST", "/custody/ledger/verify", json!({}))?;
        if report.get("ok") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(Failure::new(format!("the ledger does not verify: {report}")))
    }
}

fn wraps_of(vault: &Value) -> Vec<String> {
    let generations = vault.pointer("/properties/keyring/generations");
    let generations = generations.and_then(Value::as_array).into_iter().flatten();
    let wraps = generations.filter_map(|one| one.get("wraps")?.as_array()).flatten();
    wraps.filter_map(|wrap| wrap.as_str().map(str::to_owned)).collect()
}

/// The settings of a vault under a key.
fn encryption(identity: &str, key: &str) -> Value {
    json!({ "securitySettings": { "encryptionSettings": {
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": key_uri(key) },
        "kekIdentity": { "identityType": "UserAssigned", "identityId": identity },
    }}})
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
