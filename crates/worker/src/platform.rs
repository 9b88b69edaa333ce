//! One process's hold on an installation: its stores, its key vault, its ledger, its engine.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use custody_activity::{AuditDestination, DiagnosticSetting, EventSubscription, Ledger, Signer};
use custody_ambient::{Clock, Entropy};
use custody_backup_vaults::{
    BackupPolicy, BackupVault, DeletedBackupVault, DeletedRecoveryServicesVault, GuardProxy,
    RecoveryServicesVault, ResourceGuard, ResourceGuards, Vault,
};
use custody_directory::{self as directory, Locations, Region};
use custody_envelope::SecretBytes;
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, FileSeal, KeyStore, KeyVaultKind, KeyVaults,
    LocalRoleDefinitionKind, LocalRoleKind, ManagedHsmKind, PassphraseSeal, ReleaseAuthority, Seal,
};
use custody_names::{CorrelationId, OperationId, ResourceId};
use custody_protection::{
    BackupInstance, DataProtectionPolicy, Item, ProtectedItem, ProtectionContainer, RecoveryPoint,
    WorkloadPoint,
};
use custody_record_store::{RecordStore, SqliteRecords, TrackedOperation};
use custody_resources::{
    Answer, Caller, Decided, Engine, Kind, Refusal, Registry, Request, Stored, Verb,
};
use serde_json::Value;

use crate::audit::LedgerSink;
use crate::conclusions::Conclusions;
use crate::error::{StartError, part};
use crate::following::Following;
use crate::installation::{DataFolder, Installation};
use crate::key_access::{Asked, KeyVaultFacts};
use crate::key_alerts::KeyFailures;
use crate::key_probes::Probing;
use crate::key_vault_link::KeyVaultLink;
use crate::sign_in::TokenDesk;
use crate::{fault, orphans, rescue};

/// How long a waiter sleeps before it looks for changes that another process made.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The setting that says that keys were made, so that a missing keys.db is noticed.
const SETTING_KEYS_MADE: &str = "keys-made";
/// The group that resources lie in unless told otherwise.
pub(crate) const DEFAULT_GROUP: &str = "custody";
/// The name of the secret that signs the ledger's heads and the log entries made without a key.
const SIGNING_SECRET: &str = "signing";

/// How the root key of the embedded key vault is kept.
pub enum SealChoice {
    /// A file (0600) in this folder, named after the installation.
    File {
        /// A folder outside the data folder.
        folder: PathBuf,
    },
    /// The same, sealed under a passphrase.
    Passphrase {
        /// A folder outside the data folder.
        folder: PathBuf,
        /// The passphrase.
        passphrase: SecretBytes,
    },
}

impl SealChoice {
    /// The same choice once more.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::File { folder } => Self::File { folder: folder.clone() },
            Self::Passphrase { folder, passphrase } => Self::Passphrase {
                folder: folder.clone(),
                passphrase: SecretBytes::new(passphrase.expose().to_vec()),
            },
        }
    }
}

/// What a platform is opened with.
pub struct PlatformOptions {
    /// The data folder.
    pub data_folder: PathBuf,
    /// The seal.
    pub seal: SealChoice,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness for keys.
    pub entropy: Arc<dyn Entropy>,
    /// The operating system's name of the user, for the ledger.
    pub os_user: String,
    /// Whose word counts for the release of keys.
    pub release_authorities: Vec<ReleaseAuthority>,
    /// Places besides Azure's regions and the installation's own.
    pub locations: Vec<Region>,
}

/// One process's hold on an installation.
pub struct Platform {
    /// The data folder.
    pub folder: DataFolder,
    /// Which installation it is.
    pub installation: Installation,
    /// The records.
    pub records: Arc<dyn RecordStore>,
    /// Where resources may lie.
    pub locations: Locations,
    /// The engine.
    pub engine: Engine,
    /// The embedded key vault, authorised and audited.
    pub key_vaults: KeyVaults,
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// This process, as operations name it.
    pub owner: String,
    /// The seal's file.
    pub seal_place: PathBuf,
    pub(crate) seal_kind: &'static str,
    pub(crate) os_user: String,
    pub(crate) signing_seed: SecretBytes,
    pub(crate) tokens: TokenDesk,
    /// Events that were given up since the start.
    pub events_dropped: AtomicU64,
    pub(crate) key_vault_facts: Conclusions<Asked, Arc<KeyVaultFacts>>,
    /// What lost keys have cost since the start.
    pub key_failures: KeyFailures,
    pub(crate) following: Following,
    pub(crate) key_vault_link: OnceLock<Arc<dyn KeyVaultLink>>,
    /// The probes of vaults' keys.
    pub(crate) probing: Probing,
    threads: Mutex<Vec<JoinHandle<()>>>,
    warnings: Mutex<HashMap<OperationId, Vec<Value>>>,
    changed: (Mutex<u64>, Condvar),
}

