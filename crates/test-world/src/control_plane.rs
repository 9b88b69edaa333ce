//! The engine over records in memory: requests in, answers out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use custody_ambient::Clock as _;
use custody_names::{CorrelationId, OperationId, PrincipalId, ResourceId, TenantId};
use custody_record_store::{ApplyError, SqliteRecords};
use custody_resources::{
    Answer, Authorize, Caller, Engine, ProvisioningState, Record, Refusal, Registry, Request, Stop,
    SystemData, Verb, World, Write,
};
use serde_json::{Value, json};

use crate::{FixedClock, SeededEntropy};

// So that a test of a lower crate need not name the store itself.
pub use custody_record_store::{OperationFilter, RecordStore};

/// The subscription that [`ControlPlane`] has.
pub const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

/// An engine, its store and its surroundings.
pub struct ControlPlane {
    engine: Engine,
    /// The records.
    pub store: SqliteRecords,
    /// The clock that requests are made by.
    pub clock: FixedClock,
    entropy: SeededEntropy,
    operations: AtomicU8,
}

/// Lets everybody do everything.
pub struct Anybody;

impl Authorize for Anybody {
    fn check(&self, _: &Caller, _: &str, _: &ResourceId, _: &World) -> Result<(), Stop> {
        Ok(())
    }
}

#[expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test says what is wrong by panicking"
)]
impl ControlPlane {
    /// A control plane of these kinds with no records, at 2026-01-01.
    pub fn new(registry: Registry, authorize: impl Authorize + 'static) -> Self {
        Self {
            engine: Engine::new(registry, Box::new(authorize)),
            store: SqliteRecords::memory().unwrap(),
            clock: FixedClock::at_text("2026-01-01T00:00:00Z"),
            entropy: SeededEntropy::new(1),
            operations: AtomicU8::new(1),
        }
    }

    /// The caller that requests come from unless said otherwise.
    pub fn administrator() -> Caller {
        Caller::bootstrap(
            PrincipalId::from_bytes([0xad; 16]),
            TenantId::from_bytes([0x7e; 16]),
            "administrator".to_owned(),
        )
    }

    /// A request with a fresh operation id. The path begins at the root.
    pub fn request(&self, verb: Verb, path: &str, body: Value) -> Request<'_> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        Request {
            id: path.parse().unwrap(),
            listed: None,
            verb,
            body,
            api_version: "2026-02-01".to_owned(),
            if_match: None,
            caller: Self::administrator(),
            correlation: CorrelationId::from_bytes([number; 16]),
            operation: OperationId::from_bytes([number; 16]),
            owner: "test".to_owned(),
            now: self.clock.now(),
            hosts: custody_resources::Hosts::default(),
            entropy: &self.entropy,
        }
    }

    /// Decides a request and applies its writes.
    pub fn send(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let mut answer = None;
        let outcome = self.store.apply(&mut |world| {
            let decided = self.engine.answer(request, world)?;
            answer = Some(decided.answer);
            Ok(decided.writes)
        });
        match outcome {
            Ok(()) => Ok(answer.unwrap()),
            Err(ApplyError::Refused(refusal)) => Err(*refusal),
            Err(error) => panic!("{error}"),
        }
    }

    /// PUT.
    pub fn put(&self, path: &str, body: Value) -> Result<Answer, Refusal> {
        self.send(&self.request(Verb::Put, path, body))
    }

    /// PATCH.
    pub fn patch(&self, path: &str, body: Value) -> Result<Answer, Refusal> {
        self.send(&self.request(Verb::Patch, path, body))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Answer, Refusal> {
        self.send(&self.request(Verb::Delete, path, Value::Null))
    }

    /// POST.
    pub fn act(&self, path: &str, action: &str, body: Value) -> Result<Answer, Refusal> {
        self.send(&self.request(Verb::Action(action.to_owned()), path, body))
    }

    /// GET of one resource: its body.
    pub fn read(&self, path: &str) -> Result<Value, Refusal> {
        let answer = self.send(&self.request(Verb::Read, path, Value::Null))?;
        Ok(answer.body.unwrap_or_default())
    }

    /// GET of a list: the names in it.
    pub fn list(&self, path: &str, kind: &str) -> Result<Vec<String>, Refusal> {
        let mut request = self.request(Verb::List, path, json!({}));
        request.listed = Some(kind.to_owned());
        let body = self.send(&request)?.body.unwrap_or_default();
        let all = body["value"].as_array().unwrap().iter();
        Ok(all.map(|one| one["name"].as_str().unwrap().to_owned()).collect())
    }

    /// Applies writes of no request.
    pub fn write(&self, writes: Vec<Write>) {
        self.store.apply(&mut |_| Ok(writes.clone())).unwrap();
    }

    /// Stores a record of nothing but its place, for others to stand below.
    pub fn stand(&self, path: &str) {
        let by = "test";
        let now = self.clock.now();
        self.write(vec![Write::Put(Box::new(Record {
            id: path.parse().unwrap(),
            location: None,
            tags: BTreeMap::new(),
            identity: None,
            spec: json!({}),
            status: json!({}),
            state: ProvisioningState::Succeeded,
            revision: 1,
            system: SystemData::new(by, now),
            references: Vec::new(),
            claim: None,
        }))]);
    }

    /// The stored record.
    pub fn record(&self, path: &str) -> Option<Record> {
        let id: ResourceId = path.parse().unwrap();
        let mut found = None;
        self.store
            .view(&mut |world| {
                found = world.record(&id)?.cloned();
                Ok(())
            })
            .unwrap();
        found
    }
}
