//! A data folder, a seal beside it, key vaults over them, and who uses them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use custody_access::{
    Grants, KEY_VAULT_CRYPTO_OFFICER, PermissionModel, Principal, PrincipalKind, RoleAssignment,
};
use custody_ambient::{Entropy, Timestamp};
use custody_envelope::SecretBytes;
use custody_key_vault::{
    AttributeChange, AuditRecord, AuditSink, AuditUnavailable, EncryptionAlgorithm, FileSeal, Key,
    KeyAnswer, KeyOperation, KeyStore, KeyVaultError, KeyVaultRef, KeyVaults, NetworkRules, NewKey,
    RequestContext, RsaSize, Seal, Strictness,
};
use custody_names::{CorrelationId, KeyName, KeyVersion, PrincipalId, TenantId};
use custody_test_world::{FixedClock, SeededEntropy};

pub(crate) const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g";
pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const OFFICER: PrincipalId = PrincipalId::from_bytes([10; 16]);
pub(crate) const OAEP: EncryptionAlgorithm = EncryptionAlgorithm::RsaOaep256;

/// Everything on one temporary folder: `data/keys.db` and `seal`.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) vaults: KeyVaults,
    pub(crate) records: Arc<Records>,
    pub(crate) vault: KeyVaultRef,
    pub(crate) grants: Grants,
    pub(crate) now: Timestamp,
}

/// A sink that keeps what it is given, or refuses.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) taken: Mutex<Vec<AuditRecord>>,
    pub(crate) refusing: Mutex<bool>,
}

impl AuditSink for Records {
    fn record(&self, record: &AuditRecord) -> Result<(), AuditUnavailable> {
        if *self.refusing.lock().unwrap() {
            return Err(AuditUnavailable("the disk is full".into()));
        }
        self.taken.lock().unwrap().push(record.clone());
        Ok(())
    }
}