impl Platform {
    /// Opens a data folder, setting it up if it is empty, and winds up what dead processes left.
    pub fn open(options: PlatformOptions) -> Result<Arc<Self>, StartError> {
        let folder = DataFolder::open_or_create(&options.data_folder)?;
        let records =
            SqliteRecords::open(&folder.records()).map_err(|error| part(error.code(), &error))?;
        let platform = Self::over(folder, records, options)?;
        orphans::wind_up(&platform)?;
        // What cannot be mended now is tried again by housekeeping, which says so.
        let _ = platform.end_abandoned_drills();
        Ok(platform)
    }

    /// The same over records that may be made up for the occasion.
    pub(crate) fn over(
        folder: DataFolder,
        records: SqliteRecords,
        options: PlatformOptions,
    ) -> Result<Arc<Self>, StartError> {
        let PlatformOptions {
            seal, clock, entropy, os_user, locations, release_authorities, ..
        } = options;
        let installation = match folder.installation()? {
            Some(installation) => installation,
            None => folder.install(&Installation::mint(entropy.as_ref(), clock.now())?)?,
        };
        let seal_kind = match &seal {
            SealChoice::File { .. } => "file",
            SealChoice::Passphrase { .. } => "passphrase",
        };
        let (seal, seal_place) = open_seal(seal, &folder, &installation, &entropy)?;
        let keys = Arc::new(open_keys(&folder, &records, seal, &entropy)?);
        let signing_seed =
            keys.server_secret(SIGNING_SECRET).map_err(|error| part(error.code(), &error))?;
        let ledger = Arc::new(open_ledger(&folder, &signing_seed, &clock)?);
        let locations = Locations::new(&installation.location, locations);
        let sink = Arc::new(LedgerSink::new(Arc::clone(&ledger)));
        let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let platform = Arc::new(Self {
            key_vaults: KeyVaults::new(keys, sink, Arc::clone(&clock))
                .with_cores(cores)
                .with_release_authorities(release_authorities),
            engine: Engine::new(registry(), Box::new(directory::RoleAuthorizer))
                .with_admission(Box::new(ResourceGuards))
                .with_locations(locations.names()),
            locations,
            owner: orphans::this_process().map_err(|error| part("HostUnreadable", &error))?,
            records: Arc::new(records),
            folder,
            installation,
            ledger,
            clock,
            entropy,
            os_user,
            seal_place,
            seal_kind,
            signing_seed,
            tokens: TokenDesk::default(),
            events_dropped: AtomicU64::new(0),
            key_vault_facts: Conclusions::default(),
            key_failures: KeyFailures::default(),
            following: Following::default(),
            key_vault_link: OnceLock::new(),
            probing: Probing::default(),
            threads: Mutex::default(),
            warnings: Mutex::default(),
            changed: (Mutex::new(0), Condvar::new()),
        });
        platform.bootstrap()?;
        Ok(platform)
    }

    /// Who acts for whoever can open the seal (DESIGN §8).
    pub fn administrator(&self) -> Caller {
        let Installation { administrator_id, tenant_id, .. } = self.installation;
        Caller::bootstrap(administrator_id, tenant_id, self.os_user.clone())
    }

    /// Waits, `seconds` at most, until the operation has a later revision than `after`.
    pub fn wait_for_change(
        &self,
        mut tracked: TrackedOperation,
        after: u64,
        seconds: u64,
    ) -> Result<TrackedOperation, Refusal> {
        let id = tracked.operation.id;
        let until = self.clock.since_boot() + Duration::from_secs(seconds);
        while tracked.revision <= after && self.clock.since_boot() < until {
            let (count, condition) = &self.changed;
            let count = count.lock().unwrap_or_else(PoisonError::into_inner);
            drop(condition.wait_timeout(count, LOOK_EVERY));
            let found = self.records.operation(id).map_err(|error| fault::of_store(&error))?;
            tracked = found.ok_or_else(|| Refusal::bug("an operation vanished"))?;
        }
        Ok(tracked)
    }

