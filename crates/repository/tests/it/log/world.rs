//! A store, clocks and keys to test a log with.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use custody_blob_store::{BlobName, BlobStore, MemoryStore};
use custody_envelope::EnvelopeError;
use custody_names::VaultGuid;
use custody_repository::log::{
    Authenticator, EntryHash, Genesis, HostFacts, HostProbe, ItemGuid, KeyedTag, Liveness, Log,
    LogAuthenticator, LogError, LogParts, NewPoint, ObjectId, ServerAuthenticator, Session,
    TrustedServers, Verdict,
};
use custody_test_world::{FixedClock, SeededEntropy};

pub(super) const VAULT: VaultGuid = VaultGuid::from_bytes([7; 16]);

/// A key holder whose tag is a hash with a secret: enough to tell a forger.
pub(super) struct TestKey {
    pub(super) secret: u8,
    pub(super) trusted: TrustedServers,
}

impl TestKey {
    fn tag(&self, bytes: &[u8]) -> [u8; 32] {
        digest(&SHA256, &[&[self.secret], bytes].concat()).as_ref().try_into().unwrap()
    }
}

impl LogAuthenticator for TestKey {
    fn sign(&self, bytes: &[u8]) -> Result<Authenticator, EnvelopeError> {
        Ok(Authenticator::Keyed(KeyedTag { generation: 1, tag: self.tag(bytes) }))
    }

    fn verify(
        &self,
        bytes: &[u8],
        authenticator: &Authenticator,
    ) -> Result<Verdict, EnvelopeError> {
        Ok(match authenticator {
            Authenticator::Keyed(keyed)
                if keyed.generation == 1 && keyed.tag == self.tag(bytes) =>
            {
                Verdict::Authentic
            }
            Authenticator::Keyed(_) => Verdict::Forged,
            Authenticator::Signed(signed) => self.trusted.verify(bytes, signed),
        })
    }
}

/// A server without the vault's key.
pub(super) fn server(seed: u8) -> ServerAuthenticator {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    ServerAuthenticator::new(pair, TrustedServers::default())
}

/// The public key of [`server`].
pub(super) fn server_key(seed: u8) -> [u8; 32] {
    use aws_lc_rs::signature::KeyPair;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    pair.public_key().as_ref().try_into().unwrap()
}

/// What the logs of one test share.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<FixedClock>,
    entropy: Arc<SeededEntropy>,
}

impl World {
    /// A world whose store holds a log with its genesis.
    pub(super) fn new() -> Self {
        let world = Self::empty();
        Log::create(world.parts(), genesis()).unwrap();
        world
    }

    pub(super) fn empty() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z")),
            entropy: Arc::new(SeededEntropy::new(1)),
        }
    }

    pub(super) fn parts(&self) -> LogParts {
        self.parts_over(self.store.clone())
    }

    pub(super) fn parts_over(&self, store: Arc<dyn BlobStore>) -> LogParts {
        LogParts {
            store,
            vault: VAULT,
            authenticator: Arc::new(TestKey { secret: 1, trusted: TrustedServers::default() }),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    /// The log as another process sees it.
    pub(super) fn open(&self) -> Arc<Log> {
        Arc::new(Log::open(self.parts(), None).unwrap())
    }

    pub(super) fn open_by(&self, authenticator: impl LogAuthenticator + 'static) -> Arc<Log> {
        let parts = LogParts { authenticator: Arc::new(authenticator), ..self.parts() };
        Arc::new(Log::open(parts, None).unwrap())
    }

    /// The bytes of entry `number`.
    pub(super) fn entry(&self, number: u64) -> Option<Vec<u8>> {
        self.store.read(&entry_name(number)).unwrap()
    }
}

pub(super) fn genesis() -> Genesis {
    Genesis { fingerprint: EntryHash::from_bytes([9; 32]), chunkers: vec![1, 2] }
}

pub(super) fn entry_name(number: u64) -> BlobName {
    format!("log/{number:010}").parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that a prune asks for")]
pub(super) fn pack_name(pack: &ObjectId) -> Result<BlobName, LogError> {
    Ok(format!("packs/{pack}").parse().unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that a prune asks for")]
pub(super) fn index_name(index: &ObjectId) -> Result<BlobName, LogError> {
    Ok(format!("index/{index}").parse().unwrap())
}

pub(super) fn object(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 32])
}

pub(super) fn objects(numbers: &[u8]) -> BTreeSet<ObjectId> {
    numbers.iter().copied().map(object).collect()
}

/// Point `number` with the given packs and an index of the same number.
pub(super) fn point(number: u8, packs: &[u8]) -> NewPoint {
    NewPoint {
        item: ItemGuid::from_bytes([1; 16]),
        point: object(number),
        indexes: objects(&[number]),
        packs: objects(packs),
    }
}

pub(super) fn host(process_id: u32) -> HostFacts {
    HostFacts { boot_id: [1; 16], process_id, process_start_ticks: 100, process_name_space: 1 }
}

pub(super) fn begin(log: &Arc<Log>) -> Session {
    Session::begin(Arc::clone(log), host(1)).unwrap()
}

/// Says the same of every process.
pub(super) struct Says(pub(super) Liveness);

impl HostProbe for Says {
    fn own_facts(&self) -> Result<HostFacts, LogError> {
        Ok(host(1))
    }

    fn liveness(&self, _: &HostFacts) -> Liveness {
        self.0
    }
}
