//! A vault's keys and a repository over any store.

use std::num::NonZeroUsize;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_blob_store::{BlobStore, MemoryStore};
use custody_envelope::{Failover, KeyAccess, KeyTarget, VaultKeys, WrapAlgorithm, WrapKey, create};
use custody_names::VaultGuid;
use custody_repository::log::{
    EntryHash, HostFacts, HostProbe, ItemGuid, KeyholderAuthenticator, Liveness, LogError,
    TrustedServers,
};
use custody_repository::{
    BackupOptions, CommittedPoint, CompressionEffort, IndexLimits, OpenCache, PointId, Repository,
    RepositoryError, RepositoryParts, RestoreReport, Unwatched,
};
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};

use crate::tree::{Made, Tree, TreeSource, TreeTarget};

/// One vault: keys, clock, randomness, and a store to keep it all in. Copies share them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) keks: Arc<MemoryKeks>,
    pub(crate) keys: VaultKeys,
    pub(crate) ring: Vec<u8>,
    pub(crate) store: Arc<MemoryStore>,
    /// Where runs of the index are kept, if anywhere.
    pub(crate) runs: Option<Arc<MemoryStore>>,
}

/// Nothing of an index stays in memory that can be on disk.
pub(crate) const LEAST: IndexLimits =
    IndexLimits { memory_bytes: 0, uncovered_bytes: 0, filter_bytes: 4_096, session_bytes: 4_096 };
/// Where the index is kept: whatever is done with it comes to the same.
pub(crate) const ON_DISK: [bool; 2] = [false, true];

impl World {
    pub(crate) fn new() -> Self {
        Self::of_vault(7)
    }

    /// A world that keeps as much of the index on disk as it can, or all of it in memory.
    pub(crate) fn on_disk(is_on_disk: bool) -> Self {
        Self { runs: is_on_disk.then(Arc::default), ..Self::new() }
    }

    pub(crate) fn of_vault(vault: u8) -> Self {
        let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
        let entropy = Arc::new(SeededEntropy::new(u64::from(vault)));
        let keks = Arc::new(MemoryKeks::new());
        let key = keks.add_version("kv1", "k1");
        let target = KeyTarget {
            keys: vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }],
            infrastructure: Vec::new(),
            failover: Failover::Stop,
        };
        let the_clock: Arc<dyn Clock> = clock.clone();
        let access = KeyAccess { keys: &*keks, allowed: &|_| true, clock: &the_clock };
        let vault = VaultGuid::from_bytes([vault; 16]);
        let (ring, keys) = create(vault, &target, &access, &*entropy).unwrap();
        Self {
            clock,
            entropy,
            keks,
            keys,
            ring: ring.encoded().to_vec(),
            store: Arc::new(MemoryStore::new()),
            runs: None,
        }
    }

    pub(crate) fn parts(&self, store: Arc<dyn BlobStore>) -> RepositoryParts {
        self.parts_with(&self.keys, store)
    }

    /// With keys that were unlocked anew.
    pub(crate) fn parts_with(
        &self,
        keys: &VaultKeys,
        store: Arc<dyn BlobStore>,
    ) -> RepositoryParts {
        let cache = self.runs.clone().map(|runs| -> OpenCache {
            Arc::new(move || Ok(Arc::clone(&runs) as Arc<dyn BlobStore>))
        });
        RepositoryParts {
            store,
            keys: keys.clone(),
            authenticator: Arc::new(KeyholderAuthenticator::new(
                keys.clone(),
                TrustedServers::default(),
            )),
            host: Arc::new(OneHost),
            clock: self.clock.clone(),
            entropy: self.entropy.clone() as Arc<dyn Entropy>,
            index_limits: if cache.is_some() { LEAST } else { IndexLimits::default() },
            cache,
        }
    }

    pub(crate) fn create(&self) -> Repository {
        let fingerprint = EntryHash::from_bytes([3; 32]);
        Repository::create(self.parts(self.store.clone()), &self.ring, fingerprint).unwrap()
    }

    pub(crate) fn open(&self) -> Result<Repository, RepositoryError> {
        self.open_over(self.store.clone())
    }

    pub(crate) fn open_over(
        &self,
        store: Arc<dyn BlobStore>,
    ) -> Result<Repository, RepositoryError> {
        Repository::open(self.parts(store), None)
    }

    /// Every object with its bytes.
    pub(crate) fn objects(&self) -> Vec<(custody_blob_store::BlobName, Vec<u8>)> {
        let mut names = Vec::new();
        self.store.list("", &mut |name, _| names.push(name)).unwrap();
        names.sort();
        names
            .into_iter()
            .map(|name| (name.clone(), self.store.read(&name).unwrap().unwrap()))
            .collect()
    }

    /// Bytes in the store.
    pub(crate) fn size(&self) -> u64 {
        let mut size = 0;
        self.store.list("", &mut |_, length| size += length).unwrap();
        size
    }
}

pub(crate) const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
pub(crate) const ITEM: ItemGuid = ItemGuid::from_bytes([9; 16]);

pub(crate) fn options(parent: Option<PointId>) -> BackupOptions {
    BackupOptions {
        item: ITEM,
        item_name: "documents".to_owned(),
        host: "host.example".to_owned(),
        paths: vec![b"/home/ada/documents".to_vec()],
        parent,
        keep_until: None,
        compression: CompressionEffort::default(),
        threads: THREADS,
    }
}

pub(crate) fn backup(
    repository: &Repository,
    tree: &Tree,
    parent: Option<PointId>,
) -> Result<CommittedPoint, RepositoryError> {
    repository.backup(&mut TreeSource(tree.clone()), &options(parent), &Unwatched)
}

pub(crate) fn restore(
    repository: &Repository,
    point: PointId,
    path: &str,
) -> Result<(RestoreReport, Made), RepositoryError> {
    let mut target = TreeTarget::default();
    let report = repository.restore(point, path.as_bytes(), &mut target, THREADS, &Unwatched)?;
    Ok((report, target.made()))
}

/// A point of nothing and one of a tree deeper than a stack; the tree's own walk needs a deep one.
pub(crate) fn deep_tree() -> (Repository, [PointId; 2]) {
    let make = || {
        let repository = World::new().create();
        let mut tree = Tree::default();
        let first = backup(&repository, &tree, None).unwrap().id;
        tree.file(&format!("{}/file", vec!["d"; 1_500].join("/")), "at the bottom");
        let second = backup(&repository, &tree, Some(first)).unwrap().id;
        (repository, [first, second])
    };
    let builder = std::thread::Builder::new().stack_size(64 << 20);
    builder.spawn(make).unwrap().join().unwrap()
}

/// A host whose earlier processes are all dead.
struct OneHost;

impl HostProbe for OneHost {
    fn own_facts(&self) -> Result<HostFacts, LogError> {
        Ok(HostFacts {
            boot_id: [1; 16],
            process_id: 1,
            process_start_ticks: 1,
            process_name_space: 1,
        })
    }

    fn liveness(&self, _facts: &HostFacts) -> Liveness {
        Liveness::Dead
    }
}