    /// The warnings of an operation that this process carried out. They name files, so they are
    /// kept in memory and in the sealed recovery point, never in the records.
    pub fn warnings_of(&self, id: OperationId) -> Option<Vec<Value>> {
        lock(&self.warnings).get(&id).cloned()
    }

    /// Waits until every operation begun here has ended, and signs the ledger's head.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A task's panic is settled within its thread; nothing is left to do with it here.
            let _ = thread.join();
        }
        // An unsigned head is signed by the next process.
        let _ = self.ledger.sign_head();
    }

    /// Lets the engine decide a request and applies what it decided; what only reads is decided on
    /// a snapshot. An operation that was begun is for the caller to [`Platform::begin`].
    pub fn decide(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let mut decided = None;
        let outcome = if matches!(request.verb, Verb::Read | Verb::List) {
            self.records.view(&mut |world| {
                decided = Some(self.engine.answer(request, world)?);
                Ok(())
            })
        } else {
            self.records.apply(&mut |world| {
                let answer = self.engine.answer(request, world)?;
                let writes = answer.writes.clone();
                decided = Some(answer);
                Ok(writes)
            })
        };
        outcome.map_err(fault::of_apply)?;
        let decided = decided.map(|decided: Decided| decided.answer);
        decided.ok_or_else(|| Refusal::bug("a request was applied but not decided"))
    }

    /// One record, read as its kind.
    pub(crate) fn stored<K: Kind>(&self, id: &ResourceId) -> Result<Stored<K>, Refusal> {
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = Some(world.expect::<K>(id)?);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        found.ok_or_else(|| Refusal::bug("a record was read but not found"))
    }

    /// The vault that `id` is or lies in.
    pub(crate) fn vault_of(&self, id: &ResourceId) -> Result<Vault, Refusal> {
        let vault = Vault::around(id);
        self.vault(&vault.ok_or_else(|| Refusal::bug(format!("{id} lies in no vault")))?)
    }

    /// One vault.
    pub(crate) fn vault(&self, id: &ResourceId) -> Result<Vault, Refusal> {
        self.look(|world| Vault::expect(id, world))
    }

    /// The item that `id` is or lies in.
    pub(crate) fn item_of(&self, id: &ResourceId) -> Result<Item, Refusal> {
        let item = Item::around(id);
        let item = item.ok_or_else(|| Refusal::bug(format!("{id} lies in no item")))?;
        self.look(|world| Item::expect(&item, world))
    }

    /// Changes what the server writes of a vault, and returns it as it is then.
    pub(crate) fn change_vault(
        &self,
        id: &ResourceId,
        change: impl Fn(&mut Vault),
    ) -> Result<Vault, Refusal> {
        let stored = self.records.apply(&mut |world| {
            let mut found = Vault::expect(id, world)?;
            change(&mut found);
            Ok(vec![found.into_write()?])
        });
        stored.map_err(fault::of_apply)?;
        self.vault(id)
    }

    pub(crate) fn remember_thread(&self, thread: JoinHandle<()>) {
        lock(&self.threads).push(thread);
    }

    pub(crate) fn keep_warnings(&self, job: &crate::job::Job<'_>) {
        lock(&self.warnings).insert(job.id(), job.warnings());
    }

    /// Wakes whoever waits for an operation to change.
    pub(crate) fn announce(&self) {
        let (count, condition) = &self.changed;
        *lock(count) += 1;
        condition.notify_all();
    }

    /// The records that every installation has; made again if the record store was lost.
    fn bootstrap(&self) -> Result<(), StartError> {
        let subscription_id = self.installation.subscription_id;
        let group = DEFAULT_GROUP.parse().map_err(|_| StartError::Bug("the group is a name"))?;
        let group = ResourceId::resource_group(subscription_id, &group);
        // Every later start only looks: it takes no write lock.
        if self.stored::<directory::ResourceGroup>(&group).is_ok() {
            return Ok(());
        }
        let subscription = ResourceId::subscription(subscription_id);
        let facts = directory::Founding {
            tenant: self.installation.tenant_id,
            subscription: subscription_id,
            subscription_name: "custody".to_owned(),
            administrator: self.installation.administrator_id,
            administrator_name: self.os_user.clone(),
            now: self.clock.now(),
            correlation: CorrelationId::mint(self.entropy.as_ref())?,
        };
        let founded = self.records.apply(&mut |world| {
            if world.record(&subscription)?.is_some() {
                return Ok(Vec::new());
            }
            Ok(directory::found(&facts)?)
        });
        founded.map_err(|error| StartError::refused(&fault::of_apply(error)))?;
        let body = serde_json::json!({ "location": self.installation.location });
        rescue::put(self, &group, body).map_err(|refusal| StartError::refused(&refusal))?;
        Ok(())
    }
}

