//! What to do when the records are lost: open a repository by itself, take it into new records,
//! set a data folder up from a recovery kit.
//!
//! A repository is taken in the same way whether the records last (`repair --repository`) or live
//! in memory for one restore (`restore --repository`): the key vaults that keys.db knows, an
//! identity with its grant, the vault with its ring, its items and its points.

use std::path::PathBuf;
use std::sync::Arc;

use custody_backup_vaults::{
    BackupVault, BackupVaultSpec, EncryptionSettings, EncryptionState, Failover, IdentityType,
    InfrastructureEncryption, KekIdentity, KeyVaultProperties, VaultStatus,
};
use custody_blob_store::{BlobStore, DiskStore};
use custody_envelope::{Fingerprint, Ring, SecretBytes};
use custody_key_vault::{KeyVaultRef, RecoveryKit};
use custody_names::{CorrelationId, KeyUri, KeyVersionUri, OperationId, ResourceId, ResourceName};
use custody_protection::{BackupInstance, FolderSource, InstanceSpec, InstanceStatus, SourcePath};
use custody_record_store::SqliteRecords;
use custody_repository::{Marker, RepositoryError, Rings};
use custody_resources::{
    Identity, Record, Refusal, Request, Stored, SystemData, UserAssigned, Verb, Write,
};
use serde_json::{Value, json};

use crate::error::{StartError, part};
use crate::installation::{DataFolder, INSTALLATION_FORMAT, Installation};
use crate::key_access::{Cause, PLATFORM_KEY_VAULT};
use crate::platform::{DEFAULT_GROUP, open_seal};
use crate::vault_session::{VaultSession, note_ring};
use crate::view::PointsView;
use crate::{Platform, PlatformOptions, fault};

/// The vault that a repository becomes.
const VAULT: &str = "main";
/// The identity that speaks for it.
const IDENTITY: &str = "main-identity";
/// The role that lets an identity wrap and unwrap (rule 42).
const SERVICE_ROLE: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";

/// A repository to open without records.
pub struct LoneRepository {
    /// Its folder.
    pub folder: PathBuf,
    /// Its fingerprint as its owner wrote it down; without one what is found is trusted.
    pub fingerprint: Option<String>,
    /// A recovery kit and its passphrase; the empty data folder is set up from it first.
    pub kit: Option<(Vec<u8>, SecretBytes)>,
}

/// Opens a repository with records that live in memory: nothing but the ledger is written.
pub fn open_repository(
    options: PlatformOptions,
    wanted: LoneRepository,
) -> Result<Arc<Platform>, StartError> {
    let LoneRepository { folder, fingerprint, kit } = wanted;
    let mut options = options;
    let mut fingerprint = fingerprint;
    if let Some((bytes, passphrase)) = kit {
        let opened =
            RecoveryKit::open(&passphrase, &bytes).map_err(|error| part(error.code(), &error))?;
        options = set_up(options, &opened)?;
        let known = opened.repositories().iter().find_map(|known| {
            let here = Marker::read(&DiskStore::open(&folder).ok()?).ok()?;
            (here.vault == known.vault).then(|| data_encoding::HEXLOWER.encode(&known.fingerprint))
        });
        fingerprint = fingerprint.or(known);
    }
    let data_folder = DataFolder::open_or_create(&options.data_folder)?;
    let records = SqliteRecords::memory().map_err(|error| part(error.code(), &error))?;
    let platform = Platform::over(data_folder, records, options)?;
    take_in(&platform, &folder, fingerprint.as_deref())
        .map_err(|refusal| StartError::refused(&refusal))?;
    Ok(platform)
}

