//! A vault's repository: opened with its keys for a job, or its log alone where no key is needed.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use custody_backup_vaults::{Vault, VaultStatus};
use custody_blob_store::{BlobStore, DiskStore, RetryingStore};
use custody_envelope::{Ring, VaultKeys};
use custody_names::ItemId;
use custody_repository::log::{
    EntryHash, HeadPin, ItemGuid, KeyholderAuthenticator, KeyringHead, Log, LogError, LogParts,
    ProcHost, ServerAuthenticator, TrustedServers, VoidReason,
};
use custody_repository::{IndexLimits, Repository, RepositoryParts};
use custody_resources::Refusal;
use data_encoding::HEXLOWER;

use crate::vault_session::VaultSession;
use crate::{Platform, fault};

impl VaultSession {
    /// The repository of the vault. One whose log lies behind the newest head on record opens
    /// read-only and says so.
    pub(crate) fn repository(
        &self,
        platform: &Platform,
        vault: &Vault,
    ) -> Result<Repository, Refusal> {
        let parts = parts(platform, Arc::clone(&self.store), self.keys.clone())?;
        Repository::open_from(parts, pin(&vault.status), checkpoint(&vault.status))
            .map_err(|error| fault::of_repository(&error))
    }

    /// Tells the log which ring is in force. Behind the newest head on record nothing has to be read
    /// for that, so that a rewrap takes as long however many points there are.
    pub(crate) fn tell_ring(
        &self,
        platform: &Platform,
        vault: &Vault,
        ring: &Ring,
    ) -> Result<(), Refusal> {
        let head = KeyringHead { number: ring.number(), hash: EntryHash::from_bytes(ring.hash()) };
        let parts = parts(platform, Arc::clone(&self.store), self.keys.clone())?;
        let told = match pin(&vault.status) {
            Some(seen) => Log::tell_keyring(parts.log(), seen, head),
            None => Log::open(parts.log(), None).and_then(|log| log.keyring_changed(head)),
        };
        match told {
            // Somebody else has told it, or an attempt before this one.
            Err(LogError::Refused { reason: VoidReason::KeyringOlder, .. }) | Ok(_) => Ok(()),
            Err(error) => Err(fault::of_repository(&error.into())),
        }
    }
}

/// What a repository needs of this process.
pub(crate) fn parts(
    platform: &Platform,
    store: Arc<dyn BlobStore>,
    keys: VaultKeys,
) -> Result<RepositoryParts, Refusal> {
    let trusted = TrustedServers(vec![server_key(platform)?.1]);
    let folder = platform.folder.cache(keys.vault());
    Ok(RepositoryParts {
        store,
        cache: Some(Arc::new(move || Ok(Arc::new(DiskStore::create(&folder)?)))),
        index_limits: IndexLimits::default(),
        authenticator: Arc::new(KeyholderAuthenticator::new(keys.clone(), trusted)),
        keys,
        host: Arc::new(ProcHost),
        clock: Arc::clone(&platform.clock),
        entropy: Arc::clone(&platform.entropy),
    })
}

/// The log of a vault's repository, opened without the vault's key: what is appended is signed by
/// this server and confirmed by the next holder of the key.
pub(crate) fn keyless_log(platform: &Platform, vault: &Vault) -> Result<Arc<Log>, Refusal> {
    let status = &vault.status;
    let missing = || Refusal::bug("the vault has no repository");
    let (pair, _) = server_key(platform)?;
    let parts = LogParts {
        store: open_store(platform, status)?,
        vault: status.vault_guid.ok_or_else(missing)?,
        authenticator: Arc::new(ServerAuthenticator::new(pair, TrustedServers::default())),
        clock: Arc::clone(&platform.clock),
        entropy: Arc::clone(&platform.entropy),
    };
    let of_log = |error: custody_repository::log::LogError| fault::of_repository(&error.into());
    let log = Log::open_from(parts, checkpoint(status)).map_err(of_log)?;
    if let Some(pin) = pin(status) {
        log.check_pin(pin).map_err(of_log)?;
    }
    Ok(Arc::new(log))
}

/// The folder of a vault's repository: the store that was named for it, or its own folder in the
/// data folder.
pub(crate) fn store_place(platform: &Platform, status: &VaultStatus) -> Result<PathBuf, Refusal> {
    match (&status.store_place, status.vault_guid) {
        (Some(place), _) => Ok(PathBuf::from(place)),
        (None, Some(guid)) => Ok(platform.folder.repository(guid)),
        (None, None) => Err(Refusal::bug("the vault has no repository")),
    }
}

/// The store of a vault that has one.
pub(crate) fn open_store(
    platform: &Platform,
    status: &VaultStatus,
) -> Result<Arc<dyn BlobStore>, Refusal> {
    let place = store_place(platform, status)?;
    let store = DiskStore::open(&place).map_err(|error| fault::of_repository(&error.into()))?;
    let (clock, entropy) = (Arc::clone(&platform.clock), Arc::clone(&platform.entropy));
    Ok(Arc::new(RetryingStore::new(Arc::new(store), clock, entropy)))
}

/// An item as the repository's log names it.
pub(crate) fn item_guid(id: ItemId) -> ItemGuid {
    ItemGuid::from_bytes(*id.as_bytes())
}

/// The newest head of the log on record.
pub(crate) fn pin(status: &VaultStatus) -> Option<HeadPin> {
    head_pin(status.log_head.as_ref()?)
}

/// The checkpoint on record that the log is read from.
fn checkpoint(status: &VaultStatus) -> Option<HeadPin> {
    head_pin(status.log_checkpoint.as_ref()?)
}

fn head_pin((number, hash): &(u64, String)) -> Option<HeadPin> {
    let hash = HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?;
    Some(HeadPin { number: *number, hash: EntryHash::from_bytes(hash) })
}

/// Notes a checkpoint of the log in the vault's record.
pub(crate) fn note_checkpoint(status: &mut VaultStatus, checkpoint: Option<HeadPin>) {
    let known = status.log_checkpoint.as_ref().map(|(number, _)| *number);
    if let Some(pin) = checkpoint.filter(|pin| Some(pin.number) > known) {
        status.log_checkpoint = Some((pin.number, pin.hash.to_string()));
    }
}

/// Notes a head of the log in the vault's record.
pub(crate) fn note_head(status: &mut VaultStatus, head: HeadPin) {
    let newer = status.log_head.as_ref().is_none_or(|(number, _)| *number < head.number);
    if newer {
        status.log_head = Some((head.number, head.hash.to_string()));
    }
}

fn server_key(platform: &Platform) -> Result<(Ed25519KeyPair, [u8; 32]), Refusal> {
    let unusable = || Refusal::bug("the server's signing key cannot be used");
    let pair = Ed25519KeyPair::from_seed_unchecked(platform.signing_seed.expose())
        .map_err(|_| unusable())?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| unusable())?;
    Ok((pair, public))
}
