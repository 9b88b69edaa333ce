//! A vault whose repository lies in a folder, and whose keys a test may write out.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use custody_ambient::Clock;
use custody_blob_store::DiskStore;
use custody_envelope::{
    Failover, KekError, KekKind, KekState, KeyAccess, KeyEncryptionKeys, KeyTarget, Ring,
    SecretBytes, Trust, VaultKeys, WrapAlgorithm, WrapKey, WrappedKey, begin_rewrap, create,
    finish_key_change, prove_wraps, unlock,
};
use custody_names::{KeyUri, KeyVersionUri, VaultGuid};
use custody_repository::log::{
    EntryHash, ForgetReason, HostFacts, HostProbe, ItemGuid, KeyholderAuthenticator, KeyringHead,
    Liveness, Log, LogError, ServerAuthenticator, TrustedServers,
};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{
    BackupOptions, CheckLevel, CompressionEffort, IndexLimits, PointId, Repository,
    RepositoryParts, Rings, Unwatched,
};
use custody_sources::{FolderOptions, FolderSource, FolderTarget, TargetOptions};
use custody_test_world::{FixedClock, SeededEntropy};
use data_encoding::HEXLOWER;
use serde_json::json;

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const VAULT: VaultGuid = VaultGuid::from_bytes([7; 16]);

/// The lengths of data keys and infrastructure keys, in bytes.
const KEY_BYTES: usize = 32;

pub(crate) struct Vault {
    folder: PathBuf,
    clock: Arc<FixedClock>,
    entropy: Arc<SeededEntropy>,
}

impl Vault {
    /// Makes the repository of a new vault in `folder`.
    pub(crate) fn create(folder: &Path, second_layer: bool) -> Self {
        let vault = Self::at(folder);
        let store = Arc::new(DiskStore::create(folder).unwrap());
        let clock: Arc<dyn Clock> = vault.clock.clone();
        let target = target(1, second_layer);
        let (ring, keys) = create(VAULT, &target, &access(&clock), &*vault.entropy).unwrap();
        let fingerprint = EntryHash::from_bytes(*ring.fingerprint().as_bytes());
        Repository::create(vault.parts(store, keys), ring.encoded(), fingerprint).unwrap();
        vault
    }

