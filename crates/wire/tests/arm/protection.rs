//! An item of either kind of vault with a source and a recovery point, for the tests of what becomes
//! of it; and what stopping its protection means.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Answer, World};

const GROUP: &str = "S/resourceGroups/custody/providers";
const KEY_VAULT: &str = "S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv-customer";
/// Key Vault Crypto Service Encryption User.
pub(crate) const ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
/// The number of the grant to the vault's identity.
const GRANT: u8 = 7;

/// The kinds of vaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RecoveryServices,
    Backup,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::RecoveryServices, Kind::Backup];

/// A vault of a kind, and an item in it.
pub(crate) struct Protected {
    pub(crate) world: World,
    pub(crate) kind: Kind,
    pub(crate) folders: TempDir,
}

impl Protected {
    /// A vault with these properties on the platform's key, and an item of which there is no point.
    pub(crate) fn new(kind: Kind, properties: Value) -> Self {
        let body = json!({ "location": "local", "properties": properties });
        Self::in_vault(World::new(), kind, body)
    }

    /// The same under a customer's key, which the vault may use.
    pub(crate) fn under_key(kind: Kind) -> Self {
        let world = World::new();
        let identity = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/speaker");
        let identity = world.make(&identity, json!({ "location": "local" }));
        let keys = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
        world.make(KEY_VAULT, json!({ "location": "local", "properties": keys }));
        let key = json!({ "properties": { "kty": "RSA" } });
        let key = world.make(&format!("{KEY_VAULT}/keys/k"), key)["properties"]["keyUri"].take();
        let principal = identity["properties"]["principalId"].as_str().unwrap();
        world.grant(KEY_VAULT, ENCRYPTION_USER, principal, GRANT);
        let id = identity["id"].as_str().unwrap();
        let key = json!({ "keyUri": key });
        let properties = match kind {
            Kind::Backup => json!({ "securitySettings": { "encryptionSettings": {
                "state": "Enabled",
                "keyVaultProperties": key,
                "kekIdentity": { "identityType": "UserAssigned", "identityId": id },
            } } }),
            Kind::RecoveryServices => json!({ "encryption": {
                "keyVaultProperties": key,
                "kekIdentity": { "userAssignedIdentity": id },
            } }),
        };
        let attached = json!({ "type": "UserAssigned", "userAssignedIdentities": { id: {} } });
        let body = json!({ "location": "local", "identity": attached, "properties": properties });
        Self::in_vault(world, kind, body)
    }

    /// Takes the right to use the key from the vault's identity, and says how to give it back.
    pub(crate) fn lose_the_key(&self) -> Value {
        let grant = format!(
            "{KEY_VAULT}/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-0000000001{GRANT:02x}"
        );
        let principal = self.world.get(&grant).body["properties"]["principalId"].take();
        assert_eq!(self.world.delete(&grant).status, 200);
        principal
    }

    pub(crate) fn regain_the_key(&self, principal: &Value) {
        self.world.grant(KEY_VAULT, ENCRYPTION_USER, principal.as_str().unwrap(), GRANT);
    }

