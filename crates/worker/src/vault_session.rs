//! A vault open for one job: its ring unlocked, its repository at hand, its keys watched.

use std::sync::Arc;

use custody_backup_vaults::{
    EncryptionSettings, GenerationSummary, KeyringSummary, Vault, VaultStatus,
};
use custody_blob_store::BlobStore;
use custody_envelope::{
    EnvelopeError, Fingerprint, KeyAccess, KnownRing, LeaseEnd, Ring, Trust, VaultKeys, unlock,
};
use custody_names::{KeyUri, KeyVersionUri};
use custody_repository::{RepositoryError, Rings};
use custody_resources::Refusal;
use data_encoding::{BASE64, HEXLOWER};

use crate::error::TaskError;
use crate::job_board::Board;
use crate::keks::VaultKeks;
use crate::key_access::Cause;
use crate::key_watch::{Renewer, Watcher};
use crate::pause::Pause;
use crate::vault_repository::open_store;
use crate::{Platform, fault, vault_keys};

/// What is needed to speak to a vault's keys for one operation.
#[derive(Clone)]
pub(crate) struct KeyWay {
    /// Who speaks to the key vault.
    pub(crate) keks: VaultKeks,
    /// The keys of the vault's record: what a ring names beside them is a hint of nobody.
    pub(crate) allowed: Arc<Vec<KeyUri>>,
}

impl KeyWay {
    /// Runs `work` with the envelope's view of this way.
    pub(crate) fn with<T>(
        &self,
        platform: &Platform,
        work: impl FnOnce(&KeyAccess<'_>) -> Result<T, EnvelopeError>,
    ) -> Result<T, EnvelopeError> {
        let allowed = |version: &KeyVersionUri| {
            self.allowed.iter().any(|key| key.versionless() == version.versionless())
        };
        work(&KeyAccess { keys: &self.keks, allowed: &allowed, clock: &platform.clock })
    }
}

/// A vault open for one job.
pub(crate) struct VaultSession {
    /// The store of the repository.
    pub(crate) store: Arc<dyn BlobStore>,
    /// The ring in force.
    pub(crate) ring: Ring,
    /// Its keys, under a lease that a watcher extends and ends.
    pub(crate) keys: VaultKeys,
    /// The way to the keys that wrap them.
    pub(crate) way: KeyWay,
    /// What stood in the ring's place and is none of this vault's.
    pub(crate) refused: Vec<RefusedRing>,
    renewer: Arc<Renewer>,
    watcher: Option<Watcher>,
}

/// A keyring in the store that is not used: another vault's, an older one, or damaged.
pub(crate) struct RefusedRing {
    /// The number under which it stands.
    pub(crate) number: u64,
    /// What is wrong with it.
    pub(crate) error: EnvelopeError,
}

impl RefusedRing {
    /// The name of its object.
    pub(crate) fn object(&self) -> String {
        format!("keys/ring-{:010}", self.number)
    }

    /// Why the ring of this number cannot be written.
    pub(crate) fn in_the_way(&self) -> Refusal {
        let why = fault::of_envelope(&self.error);
        let object = self.object();
        let text =
            format!("{object} stands where the vault's next keyring belongs: {}", why.message);
        Refusal { message: text, ..why }
            .with_fix(format!("take {object} away from the vault's repository; it is not used"))
    }
}

impl VaultSession {
    /// Opens a vault by a fresh unwrap, so that a key taken away stops the job (rule 104) and one
    /// given back lets it go on (rule 65). Reads the key's attributes first: a disabled key, or one outside its time
    /// window, fails the job before a byte is read (rule 17).
    pub(crate) fn open(
        platform: &Arc<Platform>,
        vault: &Vault,
        cause: Cause,
    ) -> Result<Self, Refusal> {
        Self::open_as(platform, vault, vault.status.applied.as_ref(), cause)
    }

    /// The same as the identity that `settings` name.
    pub(crate) fn open_as(
        platform: &Arc<Platform>,
        vault: &Vault,
        settings: Option<&EncryptionSettings>,
        cause: Cause,
    ) -> Result<Self, Refusal> {
        let status = &vault.status;
        let known = known_ring(status)?;
        let keks = VaultKeks::new(platform, vault, settings, cause)?;
        let store = open_store(platform, status)?;
        let allowed = Arc::new(vault_keys::keys_of(status.applied.as_ref(), known.vault)?);
        let way = KeyWay { keks, allowed };
        way.keks.require_usable(status).map_err(|error| fault::of_key(&error))?;
        let unlocked = Self::unlock_newest(platform, store.as_ref(), &known, status, &way);
        let (ring, keys, refused) = unlocked.map_err(|error| fault::of_repository(&error))?;
        let renewer = Renewer {
            platform: Arc::clone(platform),
            store: Arc::clone(&store),
            way: way.clone(),
            known,
        };
        let renewer = Arc::new(renewer);
        let watcher = Watcher::begin(Arc::clone(&renewer), &keys);
        Ok(Self { store, ring, keys, way, refused, renewer, watcher })
    }

