//! A platform on a temporary data folder.

use std::sync::Arc;

use custody_names::{CorrelationId, OperationId, ResourceId};
use custody_resources::{Refusal, Request, Verb};
use custody_test_world::{FixedClock, SeededEntropy};
use custody_worker::{Platform, PlatformOptions, SealChoice};
use serde_json::Value;

/// A platform with its folders; they go when it goes.
pub(crate) struct Site {
    pub(crate) platform: Arc<Platform>,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    /// An installation that was just set up.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let platform = Platform::open(PlatformOptions {
            data_folder: folder.path().join("data"),
            seal: SealChoice::File { folder: folder.path().join("seal") },
            clock: Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z")),
            entropy: Arc::new(SeededEntropy::new(7)),
            os_user: "ada".to_owned(),
            locations: Vec::new(),
        });
        Self { platform: platform.unwrap(), folder }
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

    fn ask(&self, id: &ResourceId, verb: Verb, body: Value) -> Result<Value, Refusal> {
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
