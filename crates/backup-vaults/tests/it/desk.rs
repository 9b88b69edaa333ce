//! A vault on a desk: the engine over records in a map.

use std::collections::BTreeMap;

use custody_backup_vaults::{
    BackupVault, EncryptionSettings, KeyringSummary, RecoveryServicesVault, SoftDelete, Vault,
    encryption_config,
};
use custody_names::{CorrelationId, OperationId, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    Answer, Authorize, Caller, Engine, Hosts, Kind, ProvisioningState, Query, Record, Refusal,
    Registry, Request, Stop, Stored, SystemData, Verb, World, Write,
};
use custody_test_world::SeededEntropy;
use serde_json::{Value, json};

pub(crate) const KEY: &str = "https://kv1.vault.custody.localhost/keys/k1";
pub(crate) const KEY_2: &str = "https://kv2.vault.custody.localhost/keys/k1";
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g";
pub(crate) const UAI: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one";
pub(crate) const UAI_2: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/two";

struct Everyone;

impl Authorize for Everyone {
    fn check(&self, _: &Caller, _: &str, _: &ResourceId, _: &World) -> Result<(), Stop> {
        Ok(())
    }
}

pub(crate) struct Desk {
    engine: Engine,
    records: BTreeMap<String, Record>,
    vault: ResourceId,
}

impl Desk {
    /// A desk for one vault of a kind.
    pub(crate) fn of<K: Kind>() -> Self {
        let registry = Registry::new().with::<BackupVault>().with::<RecoveryServicesVault>();
        let mut desk = Self {
            engine: Engine::new(registry, Box::new(Everyone)),
            records: BTreeMap::new(),
            vault: format!("{GROUP}/providers/{}/v", K::TYPE).parse().unwrap(),
        };
        desk.place(GROUP, json!({}));
        for (number, id) in [UAI, UAI_2].into_iter().enumerate() {
            let guid = format!("00000000-0000-0000-0000-00000000000{number}");
            desk.place(id, json!({ "principalId": guid, "clientId": guid }));
        }
        desk
    }

    /// The vault as it stands when `applied` is in force.
    pub(crate) fn vault_in_force(&mut self, applied: Option<EncryptionSettings>) {
        self.records.remove(&self.vault.canonical());
        let attached = json!({ UAI: {}, UAI_2: {} });
        let body = json!({
            "location": "westeurope",
            "identity": {
                "type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": attached,
            },
            "properties": {},
        });
        self.ask(Verb::Put, body).unwrap();
        self.change(|vault| {
            vault.record.state = ProvisioningState::Succeeded;
            vault.status.vault_guid = Some("00000000-0000-0000-0000-000000000009".parse().unwrap());
            vault.status.applied.clone_from(&applied);
            vault.status.keyring =
                Some(KeyringSummary { number: 1, hash: String::new(), generations: Vec::new() });
            vault.set_wanted(applied.clone());
        });
    }

    /// Changes the vault's record behind the engine's back.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Vault)) {
        let mut vault = Vault::read(self.record().unwrap()).unwrap();
        change(&mut vault);
        let record = vault.into_record().unwrap();
        self.records.insert(record.id.canonical(), record);
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Value {
        let Some(record) = self.record() else { return Value::Null };
        let mut settings =
            serde_json::to_value(&Vault::read(record).unwrap().status.applied).unwrap();
        if let Some(fields) = settings.as_object_mut()
            && fields.get("infrastructureEncryption") == Some(&json!("Disabled"))
        {
            fields.remove("infrastructureEncryption");
        }
        settings
    }

    /// The vault's soft delete.
    pub(crate) fn soft_delete(&self) -> SoftDelete {
        Vault::read(self.record().unwrap()).unwrap().soft_delete()
    }

    /// The encryption of a Recovery Services vault as it is read back.
    pub(crate) fn config(&self) -> Value {
        let stored = Stored::<RecoveryServicesVault>::read(self.record().unwrap()).unwrap();
        encryption_config(&stored, &Hosts::default())["properties"].take()
    }

    fn record(&self) -> Option<&Record> {
        self.records.get(&self.vault.canonical())
    }

    pub(crate) fn ask(&mut self, verb: Verb, body: Value) -> Result<Answer, Refusal> {
        let entropy = SeededEntropy::new(1);
        let request = Request {
            id: self.vault.clone(),
            listed: None,
            verb,
            body,
            api_version: "2025-07-01".into(),
            if_match: None,
            caller: Caller::bootstrap(
                PrincipalId::from_bytes([1; 16]),
                TenantId::from_bytes([2; 16]),
                "tester".into(),
            ),
            correlation: CorrelationId::from_bytes([3; 16]),
            operation: OperationId::from_bytes([4; 16]),
            owner: "here".into(),
            now: "2026-11-22T06:00:00Z".parse().unwrap(),
            hosts: custody_resources::Hosts::default(),
            entropy: &entropy,
        };
        let mut world = World::new();
        loop {
            match self.engine.answer(&request, &world) {
                Err(Stop::Needs(query)) => {
                    let found = self.look(&query);
                    world.learn(query, found);
                }
                Err(Stop::Refused(refusal)) => return Err(*refusal),
                Ok(decided) => {
                    for write in decided.writes {
                        if let Write::Put(record) = write {
                            self.records.insert(record.id.canonical(), *record);
                        }
                    }
                    return Ok(decided.answer);
                }
            }
        }
    }

    fn look(&self, query: &Query) -> Vec<Record> {
        match query {
            Query::Record(id) => self.records.get(id).cloned().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn place(&mut self, id: &str, status: Value) {
        let mut record = blank(&id.parse().unwrap());
        record.status = status;
        self.records.insert(record.id.canonical(), record);
    }
}

/// A record with nothing in it.
fn blank(id: &ResourceId) -> Record {
    let time = "2026-11-22T06:00:00Z".parse().unwrap();
    Record {
        id: id.clone(),
        location: None,
        tags: BTreeMap::new(),
        identity: None,
        spec: json!({}),
        status: json!({}),
        state: ProvisioningState::Succeeded,
        revision: 1,
        system: SystemData::new("tester", time),
        references: Vec::new(),
        claim: None,
    }
}
