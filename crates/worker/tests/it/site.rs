//! A platform on a temporary data folder.

use std::sync::Arc;

use custody_access::{KEY_VAULT_CRYPTO_OFFICER, RoleAssignment};
use custody_key_vault::{KeyAnswer, KeyOperation};
use custody_names::{CorrelationId, OperationId, ResourceId};
use custody_resources::{Refusal, Request, Verb};
use custody_test_world::{FixedClock, SeededEntropy};
use custody_worker::{Cause, KeyVaultFacts, Platform, PlatformOptions, SealChoice, principal_of};
use serde_json::{Value, json};

/// A platform with its folders; they go when it goes.
pub(crate) struct Site {
    pub(crate) platform: Arc<Platform>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    /// An installation that was just set up.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
        let platform = open(&folder, &clock, 7);
        Self { platform, clock, folder }
    }

    /// The same data folder in another process.
    pub(crate) fn again(&self) -> Arc<Platform> {
        open(&self.folder, &self.clock, 8)
    }

    /// Makes a key vault.
    pub(crate) fn key_vault(&self, name: &str) -> ResourceId {
        let id = self.id(&format!("Microsoft.KeyVault/vaults/{name}"));
        let location = &self.platform.installation.location;
        self.put(&id, json!({ "location": location, "properties": {} }));
        id
    }

    /// Asks a key vault as somebody who may do everything with its keys.
    pub(crate) fn ask_key_vault(&self, vault: &str, operation: &KeyOperation<'_>) -> KeyAnswer {
        let name = vault.parse().unwrap();
        let found = self.platform.key_vault(&name, None).unwrap().unwrap();
        let (vault, grants) = (found.vault.clone(), found.grants.clone());
        let mut facts = KeyVaultFacts { vault, grants };
        let caller = principal_of(&self.platform.administrator());
        facts.grants.assignments.push(RoleAssignment {
            id: facts.vault.resource.clone(),
            principal: caller.id,
            role: KEY_VAULT_CRYPTO_OFFICER,
            scope: facts.vault.resource.clone(),
        });
        let correlation = CorrelationId::mint(self.platform.entropy.as_ref()).unwrap();
        let cause = Cause::of(correlation);
        match self.platform.ask_key_vault(&caller, &facts, operation, cause) {
            Ok(answer) => answer,
            Err(error) => panic!("{error}"),
        }
    }

    /// The identifier of something in the default group.
    pub(crate) fn id(&self, kind_and_name: &str) -> ResourceId {
        let subscription = self.platform.installation.subscription_id;
        format!("/subscriptions/{subscription}/resourceGroups/custody/providers/{kind_and_name}")
            .parse()
            .unwrap()
    }

    /// Puts a resource as the administrator.
    pub(crate) fn put(&self, id: &ResourceId, body: Value) -> Value {
        self.ask(id, Verb::Put, body).unwrap()
    }

    /// Deletes a resource as the administrator.
    pub(crate) fn delete(&self, id: &ResourceId) -> Result<Value, Refusal> {
        self.ask(id, Verb::Delete, Value::Null)
    }

    pub(crate) fn ask(&self, id: &ResourceId, verb: Verb, body: Value) -> Result<Value, Refusal> {
        let entropy = self.platform.entropy.as_ref();
        let request = Request {
            id: id.clone(),
            listed: None,
            verb,
            body,
            api_version: "2026-02-01".to_owned(),
            if_match: None,
            caller: self.platform.administrator(),
            correlation: CorrelationId::mint(entropy).unwrap(),
            operation: OperationId::mint(entropy).unwrap(),
            owner: self.platform.owner.clone(),
            now: self.platform.clock.now(),
            hosts: custody_resources::Hosts::default(),
            entropy,
        };
        Ok(self.platform.decide(&request)?.body.unwrap_or_default())
    }
}

fn open(folder: &tempfile::TempDir, clock: &Arc<FixedClock>, seed: u64) -> Arc<Platform> {
    let opened = Platform::open(PlatformOptions {
        data_folder: folder.path().join("data"),
        seal: SealChoice::File { folder: folder.path().join("seal") },
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(seed)),
        os_user: "ada".to_owned(),
        locations: Vec::new(),
        release_authorities: Vec::new(),
    });
    opened.unwrap()
}
