//! A repository on disk that several processes open with the same keys.

use std::path::Path;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_blob_store::{BlobStore, DiskStore};
use custody_envelope::{Failover, KeyAccess, KeyTarget, VaultKeys, WrapAlgorithm, WrapKey, create};
use custody_names::VaultGuid;
use custody_repository::log::{KeyholderAuthenticator, ProcHost, TrustedServers};
use custody_repository::{IndexLimits, RepositoryParts};
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};

/// The same keys in both processes: nothing but their random bytes makes them.
fn world() -> (VaultKeys, Vec<u8>, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
    let keks = MemoryKeks::new();
    let key = keks.add_version("kv1", "k1");
    let target = KeyTarget {
        keys: vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }],
        infrastructure: Vec::new(),
        failover: Failover::Stop,
    };
    let the_clock: Arc<dyn Clock> = clock.clone();
    let access = KeyAccess { keys: &keks, allowed: &|_| true, clock: &the_clock };
    let vault = VaultGuid::from_bytes([7; 16]);
    let (ring, keys) = create(vault, &target, &access, &SeededEntropy::new(7)).unwrap();
    (keys, ring.encoded().to_vec(), clock)
}

/// What a repository in `folder` needs, and its ring.
pub(crate) fn parts(folder: &Path, seed: u64) -> (RepositoryParts, Vec<u8>) {
    let (keys, ring, clock) = world();
    let (store, runs) = (folder.join("store"), folder.join("cache"));
    let parts = RepositoryParts {
        store: Arc::new(DiskStore::create(&store).unwrap()),
        authenticator: Arc::new(KeyholderAuthenticator::new(
            keys.clone(),
            TrustedServers::default(),
        )),
        keys,
        cache: Some(Arc::new(move || {
            let store: Arc<dyn BlobStore> = Arc::new(DiskStore::create(&runs)?);
            Ok(store)
        })),
        index_limits: IndexLimits::default(),
        host: Arc::new(ProcHost),
        clock,
        entropy: Arc::new(SeededEntropy::new(seed)) as Arc<dyn Entropy>,
    };
    (parts, ring)
}

/// Most memory that this process ever took, in KiB.
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