/// Sets up an empty data folder from a recovery kit, and says what the kit holds.
pub fn restore_kit(
    options: PlatformOptions,
    kit: &[u8],
    passphrase: &SecretBytes,
) -> Result<Value, StartError> {
    let opened = RecoveryKit::open(passphrase, kit).map_err(|error| part(error.code(), &error))?;
    let repositories: Vec<Value> = opened
        .repositories()
        .iter()
        .map(|known| {
            let fingerprint = data_encoding::HEXLOWER.encode(&known.fingerprint);
            json!({ "vault": known.vault, "place": known.place, "fingerprint": fingerprint })
        })
        .collect();
    let folder = options.data_folder.clone();
    set_up(options, &opened)?;
    Ok(json!({
        "installationId": opened.installation(),
        "dataFolder": folder,
        "created": opened.created(),
        "repositories": repositories,
    }))
}

/// Takes the repository in `folder` into the records.
pub fn take_in(
    platform: &Arc<Platform>,
    folder: &std::path::Path,
    fingerprint: Option<&str>,
) -> Result<ResourceId, Refusal> {
    let of = |error: RepositoryError| fault::of_repository(&error);
    let store: Arc<dyn BlobStore> =
        Arc::new(DiskStore::open(folder).map_err(RepositoryError::from).map_err(of)?);
    let marker = Marker::read(store.as_ref()).map_err(of)?;
    let ring = newest_ring(store.as_ref(), fingerprint).map_err(of)?;
    let wraps = ring.key_versions();
    let known: Vec<KeyVaultRef> = platform
        .key_vaults
        .store()
        .vaults()
        .map_err(|error| Refusal::new(500, error.code(), error.to_string()))?;
    let version = wraps.iter().find(|version| known.iter().any(|kv| kv.vault == version.vault));
    let version = (*version.ok_or_else(|| no_key(&wraps))?).clone();
    let identity = make_surroundings(platform, &version, &known)?;
    let vault = vault_record(platform, &marker, &ring, folder, &version.versionless(), identity)?;
    let record = vault.into_record()?;
    let id = record.id.clone();
    let stored = platform.records.apply(&mut |world| match world.record(&id)? {
        Some(_) => {
            let text = format!("{id} exists already; take the repository into another data folder");
            Err(Refusal::new(409, "VaultExists", text).into())
        }
        None => Ok(vec![Write::Put(Box::new(record.clone()))]),
    });
    stored.map_err(fault::of_apply)?;
    take_in_points(platform, &id)?;
    Ok(id)
}

fn newest_ring(store: &dyn BlobStore, fingerprint: Option<&str>) -> Result<Ring, RepositoryError> {
    let rings = Rings::new(store);
    let newest = rings.newest(1)?.ok_or(RepositoryError::NotFound)?;
    let mut fault = None;
    for bytes in rings.candidates(newest)? {
        match Ring::parse(&bytes) {
            Ok(ring) => {
                let expected: Option<Fingerprint> = fingerprint.and_then(|text| text.parse().ok());
                let agrees = match fingerprint {
                    Some(_) => expected == Some(ring.fingerprint()),
                    None => true,
                };
                if agrees {
                    return Ok(ring);
                }
                fault = Some(custody_envelope::EnvelopeError::RingUntrusted {
                    why: "it has another fingerprint than the one given",
                });
            }
            Err(error) => fault = Some(error),
        }
    }
    Err(fault.map_or(RepositoryError::NotFound, RepositoryError::from))
}

fn no_key(wraps: &std::collections::BTreeSet<&KeyVersionUri>) -> Refusal {
    let listed: Vec<String> = wraps.iter().map(ToString::to_string).collect();
    let text =
        format!("keys.db holds none of the keys that wrap this repository: {}", listed.join(", "));
    Refusal::new(403, "KeyringNoAllowedKey", text)
        .with_fix("custody recovery-kit restore --kit FILE --data-dir EMPTY_FOLDER")
}