    /// Lets everything of the job that needs the keys wait for them while their key vault is away.
    pub(crate) fn pausing(self, board: &Arc<Board>) -> Self {
        self.keys.lease().renew_by(Arc::new(Pause::of(board, &self.renewer)));
        self
    }

    /// Opens a vault whose settings are to change. Under the same key the identity that is wanted opens
    /// it, so that one that was lost is replaced (rules 59, 66, 67), or the settings of before come back (rule 68); to change the key, the identity in
    /// force must still be able to use the old one (rule 58).
    pub(crate) fn open_to_change(
        platform: &Arc<Platform>,
        vault: &Vault,
        wanted: Option<&EncryptionSettings>,
        cause: Cause,
    ) -> Result<Self, Refusal> {
        let applied = vault.status.applied.as_ref();
        let guid = vault.status.vault_guid.ok_or_else(|| Refusal::bug("the vault has no GUID"))?;
        let same = applied.is_some() && vault_keys::all_stay(applied, wanted, guid)?;
        let speaks = if same { wanted } else { applied };
        Self::open_as(platform, vault, speaks, cause)
    }

    /// The newest ring of the store that is genuine; copies that are not are named and mended from
    /// it, and if the store has lost it, the record store's copy serves.
    fn unlock_newest(
        platform: &Platform,
        store: &dyn BlobStore,
        known: &KnownRing,
        status: &VaultStatus,
        way: &KeyWay,
    ) -> Result<(Ring, VaultKeys, Vec<RefusedRing>), RepositoryError> {
        let rings = Rings::new(store);
        let newest = rings.newest(known.number)?.unwrap_or(known.number);
        let mut candidates = rings.candidates(newest)?;
        let kept = status.ring.as_ref().and_then(|text| BASE64.decode(text.as_bytes()).ok());
        candidates.extend(kept);
        let trust = Trust::Chained(known.clone());
        let mut refused: Vec<RefusedRing> = Vec::new();
        for bytes in &candidates {
            let tried = Ring::parse(bytes).and_then(|ring| {
                let keys = way.with(platform, |access| unlock(&ring, &trust, access))?;
                Ok((ring, keys))
            });
            match tried {
                Ok((ring, keys)) => {
                    // The record may hold a newer one than was ever stored.
                    if ring.number() >= newest {
                        rings.mend(ring.number(), bytes)?;
                    }
                    // A rewrap that broke off leaves an older ring than the record's: that is none.
                    refused.retain(|_| newest >= known.number);
                    return Ok((ring, keys, refused));
                }
                // A refusal is about the key, not about this copy: no other copy is asked.
                Err(error @ EnvelopeError::Kek(_)) => return Err(error.into()),
                Err(error) => refused.push(RefusedRing { number: newest, error }),
            }
        }
        let lost = || EnvelopeError::RingDamaged { why: format!("ring {newest} is missing") };
        Err(refused.into_iter().next().map_or_else(lost, |first| first.error).into())
    }
}

impl Drop for VaultSession {
    fn drop(&mut self) {
        drop(self.watcher.take());
        let message = "the job has ended".to_owned();
        self.keys.lease().end(LeaseEnd { code: "JobEnded", message, retryable: false });
    }
}

/// The vault's ring as its record knows it.
pub(crate) fn known_ring(status: &VaultStatus) -> Result<KnownRing, Refusal> {
    let broken = |what: &str| Refusal::bug(format!("the vault's record holds no valid {what}"));
    let vault = status.vault_guid.ok_or_else(|| broken("vault GUID"))?;
    let ring = status.keyring.as_ref().ok_or_else(|| broken("keyring"))?;
    let hash = HEXLOWER.decode(ring.hash.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
    let fingerprint: Option<Fingerprint> =
        status.fingerprint.as_ref().and_then(|text| text.parse().ok());
    Ok(KnownRing {
        vault,
        number: ring.number,
        hash: hash.ok_or_else(|| broken("ring hash"))?,
        fingerprint: fingerprint.ok_or_else(|| broken("fingerprint"))?,
    })
}

/// Notes a ring in the vault's record.
pub(crate) fn note_ring(status: &mut VaultStatus, ring: &Ring) {
    let generations = ring.generations().map(|key| GenerationSummary {
        generation: key.generation(),
        wraps: key.wraps().iter().map(|wrap| wrap.key().clone()).collect(),
    });
    status.keyring = Some(KeyringSummary {
        number: ring.number(),
        hash: HEXLOWER.encode(&ring.hash()),
        generations: generations.collect(),
    });
    status.ring = Some(BASE64.encode(ring.encoded()));
    status.fingerprint = Some(ring.fingerprint().to_string());
}

impl From<RepositoryError> for TaskError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Cancelled => Self::Cancelled,
            other => fault::of_repository(&other).into(),
        }
    }
}
