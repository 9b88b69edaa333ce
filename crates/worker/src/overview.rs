//! What is where and how it stands: the installation, `status`, and what hangs on a key.

use std::sync::Arc;

use custody_backup_vaults::{DeletedVaultView, KeyAlert, Vault, items_of, rules};
use custody_directory::principal_of;
use custody_key_vault::{KeyAnswer, KeyItem, KeyOperation, Page};
use custody_names::{CorrelationId, KeyUri, KeyVersionUri, ResourceId};
use custody_protection::Point;
use custody_record_store::OperationFilter;
use custody_resources::{OperationState, ProvisioningState, Refusal, Stop, World};
use serde_json::{Value, json};

use crate::dependants::{VersionFacts, dependants as report, vaults_on};
use crate::key_access::Cause;
use crate::platform::DEFAULT_GROUP;
use crate::vault_repository::store_place;
use crate::{Platform, fault, kits};

/// How far back failed jobs are counted.
const FAILED_WITHIN_DAYS: i64 = 7;
/// Most jobs looked at for the overview.
const JOBS_MAX: usize = 5_000;

/// Who the installation is, and the names that `protect` uses unless told otherwise.
pub fn installation(platform: &Platform) -> Result<Value, Refusal> {
    let own = &platform.installation;
    let key_vault = own.default_key_vault().map_err(|error| Refusal::bug(error.to_string()))?;
    Ok(json!({
        "installationId": own.installation_id,
        "dataFolder": platform.folder.root(),
        "tenantId": own.tenant_id,
        "subscriptionId": own.subscription_id,
        "administrator": { "principalId": own.administrator_id, "name": platform.administrator().name },
        "location": own.location,
        "created": own.created,
        "version": env!("CARGO_PKG_VERSION"),
        "defaults": {
            "resourceGroup": DEFAULT_GROUP,
            "keyVault": key_vault,
            "key": "backup",
            "backupVault": "main",
            "identity": "main-identity",
        },
        "seal": seal(platform),
        "recoveryKit": kits::state(platform)?,
    }))
}