    /// The vault whose repository is in `folder`.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            clock: Arc::new(FixedClock::at_text("2026-11-30T12:00:00Z")),
            entropy: Arc::new(SeededEntropy::new(7)),
        }
    }

    fn parts(&self, store: Arc<DiskStore>, keys: VaultKeys) -> RepositoryParts {
        RepositoryParts {
            store,
            keys: keys.clone(),
            authenticator: Arc::new(KeyholderAuthenticator::new(keys, TrustedServers::default())),
            host: Arc::new(OneHost),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            cache: None,
            index_limits: IndexLimits::default(),
        }
    }

    fn store(&self) -> Arc<DiskStore> {
        Arc::new(DiskStore::open(&self.folder).unwrap())
    }

    fn ring(&self) -> Ring {
        let store = self.store();
        let rings = Rings::new(&*store);
        let newest = rings.newest(1).unwrap().unwrap();
        Ring::parse(rings.candidates(newest).unwrap().first().unwrap()).unwrap()
    }

    fn keys(&self) -> VaultKeys {
        let clock: Arc<dyn Clock> = self.clock.clone();
        unlock(&self.ring(), &Trust::FirstUse, &access(&clock)).unwrap()
    }

    pub(crate) fn open(&self) -> Repository {
        Repository::open(self.parts(self.store(), self.keys()), None).unwrap()
    }

    pub(crate) fn backup(&self, source: &Path, parent: Option<PointId>) -> PointId {
        self.clock.advance(Duration::from_secs(1));
        let options = BackupOptions {
            item: ItemGuid::from_bytes([9; 16]),
            item_name: "documents".to_owned(),
            host: "host.example".to_owned(),
            paths: vec![b"/srv/documents".to_vec()],
            parent,
            keep_until: None,
            compression: CompressionEffort::default(),
            threads: THREADS,
        };
        let mut folder = FolderSource::new(&[source.to_owned()], FolderOptions::default()).unwrap();
        let committed = self.open().backup(&mut folder, &options, &Unwatched).unwrap();
        assert_eq!(committed.warnings, []);
        committed.id
    }

    /// Forgets a point and gives back whatever nothing else needs, down to the last byte.
    pub(crate) fn forget_and_prune(&self, point: PointId) {
        let repository = self.open();
        repository.log().unwrap().forget(point.0, ForgetReason::Requested).unwrap();
        let options = PruneOptions {
            unused_percent_max: 0,
            rewrite_unused_percent_min: 0,
            ..PruneOptions::default()
        };
        let report = repository.prune(&options, Duration::from_mins(10), &Unwatched).unwrap();
        assert!(report.removed_packs > 0);
    }

    /// Forgets a point as a server that the vault does not trust, with a key of its own.
    pub(crate) fn forget_as_a_stranger(&self, point: PointId) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let stranger = ServerAuthenticator::new(pair, TrustedServers::default());
        let mut parts = self.parts(self.store(), self.keys()).log();
        parts.authenticator = Arc::new(stranger);
        Log::open(parts, None).unwrap().forget(point.0, ForgetReason::Requested).unwrap();
    }

    /// Changes the key encryption key: a new generation of the data key begins.
    pub(crate) fn change_key(&self, second_layer: bool) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (access, target, first) = (access(&clock), target(2, second_layer), self.ring());
        let keys = self.keys();
        let begun = begin_rewrap(&first, &keys, &target, &access).unwrap();
        let proven = prove_wraps(&begun, &keys, &target, &access).unwrap();
        let ring = finish_key_change(&begun, &keys, &proven, &access, &*self.entropy).unwrap();
        let store = self.store();
        let rings = Rings::new(&*store);
        rings.create(begun.number(), begun.encoded()).unwrap();
        rings.create(ring.number(), ring.encoded()).unwrap();
        rings.delete_below(ring.number()).unwrap();
        let head = KeyringHead { number: ring.number(), hash: EntryHash::from_bytes(ring.hash()) };
        self.open().log().unwrap().keyring_changed(head).unwrap();
    }

    /// What the reader needs to be told: the keys in clear, in a file of JSON.
    pub(crate) fn write_keys(&self, path: &Path) {
        let clear = |key: &WrappedKey| {
            HEXLOWER.encode(key.wraps().first().unwrap().bytes().get(..KEY_BYTES).unwrap())
        };
        let ring = self.ring();
        let keys = json!({
            "vault": ring.vault().to_string(),
            "dataKeys": ring.generations().map(clear).collect::<Vec<_>>(),
            "infrastructureKey": ring.infrastructure().map(clear),
        });
        fs::write(path, format!("{keys:#}\n")).unwrap();
    }

    /// Restores a point by the engine itself.
    pub(crate) fn restore(&self, point: PointId, to: &Path) {
        let mut target = FolderTarget::open(to, TargetOptions::default()).unwrap();
        let repository = self.open();
        repository.restore(point, b"", &mut target, THREADS, &Unwatched).unwrap();
        target.complete();
    }

    pub(crate) fn assert_sound(&self) {
        let report = self.open().check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.problems, []);
    }
}

/// A key version of the customer's, and for a second layer one of the platform's.
fn target(version: u8, second_layer: bool) -> KeyTarget {
    let by = |vault: &str| WrapKey {
        key: format!("https://{vault}.vault.custody.localhost/keys/k/{version:032x}")
            .parse()
            .unwrap(),
        algorithm: WrapAlgorithm::RsaOaep256,
    };
    KeyTarget {
        keys: vec![by("customer")],
        infrastructure: if second_layer { vec![by("platform")] } else { Vec::new() },
        failover: Failover::Stop,
    }
}

fn access(clock: &Arc<dyn Clock>) -> KeyAccess<'_> {
    KeyAccess { keys: &ClearKeks, allowed: &|_| true, clock }
}

/// Key encryption keys that leave everything in clear: a wrap is what it wraps. So a repository
/// kept in files opens in every later run of a test, and its keys can be read off its ring.
struct ClearKeks;

impl KeyEncryptionKeys for ClearKeks {
    fn describe(&self, key: &KeyUri) -> Result<KekState, KekError> {
        let version = key.at(key.version.clone().unwrap());
        let kind = KekKind::Rsa { bits: 2048 };
        Ok(KekState { version, kind, enabled: true, not_before: None, expires: None })
    }

    fn wrap(
        &self,
        _key: &KeyVersionUri,
        _algorithm: WrapAlgorithm,
        plain: &SecretBytes,
    ) -> Result<Vec<u8>, KekError> {
        Ok(plain.expose().to_vec())
    }

    fn unwrap(
        &self,
        _key: &KeyVersionUri,
        _algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes, KekError> {
        Ok(SecretBytes::new(wrapped.to_vec()))
    }
}

/// A host whose earlier processes are all dead.
struct OneHost;

impl HostProbe for OneHost {
    fn own_facts(&self) -> Result<HostFacts, LogError> {
        let one = HostFacts {
            boot_id: [1; 16],
            process_id: 1,
            process_start_ticks: 1,
            process_name_space: 1,
        };
        Ok(one)
    }

    fn liveness(&self, _facts: &HostFacts) -> Liveness {
        Liveness::Dead
    }
}