/// Key vaults, group, identity and its grant, by the administrator's own requests.
fn make_surroundings(
    platform: &Platform,
    version: &KeyVersionUri,
    known: &[KeyVaultRef],
) -> Result<Option<UserAssigned>, Refusal> {
    let group = group(platform)?;
    let location = platform.installation.location.as_str();
    if version.vault.as_str() == PLATFORM_KEY_VAULT {
        return Ok(None);
    }
    for key_vault in known.iter().filter(|kv| kv.vault.as_str() != PLATFORM_KEY_VAULT) {
        if let Some(own_group) = key_vault.resource.lineage().nth(1) {
            put(platform, &own_group, json!({ "location": location }))?;
        }
        let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
        let body = json!({ "location": location, "properties": properties });
        put(platform, &key_vault.resource, body)?;
    }
    let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
    let id = group.resource(&kind.parse().map_err(bug)?, &name(IDENTITY)?);
    let made = put(platform, &id, json!({ "location": location }))?;
    let read = |field: &str| {
        let text = made.pointer(&format!("/properties/{field}")).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let identity = UserAssigned {
        principal_id: read("principalId").parse().map_err(bug)?,
        client_id: read("clientId").parse().map_err(bug)?,
        id,
    };
    let scope = known.iter().find(|kv| kv.vault == version.vault).map(|kv| &kv.resource);
    let scope = scope.ok_or_else(|| Refusal::bug("the key vault was just found"))?;
    let assignment = CorrelationId::mint(platform.entropy.as_ref())
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let kind = "Microsoft.Authorization/roleAssignments".parse().map_err(bug)?;
    let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{SERVICE_ROLE}");
    let properties = json!({ "roleDefinitionId": role, "principalId": identity.principal_id });
    let body = json!({ "properties": properties });
    put(platform, &scope.resource(&kind, &name(&assignment.to_string())?), body)?;
    Ok(Some(identity))
}

fn vault_record(
    platform: &Platform,
    marker: &Marker,
    ring: &Ring,
    folder: &std::path::Path,
    key: &KeyUri,
    identity: Option<UserAssigned>,
) -> Result<Stored<BackupVault>, Refusal> {
    let applied = identity.as_ref().map(|identity| EncryptionSettings {
        state: EncryptionState::Enabled,
        key_vault_properties: Some(KeyVaultProperties {
            key_uri: key.clone(),
            in_managed_hsm: false,
        }),
        kek_identity: Some(KekIdentity {
            identity_type: IdentityType::UserAssigned,
            identity_id: Some(identity.id.clone()),
        }),
        infrastructure_encryption: match ring.infrastructure() {
            Some(_) => InfrastructureEncryption::Enabled,
            None => InfrastructureEncryption::Disabled,
        },
        standby_key_properties: None,
        failover: Failover::Stop,
    });
    // A repository in the data folder moves with it; any other stays where it is.
    let own = platform.folder.repository(marker.vault);
    let mut status = VaultStatus {
        vault_guid: Some(marker.vault),
        applied: applied.clone(),
        applied_at: Some(platform.clock.now()),
        store_place: (folder != own).then(|| folder.to_string_lossy().into_owned()),
        ..VaultStatus::default()
    };
    note_ring(&mut status, ring);
    let mut spec = BackupVaultSpec::default();
    spec.security_settings.encryption_settings = applied;
    let kind = "Microsoft.DataProtection/backupVaults".parse().map_err(bug)?;
    let mut record = blank(platform, group(platform)?.resource(&kind, &name(VAULT)?));
    record.location = Some(platform.installation.location.clone());
    record.identity =
        identity.map(|identity| Identity { system_assigned: None, user_assigned: vec![identity] });
    Ok(Stored { record, spec, status })
}

/// Items and points, from the repository's own log and points.
fn take_in_points(platform: &Arc<Platform>, vault_id: &ResourceId) -> Result<(), Refusal> {
    let vault = platform.vault(vault_id)?;
    let correlation = CorrelationId::mint(platform.entropy.as_ref())
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let session = VaultSession::open(platform, &vault, Cause::of(correlation))?;
    let repository = session.repository(platform, &vault)?;
    let view = PointsView::read(&repository).map_err(|error| fault::of_task(&error))?;
    let mut writes = Vec::new();
    for (item, (item_name, paths)) in view.items() {
        let text = item_name.unwrap_or_else(|| format!("item-{item}"));
        let record = blank(platform, vault_id.child("backupInstances", &name(&text)?));
        let folder = FolderSource {
            paths: paths.iter().map(|path| SourcePath::new(path)).collect(),
            ..FolderSource::default()
        };
        let spec = InstanceSpec {
            object_type: "BackupInstance".to_owned(),
            friendly_name: text,
            folder,
            ..InstanceSpec::default()
        };
        let status = InstanceStatus {
            item_id: item,
            current_protection_state: "ProtectionConfigured".to_owned(),
            newest_point_time: None,
        };
        writes.push(Stored::<BackupInstance> { record, spec, status }.into_write()?);
    }
    platform.records.apply(&mut |_| Ok(writes.clone())).map_err(fault::of_apply)?;
    platform.records.apply(&mut |world| view.writes(vault_id, world)).map_err(fault::of_apply)
}

/// Writes keys.db, seal and installation file of a kit's installation.
fn set_up(options: PlatformOptions, kit: &RecoveryKit) -> Result<PlatformOptions, StartError> {
    let folder = DataFolder::open_or_create(&options.data_folder)?;
    if folder.installation()?.is_some() {
        return Err(StartError::NotEmpty(folder.root().to_owned()));
    }
    let mut installation = Installation::mint(options.entropy.as_ref(), options.clock.now())?;
    installation.installation_id = kit.installation();
    installation.format = INSTALLATION_FORMAT;
    let entropy = Arc::clone(&options.entropy);
    let (seal, _) = open_seal(options.seal.again(), &folder, &installation, &entropy)?;
    let fault = |error: custody_key_vault::KeyVaultError| part(error.code(), &error);
    kit.restore(&folder.keys(), seal.as_ref()).map_err(fault)?;
    let keys = custody_key_vault::KeyStore::open(&folder.keys(), seal, entropy).map_err(fault)?;
    // Tenant and subscription are those of the key vaults: their keys are bound to them.
    for known in keys.vaults().map_err(fault)? {
        installation.tenant_id = known.tenant;
        if let Some(subscription) = known.resource.subscription_id() {
            installation.subscription_id = subscription;
        }
    }
    folder.install(&installation)?;
    Ok(options)
}

fn group(platform: &Platform) -> Result<ResourceId, Refusal> {
    let subscription = platform.installation.subscription_id;
    Ok(ResourceId::resource_group(subscription, &DEFAULT_GROUP.parse().map_err(bug)?))
}

fn name(text: &str) -> Result<ResourceName, Refusal> {
    text.parse().map_err(bug)
}

fn bug(error: custody_names::InvalidName) -> Refusal {
    Refusal::bug(error.to_string())
}

/// PUTs a resource as the administrator, and returns it as it is then.
pub(crate) fn put(platform: &Platform, id: &ResourceId, body: Value) -> Result<Value, Refusal> {
    let entropy = platform.entropy.as_ref();
    let minted = |error: custody_ambient::EntropyUnavailable| Refusal::bug(error.to_string());
    let request = Request {
        id: id.clone(),
        listed: None,
        verb: Verb::Put,
        body,
        api_version: "2025-07-01".to_owned(),
        if_match: None,
        caller: platform.administrator(),
        correlation: CorrelationId::mint(entropy).map_err(minted)?,
        operation: OperationId::mint(entropy).map_err(minted)?,
        owner: platform.owner.clone(),
        now: platform.clock.now(),
        hosts: custody_resources::Hosts::default(),
        entropy,
    };
    Ok(platform.decide(&request)?.body.unwrap_or_default())
}

fn blank(platform: &Platform, id: ResourceId) -> Record {
    Record::blank(id, SystemData::new(&platform.os_user, platform.clock.now()))
}
