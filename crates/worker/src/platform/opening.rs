//! Opening an installation: its stores, the kinds it serves, and the records it starts with.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::available_parallelism;

use custody_activity::{AuditDestination, DiagnosticSetting, EventSubscription, Ledger, Signer};
use custody_ambient::{Clock, Entropy};
use custody_backup_vaults::{
    BackupVault, DeletedBackupVault, DeletedRecoveryServicesVault, GuardProxy,
    RecoveryServicesVault, ResourceGuard, ResourceGuards,
};
use custody_directory::{self as directory, Locations, Region};
use custody_envelope::SecretBytes;
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, KeyStore, KeyVaultKind, KeyVaults,
    LocalRoleDefinitionKind, LocalRoleKind, ManagedHsmKind, ReleaseAuthority, Seal,
};
use custody_names::{CorrelationId, ResourceId};
use custody_protection::{
    BackupInstance, BackupPolicy, DataProtectionPolicy, DeletedBackupInstance, DeletedPoint,
    ProtectedItem, ProtectionContainer, RecoveryPoint, WorkloadPoint,
};
use custody_record_store::{RecordStore as _, SqliteRecords};
use custody_resources::{Engine, Registry};
use serde_json::Value;

use super::seal_choice::{SealChoice, open_seal};
use super::{DEFAULT_GROUP, Platform};
use crate::audit::LedgerSink;
use crate::conclusions::Conclusions;
use crate::due_work::DueWork;
use crate::error::{StartError, part};
use crate::following::Following;
use crate::installation::{DataFolder, Installation};
use crate::key_alerts::KeyFailures;
use crate::key_probes::Probing;
use crate::sign_in::TokenDesk;
use crate::{fault, orphans, rescue};

/// The setting that says that keys were made, so that a missing keys.db is noticed.
const SETTING_KEYS_MADE: &str = "keys-made";
/// The name of the secret that signs the ledger's heads and the log entries made without a key.
const SIGNING_SECRET: &str = "signing";

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
            due_work: DueWork::default(),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
            warnings: Mutex::default(),
            changed: (Mutex::new(0), Condvar::new()),
        });
        platform.bootstrap()?;
        Ok(platform)
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
        .with::<DeletedBackupInstance>()
        .with::<DeletedPoint>()
        .with::<ProtectionContainer>()
        .with::<ProtectedItem>()
        .with::<WorkloadPoint>()
        .with::<AuditDestination>()
        .with::<DiagnosticSetting>()
        .with::<EventSubscription>()
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