impl Records {
    pub(crate) fn last(&self) -> AuditRecord {
        self.taken.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    pub(crate) fn refuse(&self, refusing: bool) {
        *self.refusing.lock().unwrap() = refusing;
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let seal = file_seal(&folder);
        Self::with(folder, seal)
    }

    pub(crate) fn with(folder: tempfile::TempDir, seal: Arc<dyn Seal>) -> Self {
        let path = folder.path().join("data/keys.db");
        let store = KeyStore::create(&path, seal, entropy(1)).unwrap();
        let records = Arc::new(Records::default());
        let now = "2026-11-22T06:00:00Z".parse().unwrap();
        let sink = Arc::clone(&records) as Arc<dyn AuditSink>;
        let officer = RoleAssignment {
            id: "/providers/Microsoft.Authorization/roleAssignments/r".parse().unwrap(),
            principal: OFFICER,
            role: KEY_VAULT_CRYPTO_OFFICER,
            scope: GROUP.parse().unwrap(),
        };
        Self {
            vaults: KeyVaults::new(Arc::new(store), sink, Arc::new(FixedClock::at(now))),
            records,
            vault: vault("kv1"),
            grants: Grants {
                assignments: vec![officer],
                custom_roles: vec![],
                permission_model: PermissionModel::Rbac,
            },
            now,
            folder,
        }
    }

    /// A second process on the same files, with its own randomness.
    pub(crate) fn beside(&self, seed: u64) -> Result<KeyVaults, KeyVaultError> {
        let store = KeyStore::open(&self.path(), file_seal(&self.folder), entropy(seed))?;
        let sink = Arc::clone(&self.records) as Arc<dyn AuditSink>;
        Ok(KeyVaults::new(Arc::new(store), sink, Arc::new(self.clock())))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data/keys.db")
    }

    pub(crate) fn seal_path(&self) -> PathBuf {
        self.folder.path().join("seal")
    }

    pub(crate) fn ask(&self, operation: &KeyOperation<'_>) -> Result<KeyAnswer, KeyVaultError> {
        self.ask_of(&self.vaults, operation)
    }

    pub(crate) fn ask_of(
        &self,
        vaults: &KeyVaults,
        operation: &KeyOperation<'_>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        vaults.perform(&officer(), &self.vault, &self.grants, operation, &self.context())
    }

    /// A clock that stands at the bench's time.
    pub(crate) fn clock(&self) -> FixedClock {
        FixedClock::at(self.now)
    }

    pub(crate) fn context(&self) -> RequestContext {
        RequestContext::begun(&self.clock(), CorrelationId::from_bytes([5; 16]))
    }

    pub(crate) fn create(&self, name: &str) -> Key {
        let key = NewKey::of_size(RsaSize::Bits2048);
        one_key(self.ask(&KeyOperation::Create { name: &key_name(name), key: &key }))
    }

    pub(crate) fn update(&self, name: &str, change: &AttributeChange) -> Key {
        let name = &key_name(name);
        one_key(self.ask(&KeyOperation::Update { name, version: None, change }))
    }

    pub(crate) fn wrap(&self, name: &str) -> Result<Vec<u8>, KeyVaultError> {
        let plain = SecretBytes::new(b"a data key".to_vec());
        let name = &key_name(name);
        let operation = KeyOperation::Wrap { name, version: None, algorithm: OAEP, plain: &plain };
        match self.ask(&operation)? {
            KeyAnswer::Wrapped { wrapped, .. } => Ok(wrapped),
            _ => panic!("a wrap was answered with something else"),
        }
    }

    pub(crate) fn unwrap(
        &self,
        name: &str,
        version: Option<&KeyVersion>,
        wrapped: &[u8],
    ) -> Result<(), KeyVaultError> {
        self.unwrap_of(&self.vaults, name, version, wrapped)
    }

    /// Unwraps what `wrap` wrapped.
    pub(crate) fn unwrap_of(
        &self,
        vaults: &KeyVaults,
        name: &str,
        version: Option<&KeyVersion>,
        wrapped: &[u8],
    ) -> Result<(), KeyVaultError> {
        let name = &key_name(name);
        let operation = KeyOperation::Unwrap { name, version, algorithm: OAEP, wrapped };
        match self.ask_of(vaults, &operation)? {
            KeyAnswer::Unwrapped { plain, .. } => {
                assert_eq!(plain.expose(), b"a data key");
                Ok(())
            }
            _ => panic!("an unwrap was answered with something else"),
        }
    }

    pub(crate) fn delete(&self, name: &str) {
        self.ask(&KeyOperation::Delete { name: &key_name(name) }).map(drop).unwrap();
    }

    pub(crate) fn purge(&self, name: &str) -> Result<KeyAnswer, KeyVaultError> {
        self.ask(&KeyOperation::Purge { name: &key_name(name) })
    }
}

pub(crate) fn vault(name: &str) -> KeyVaultRef {
    KeyVaultRef {
        tenant: TENANT,
        vault: name.parse().unwrap(),
        resource: format!("{GROUP}/providers/Microsoft.KeyVault/vaults/{name}").parse().unwrap(),
        soft_delete: true,
        soft_delete_days: 90,
        purge_protection: false,
        managed_hsm: false,
        location: "westeurope".into(),
        geography: "Europe".into(),
        strictness: Strictness::default(),
        network: NetworkRules::default(),
    }
}

pub(crate) fn officer() -> Principal {
    let kind = PrincipalKind::BootstrapAdministrator { os_user: "kim".into() };
    Principal { id: OFFICER, tenant: TENANT, kind }
}

pub(crate) fn entropy(seed: u64) -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(seed))
}

pub(crate) fn file_seal(folder: &tempfile::TempDir) -> Arc<dyn Seal> {
    Arc::new(FileSeal::at(&folder.path().join("seal"), &folder.path().join("data")).unwrap())
}

pub(crate) fn key_name(text: &str) -> KeyName {
    text.parse().unwrap()
}

pub(crate) fn one_key(answer: Result<KeyAnswer, KeyVaultError>) -> Key {
    match answer {
        Ok(KeyAnswer::Key(key)) => key,
        Ok(_) => panic!("not one key"),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn code<T>(result: Result<T, KeyVaultError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "OK")
}