/// Everything an operator should see at one glance.
pub fn status(platform: &Platform) -> Result<Value, Refusal> {
    let mut vaults = Vec::new();
    let mut deleted = Vec::new();
    let mut warnings = Vec::new();
    let looked = platform.records.view(&mut |world| {
        vaults.clear();
        warnings.clear();
        deleted = DeletedVaultView::below(&ResourceId::root(), world)?
            .iter()
            .map(DeletedVaultView::summary)
            .collect();
        for vault in Vault::below(&ResourceId::root(), world)? {
            let shown = vault_status(platform, &vault, world, &mut warnings)?;
            vaults.push((vault, shown));
        }
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    let vaults: Result<Vec<Value>, Refusal> =
        vaults.into_iter().map(|(vault, shown)| with_last_probe(platform, &vault, shown)).collect();
    if let Some(jumped) = platform.clock_doubt()? {
        let Refusal { code, message, fix, .. } = jumped;
        warnings.push(json!({ "code": code, "message": message, "fix": fix }));
    }
    let kit = kits::state(platform)?;
    if kit.get("upToDate") != Some(&Value::Bool(true)) {
        warnings.push(json!({
            "code": "RecoveryKitMissing",
            "message": "no tested recovery kit covers the newest key: if this machine or its seal \
                        is lost, the backups cannot be opened",
            "fix": "custody recovery-kit create --file FILE, then custody recovery-kit test --file FILE",
        }));
    }
    Ok(json!({
        "vaults": vaults?,
        "deletedVaults": deleted,
        "warnings": warnings,
        "seal": seal(platform),
        "recoveryKit": kit,
        "jobs": jobs(platform)?,
        "ledger": ledger(platform)?,
    }))
}

/// What hangs on a key, version by version, as the administrator sees it (rule 124).
pub fn dependants(
    platform: &Arc<Platform>,
    key: &KeyUri,
    correlation: CorrelationId,
) -> Result<Value, Refusal> {
    let facts = platform.key_vault(&key.vault, Some(&key.key))?.ok_or_else(|| {
        let text = format!("the key vault {} does not exist or is deleted", key.vault);
        Refusal::new(404, "VaultNotFound", text)
    })?;
    let caller = principal_of(&platform.administrator());
    let cause = Cause::of(correlation);
    let whole = KeyOperation::ListVersions { name: &key.key, page: Page::WHOLE };
    let answer = platform
        .ask_key_vault(&caller, &facts, &whole, cause)
        .map_err(|error| Refusal::new(error.answer().status, error.code(), error.to_string()))?;
    let KeyAnswer::Versions { keys: versions, .. } = answer else {
        return Err(Refusal::bug("the key vault gave an answer of another kind"));
    };
    dependants_of(platform, key, versions)
}

/// How many vaults hang on a key, or on one version of it.
pub fn dependant_count(platform: &Platform, key: &KeyUri) -> Result<usize, Refusal> {
    let mut count = 0;
    let looked = platform.records.view(&mut |world| {
        count = vaults_on(key, world)?;
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    Ok(count)
}

/// What hangs on these versions of a key, newest first; nothing is changed by asking (rule 124).
pub fn dependants_of(
    platform: &Platform,
    key: &KeyUri,
    versions: Vec<KeyItem>,
) -> Result<Value, Refusal> {
    let versions: Vec<VersionFacts> = versions
        .into_iter()
        .map(|found| VersionFacts {
            version: found.id.version,
            enabled: found.attributes.enabled,
            created: found.attributes.created,
        })
        .collect();
    let mut found = None;
    let looked = platform.records.view(&mut |world| {
        found = Some(report(key, &versions, world)?);
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    let mut report = found.ok_or_else(|| Refusal::bug("the world was not looked at"))?;
    if let Some(wanted) = &key.version {
        report.versions.retain(|version| version.version == *wanted);
    }
    serde_json::to_value(report).map_err(|error| Refusal::bug(error.to_string()))
}

fn seal(platform: &Platform) -> Value {
    json!({
        "kind": platform.seal_kind,
        "protects": platform.key_vaults.store().protects(),
        "place": platform.seal_place,
    })
}

fn vault_status(
    platform: &Platform,
    vault: &Vault,
    world: &World,
    warnings: &mut Vec<Value>,
) -> Result<Value, Stop> {
    let id = &vault.record.id;
    let items = items_of(id, world)?;
    let points = Point::below(id, world)?;
    let newest = points.iter().map(|point| point.status.recovery_point_time).max();
    let name = id.name().unwrap_or_default();
    if let Some(error) = &vault.status.error {
        warnings.push(json!({
            "code": error.code,
            "message": format!("vault {name}: {}", error.message),
            "fix": error.fix,
        }));
    }
    for alert in vault.status.key_alerts.iter().filter(|alert| alert.is_open()) {
        let KeyAlert { jobs, probes, since, message, .. } = alert;
        let met = format!("{jobs} job(s) and {probes} probe(s) failed since {since}");
        warnings.push(json!({
            "code": alert.code,
            "message": format!("vault {name}: {met}: {message}"),
            "fix": alert.fix,
        }));
    }
    if vault.record.state == ProvisioningState::Failed {
        warnings.push(json!({
            "code": "VaultNotReady",
            "message": format!("vault {name} protects nothing: its encryption was never applied"),
            "fix": "mend the cause and repeat the request that created the vault",
        }));
    }
    let ring = vault.status.keyring.as_ref();
    let generations = ring.map(|ring| ring.generations.as_slice()).unwrap_or_default();
    let applied = vault.status.applied.as_ref();
    let key = applied.and_then(|applied| applied.key());
    let wraps = generations.last().map(|newest| newest.wraps.as_slice()).unwrap_or_default();
    let of_key =
        |wrap: &&KeyVersionUri| key.is_none_or(|key| key.versionless() == wrap.versionless());
    let version = wraps.iter().find(of_key);
    let older: Vec<u32> =
        generations.iter().rev().skip(1).map(|generation| generation.generation).collect();
    Ok(json!({
        "id": id,
        "name": name,
        "type": id.resource_type(),
        "items": items.len(),
        "recoveryPoints": points.len(),
        "newestPoint": newest,
        "encryption": {
            "type": if applied.is_some() { "CustomerManaged" } else { "PlatformManaged" },
            "keyUri": applied.and_then(|applied| applied.key_vault_properties.as_ref()).map(|key| {
                let key = key.clone();
                if key.in_managed_hsm { key.key_uri.in_managed_hsm() } else { key.key_uri.to_string() }
            }),
            "standbyKeyUri": applied.and_then(|applied| applied.standby()).map(ToString::to_string),
            "failover": applied.filter(|applied| applied.standby().is_some()).map(|applied| applied.failover),
            "keyVersion": version,
            "followsNewestVersion": key.map(rules::follows_newest_version),
            "state": vault.record.state,
        },
        "wraps": vault
            .status
            .generations_by_wrap()
            .into_iter()
            .map(|(version, generations)| json!({
                "keyVersion": version,
                "generations": generations,
            }))
            .collect::<Vec<_>>(),
        "keyAlerts": vault.status.key_alerts,
        "olderGenerations": older,
        "storePlace": store_place(platform, &vault.status).ok(),
    }))
}

/// With what the last round of probes said of each key version. A vault under the platform's key
/// is not probed.
fn with_last_probe(platform: &Platform, vault: &Vault, mut shown: Value) -> Result<Value, Refusal> {
    let history = platform.probe_history(vault)?;
    if let Some(fields) = shown.as_object_mut() {
        let last: Vec<_> = history.last_round().collect();
        fields.insert("lastProbe".to_owned(), json!(last));
    }
    Ok(shown)
}

fn jobs(platform: &Platform) -> Result<Value, Refusal> {
    let now = platform.clock.now();
    let recent = jiff::SignedDuration::from_hours(24 * FAILED_WITHIN_DAYS);
    let found = platform
        .records
        .operations(&OperationFilter::All, JOBS_MAX)
        .map_err(|error| fault::of_store(&error))?;
    let running = found.iter().filter(|tracked| !tracked.operation.state.is_final()).count();
    let failed = found.iter().filter(|tracked| {
        tracked.operation.state == OperationState::Failed
            && now.duration_since(tracked.operation.created) <= recent
    });
    Ok(json!({ "running": running, "failedLast7Days": failed.count() }))
}

fn ledger(platform: &Platform) -> Result<Value, Refusal> {
    let head = platform
        .ledger
        .head()
        .map_err(|error| Refusal::new(500, error.code(), error.to_string()))?;
    let sequence = head.map_or(0, |head| head.sequence);
    Ok(json!({ "records": sequence, "headSequence": sequence }))
}