    fn in_vault(world: World, kind: Kind, body: Value) -> Self {
        let protected = Self { world, kind, folders: tempfile::tempdir().unwrap() };
        protected.world.make(&protected.vault(), body);
        protected.world.settle();
        let source = protected.folders.path().join("documents");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("letter"), "dear reader").unwrap();
        if kind == Kind::RecoveryServices {
            let container = json!({ "properties": { "containerType": "VMAppContainer" } });
            protected.world.make(&protected.container(), container);
        }
        assert!(protected.protect(&json!({})).status < 300);
        protected.world.settle();
        protected
    }

    pub(crate) fn vault(&self) -> String {
        match self.kind {
            Kind::RecoveryServices => format!("{GROUP}/Microsoft.RecoveryServices/vaults/v"),
            Kind::Backup => format!("{GROUP}/Microsoft.DataProtection/backupVaults/v"),
        }
    }

    pub(crate) fn container(&self) -> String {
        format!("{}/backupFabrics/Azure/protectionContainers/host", self.vault())
    }

    pub(crate) fn item(&self) -> String {
        match self.kind {
            Kind::RecoveryServices => {
                format!("{}/protectedItems/SQLDataBase;documents", self.container())
            }
            Kind::Backup => format!("{}/backupInstances/documents", self.vault()),
        }
    }

    /// Puts the item under protection again, with more properties.
    pub(crate) fn protect(&self, more: &Value) -> Answer {
        let mut properties = json!({
            "protectedItemType": "AzureVmWorkloadSQLDatabase",
            "workloadType": "SQLDataBase",
            "folder": { "paths": [self.folders.path().join("documents")] },
        });
        for (name, value) in more.as_object().unwrap() {
            properties[name] = value.clone();
        }
        self.world.put(&self.item(), json!({ "properties": properties }))
    }

    /// Makes a policy of the vault, and says how an item names it.
    pub(crate) fn policy(&self, name: &str, properties: Value) -> Value {
        let path = format!("{}/backupPolicies/{name}", self.vault());
        let made = self.world.make(&path, json!({ "properties": properties }));
        match self.kind {
            Kind::RecoveryServices => json!({ "policyId": made["id"] }),
            Kind::Backup => json!({ "policyInfo": { "policyId": made["id"] } }),
        }
    }

    pub(crate) fn backup(&self) -> Answer {
        let answer = self.world.post(&format!("{}/backup", self.item()), json!({}));
        self.world.settle();
        answer
    }

    pub(crate) fn points(&self) -> Vec<String> {
        self.world.names(&format!("{}/recoveryPoints", self.item()))
    }

    /// Whether the newest point restores what was backed up; else the refusal.
    pub(crate) fn restores(&self) -> Result<(), String> {
        let target = tempfile::tempdir().unwrap();
        let body = json!({ "target": target.path().join("back"), "point": "latest" });
        let answer = self.world.post(&format!("{}/restore", self.item()), body);
        if answer.status != 202 {
            return Err(answer.error().1.to_owned());
        }
        self.world.settle();
        let mut found = vec![target.path().to_owned()];
        while let Some(place) = found.pop() {
            for entry in fs::read_dir(place).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    found.push(path);
                } else {
                    assert_eq!(fs::read_to_string(path).unwrap(), "dear reader");
                    return Ok(());
                }
            }
        }
        Err("nothing was restored".to_owned())
    }

    /// The vault's jobs of one sort, newest first: how each ended, and with what code.
    pub(crate) fn jobs(&self, operation: &str) -> Vec<(String, String)> {
        let jobs = self.world.get(&format!("{}/backupJobs", self.vault())).body;
        let of_this = |job: &&Value| job["properties"]["operation"] == operation;
        jobs["value"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of_this)
            .map(|job| {
                let properties = &job["properties"];
                let error = &properties["errorDetails"][0];
                let code = error["errorTitle"].as_str().or(error["code"].as_str());
                let status = properties["status"].as_str().unwrap();
                (status.to_owned(), code.unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// Lets days pass and does what falls due.
    pub(crate) fn days(&self, days: u64) {
        self.world.clock.advance(std::time::Duration::from_hours(24 * days));
        self.world.housekeep();
        self.world.settle();
    }

    pub(crate) fn state(&self) -> String {
        let properties = &self.world.get(&self.item()).body["properties"];
        let state = properties.get("protectionState").or(properties.get("currentProtectionState"));
        state.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Asks for a state of protection, as the clients of the kind do.
    fn become_one(&self, verb: &str, policy: &Value) -> u16 {
        if self.kind == Kind::Backup {
            return self.world.post(&format!("{}/{verb}", self.item()), json!({})).status;
        }
        let mut properties = json!({ "protectedItemType": "AzureVmWorkloadSQLDatabase" });
        match verb {
            "stopProtection" => {
                properties["protectionState"] = "ProtectionStopped".into();
                properties["policyId"] = "".into();
            }
            "suspendBackups" => {
                properties["protectionState"] = "BackupsSuspended".into();
                properties["policyId"] = "".into();
            }
            _ => properties["policyId"] = policy["policyId"].clone(),
        }
        let status = self.world.put(&self.item(), json!({ "properties": properties })).status;
        self.world.settle();
        status
    }
}

/// Every day at 06:00, and each point is kept for a week.
pub(crate) fn daily(kind: Kind) -> Value {
    match kind {
        Kind::RecoveryServices => json!({
            "backupManagementType": "AzureWorkload",
            "workLoadType": "SQLDataBase",
            "settings": { "timeZone": "UTC" },
            "subProtectionPolicy": [{
                "policyType": "Full",
                "schedulePolicy": {
                    "schedulePolicyType": "SimpleSchedulePolicy",
                    "scheduleRunFrequency": "Daily",
                    "scheduleRunTimes": ["2021-07-07T06:00:00Z"],
                },
                "retentionPolicy": {
                    "retentionPolicyType": "SimpleRetentionPolicy",
                    "retentionDuration": { "count": 7, "durationType": "Days" },
                },
            }],
        }),
        Kind::Backup => {
            let store = json!({ "dataStoreType": "VaultStore", "objectType": "DataStoreInfoBase" });
            json!({
                "objectType": "BackupPolicy",
                "policyRules": [
                    {
                        "objectType": "AzureBackupRule",
                        "name": "Daily",
                        "dataStore": store,
                        "trigger": {
                            "objectType": "ScheduleBasedTriggerContext",
                            "schedule": {
                                "repeatingTimeIntervals": ["R/2026-01-01T06:00:00+00:00/P1D"],
                            },
                            "taggingCriteria": [],
                        },
                    },
                    {
                        "objectType": "AzureRetentionRule",
                        "name": "Default",
                        "isDefault": true,
                        "lifecycles": [{
                            "deleteAfter": {
                                "objectType": "AbsoluteDeleteOption", "duration": "P7D",
                            },
                            "sourceDataStore": store,
                        }],
                    },
                ],
            })
        }
    }
}

/// Stopped: nothing is backed up, nothing expires. Suspended: nothing is backed up, and all but the
/// newest expires. Both restore and can be resumed, without runs that make up for the pause.
#[test]
fn protection_is_stopped_with_data_suspended_and_resumed() {
    for kind in KINDS {
        let protected = Protected::new(kind, json!({}));
        let policy = protected.policy("daily", daily(kind));
        assert!(protected.protect(&policy).status < 300);
        protected.world.settle();
        assert_eq!(protected.backup().status, 202);
        assert_eq!(protected.backup().status, 202);
        let (stopped, suspended, active) = match kind {
            Kind::RecoveryServices => ("ProtectionStopped", "BackupsSuspended", "Protected"),
            Kind::Backup => {
                ("ProtectionStopped", "BackupSchedulesSuspended", "ProtectionConfigured")
            }
        };
        for (verb, state, points) in
            [("stopProtection", stopped, 2), ("suspendBackups", suspended, 1)]
        {
            assert!(protected.become_one("resumeProtection", &policy) < 300, "{kind:?}");
            assert!(protected.become_one(verb, &policy) < 300, "{kind:?} {verb}");
            assert_eq!(protected.state(), state, "{kind:?}");
            let refused = protected.backup();
            assert_eq!(refused.error(), (409, "UserErrorItemNotProtected"), "{kind:?} {verb}");
            protected.days(30);
            assert_eq!(protected.points().len(), points, "{kind:?} {verb}");
            assert_eq!(protected.jobs("Backup").len(), 2, "{kind:?} {verb}");
            assert_eq!(protected.restores(), Ok(()), "{kind:?} {verb}");
        }
        assert!(protected.become_one("resumeProtection", &policy) < 300);
        assert_eq!(protected.state(), active);
        protected.world.housekeep();
        protected.world.settle();
        assert_eq!(protected.jobs("Backup").len(), 2, "{kind:?}: the pause is not made up for");
        protected.days(1);
        assert_eq!(protected.jobs("Backup").len(), 3, "{kind:?}");
        let shown = protected.world.get(&protected.item()).body;
        if kind == Kind::RecoveryServices {
            assert_eq!(shown["properties"]["workloadType"], "SQLDataBase", "{shown}");
            assert_eq!(protected.jobs("DisableBackup").len(), 2);
        }
    }
}

#[test]
fn what_cannot_be_asked_of_protection_says_so() {
    let protected = Protected::new(Kind::RecoveryServices, json!({}));
    let ask = |item: &str, more: Value| {
        let mut body = json!({ "protectedItemType": "AzureVmWorkloadSQLDatabase" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = protected.world.put(item, json!({ "properties": body }));
        protected.world.settle();
        (answer.status, answer.error().1.to_owned())
    };
    let check = |item: &str, more: Value, expected: (u16, &str)| {
        assert_eq!(ask(item, more), (expected.0, expected.1.to_owned()));
    };
    let item = protected.item();
    let other = format!("{item}-2");
    check(&item, json!({ "protectionState": "ProtectionPaused" }), (400, "InvalidRequestContent"));
    check(&other, json!({ "protectionState": "ProtectionStopped" }), (404, "ResourceNotFound"));
    check(&item, json!({ "isRehydrate": true }), (409, "UserErrorItemNotSoftDeleted"));
    // What was read can be written back, whatever the state.
    for state in ["IRPending", "ProtectionStopped", "ProtectionStopped", "BackupsSuspended"] {
        check(&item, json!({ "protectionState": state }), (202, ""));
        assert_eq!(protected.state(), state);
    }
    let patch = json!({ "properties": { "protectionState": "ProtectionStopped" } });
    let patched = protected.world.send(Method::PATCH, &item, Some(patch));
    assert_eq!(patched.status, 202, "{patched:?}");
    protected.world.settle();
    assert_eq!(protected.state(), "ProtectionStopped");
}
