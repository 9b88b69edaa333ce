//! Recovery kits: one file under a passphrase that opens everything on an empty machine.

use custody_activity::Importance;
use custody_backup_vaults::{DeletedVaultView, Vault};
use custody_envelope::SecretBytes;
use custody_key_vault::{KeyVaultError, KitRepository, RecoveryKit};
use custody_names::ResourceId;
use custody_resources::{Caller, Refusal};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use crate::vault_repository::store_place;
use crate::{Platform, fault};

/// Shortest passphrase of a kit, in bytes: it opens everything.
const PASSPHRASE_BYTES_MIN: usize = 12;

/// Makes a kit of everything as it is now. On the ledger before it is handed out.
pub fn create(
    platform: &Platform,
    caller: &Caller,
    passphrase: &SecretBytes,
) -> Result<Value, Refusal> {
    if passphrase.expose().len() < PASSPHRASE_BYTES_MIN {
        let text = format!(
            "a kit opens everything: its passphrase needs {PASSPHRASE_BYTES_MIN} bytes or more"
        );
        return Err(Refusal::new(400, "PassphraseTooShort", text));
    }
    let repositories = repositories(platform)?;
    let store = platform.key_vaults.store();
    let installation = platform.installation.installation_id;
    let now = platform.clock.now();
    let (note, bytes) = RecoveryKit::create(store, passphrase, installation, &repositories, now)
        .map_err(|error| of_kit(&error))?;
    record(platform, caller, "RecoveryKitCreate", &note.id.to_string())?;
    Ok(json!({
        "id": note.id.to_string(),
        "kit": BASE64.encode(&bytes),
        "covers": note.covers.newest_version,
        "contains": { "repositories": repositories.iter().map(render).collect::<Vec<_>>() },
    }))
}

/// Opens a kit as a test, and notes that it opened.
pub fn test(
    platform: &Platform,
    caller: &Caller,
    passphrase: &SecretBytes,
    bytes: &[u8],
) -> Result<Value, Refusal> {
    let kit = RecoveryKit::open(passphrase, bytes).map_err(|error| of_kit(&error))?;
    if kit.installation() != platform.installation.installation_id {
        let text =
            format!("the kit is of the installation {}, not of this one", kit.installation());
        return Err(Refusal::new(409, "RecoveryKitForeign", text));
    }
    let store = platform.key_vaults.store();
    store.note_kit_tested(kit.id(), platform.clock.now()).map_err(|error| of_kit(&error))?;
    record(platform, caller, "RecoveryKitTest", &kit.id().to_string())?;
    let newest = store.coverage().map_err(|error| of_kit(&error))?;
    Ok(json!({
        "ok": true,
        "id": kit.id().to_string(),
        "created": kit.created(),
        "covers": kit.covers().newest_version,
        "upToDate": kit.covers() >= newest,
        "repositories": kit.repositories().iter().map(render).collect::<Vec<_>>(),
    }))
}

/// Whether a tested kit covers the newest key.
pub(crate) fn state(platform: &Platform) -> Result<Value, Refusal> {
    let store = platform.key_vaults.store();
    let newest = store.coverage().map_err(|error| of_kit(&error))?;
    let kits = store.kits().map_err(|error| of_kit(&error))?;
    let tested = kits.iter().rev().find(|kit| kit.tested.is_some() && kit.covers >= newest);
    Ok(json!({
        "kits": kits.len(),
        "newestKeyVersion": newest.newest_version,
        "upToDate": tested.is_some(),
        "testedAt": tested.and_then(|kit| kit.tested),
    }))
}

fn repositories(platform: &Platform) -> Result<Vec<KitRepository>, Refusal> {
    let mut all = Vec::new();
    let looked = platform.records.view(&mut |world| {
        all.clear();
        let standing = Vault::below(&ResourceId::root(), world)?;
        let deleted = DeletedVaultView::below(&ResourceId::root(), world)?;
        let deleted = deleted.into_iter().map(|deleted| deleted.vault);
        for Vault { status, .. } in standing.into_iter().chain(deleted) {
            let place = store_place(platform, &status).ok();
            if let (Some(vault), Some(place), Some(fingerprint)) =
                (status.vault_guid, place, status.fingerprint)
            {
                let place = place.to_string_lossy().into_owned();
                let fingerprint = HEXLOWER.decode(fingerprint.as_bytes()).unwrap_or_default();
                all.push(KitRepository { vault, place, fingerprint });
            }
        }
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    Ok(all)
}

fn render(repository: &KitRepository) -> Value {
    json!({
        "vault": repository.vault,
        "place": repository.place,
        "fingerprint": HEXLOWER.encode(&repository.fingerprint),
    })
}

fn record(platform: &Platform, caller: &Caller, what: &str, kit: &str) -> Result<(), Refusal> {
    let record = json!({
        "category": "AuditEvent",
        "operationName": what,
        "resultType": "Success",
        "identity": { "principalId": caller.principal, "osUser": caller.name },
        "properties": { "kit": kit },
    });
    platform
        .ledger
        .append(&record, Importance::Essential)
        .map(drop)
        .map_err(|error| Refusal::new(503, "AuditUnavailable", error.to_string()))
}

fn of_kit(error: &KeyVaultError) -> Refusal {
    let status = match error {
        KeyVaultError::WrongPassphrase | KeyVaultError::Damaged(_) => 400,
        _ => error.answer().status,
    };
    Refusal::new(status, error.code(), error.to_string())
}