/// Every kind of resource the platform serves.
fn registry() -> Registry {
    directory::register(Registry::new())
        .with::<KeyVaultKind>()
        .with::<DeletedKeyVaultKind>()
        .with::<ManagedHsmKind>()
        .with::<DeletedManagedHsmKind>()
        .with::<LocalRoleKind>()
        .with::<LocalRoleDefinitionKind>()
        .with::<RecoveryServicesVault>()
        .with::<DeletedRecoveryServicesVault>()
        .with::<BackupPolicy>()
        .with::<GuardProxy<RecoveryServicesVault>>()
        .with::<BackupVault>()
        .with::<GuardProxy<BackupVault>>()
        .with::<ResourceGuard>()
        .with::<DeletedBackupVault>()
        .with::<DataProtectionPolicy>()
        .with::<BackupInstance>()
        .with::<RecoveryPoint>()
        .with::<ProtectionContainer>()
        .with::<ProtectedItem>()
        .with::<WorkloadPoint>()
        .with::<AuditDestination>()
        .with::<DiagnosticSetting>()
        .with::<EventSubscription>()
}

pub(crate) fn open_seal(
    choice: SealChoice,
    folder: &DataFolder,
    installation: &Installation,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Arc<dyn Seal>, PathBuf), StartError> {
    let name = format!("{}.seal", installation.installation_id);
    let (SealChoice::File { folder: place } | SealChoice::Passphrase { folder: place, .. }) =
        &choice;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(place)
        .map_err(|error| StartError::folder(place, &error))?;
    let opened: Result<(Arc<dyn Seal>, PathBuf), _> = match choice {
        SealChoice::File { folder: place } => {
            let path = place.join(name);
            FileSeal::at(&path, folder.root()).map(|seal| (Arc::new(seal) as Arc<dyn Seal>, path))
        }
        SealChoice::Passphrase { folder: place, passphrase } => {
            let path = place.join(name);
            PassphraseSeal::at(&path, folder.root(), passphrase, Arc::clone(entropy))
                .map(|seal| (Arc::new(seal) as Arc<dyn Seal>, path))
        }
    };
    opened.map_err(|error| part(error.code(), &error))
}

/// Opens keys.db, or makes it for a new installation; a lost one is never replaced in silence.
fn open_keys(
    folder: &DataFolder,
    records: &SqliteRecords,
    seal: Arc<dyn Seal>,
    entropy: &Arc<dyn Entropy>,
) -> Result<KeyStore, StartError> {
    let path = folder.keys();
    let made =
        records.setting(SETTING_KEYS_MADE).map_err(|error| part(error.code(), &error))?.is_some();
    if made && !path.exists() {
        return Err(StartError::KeysMissing(folder.root().to_owned()));
    }
    let opened = if made {
        KeyStore::open(&path, seal, Arc::clone(entropy))
    } else {
        KeyStore::create(&path, seal, Arc::clone(entropy))
    };
    let keys = opened.map_err(|error| part(error.code(), &error))?;
    if !made {
        records
            .set_setting(SETTING_KEYS_MADE, &Value::Bool(true))
            .map_err(|error| part(error.code(), &error))?;
    }
    Ok(keys)
}

fn open_ledger(
    folder: &DataFolder,
    seed: &SecretBytes,
    clock: &Arc<dyn Clock>,
) -> Result<Ledger, StartError> {
    let seed: &[u8; 32] =
        seed.expose().try_into().map_err(|_| StartError::Bug("a server secret has 32 bytes"))?;
    let signer = Signer::from_seed(seed).map_err(|error| part(error.code(), &error))?;
    Ledger::open(&folder.ledger(), Some(signer), Arc::clone(clock))
        .map_err(|error| part(error.code(), &error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
