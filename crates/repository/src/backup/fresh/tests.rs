use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_blob_store::{BlobStore, MemoryStore, StoreError};
use custody_envelope::{Failover, KeyAccess, KeyTarget, WrapAlgorithm, WrapKey, create};
use custody_names::VaultGuid;
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};

use super::*;
use crate::log::{EntryHash, KeyholderAuthenticator, ProcHost, TrustedServers};
use crate::pack::{Directory, DirectoryGroup, Member};
use crate::{IndexLimits, OpenCache, RepositoryParts};

/// Chunks of one pack.
const PACK_CHUNKS: u64 = 8;
/// Memory for 80 chunks that wait, and 4 KiB of filters.
const LIMITS: IndexLimits = IndexLimits {
    memory_bytes: 0,
    uncovered_bytes: 0,
    filter_bytes: 4_096,
    session_bytes: 2 * 80 * BYTES_A_CHUNK,
};

/// An empty repository.
pub(crate) fn repository(cache: Option<OpenCache>) -> Repository {
    let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let keks = MemoryKeks::new();
    let key = keks.add_version("kv1", "k1");
    let target = KeyTarget {
        keys: vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }],
        infrastructure: Vec::new(),
        failover: Failover::Stop,
    };
    let the_clock: Arc<dyn Clock> = clock.clone();
    let access = KeyAccess { keys: &keks, allowed: &|_| true, clock: &the_clock };
    let (ring, keys) = create(VaultGuid::from_bytes([7; 16]), &target, &access, &*entropy).unwrap();
    let authenticator = KeyholderAuthenticator::new(keys.clone(), TrustedServers::default());
    let parts = RepositoryParts {
        store: Arc::new(MemoryStore::new()),
        authenticator: Arc::new(authenticator),
        keys,
        cache,
        index_limits: LIMITS,
        host: Arc::new(ProcHost),
        clock,
        entropy,
    };
    Repository::create(parts, ring.encoded(), EntryHash::from_bytes([3; 32])).unwrap()
}

fn in_memory() -> OpenCache {
    let runs = Arc::new(MemoryStore::new());
    Arc::new(move || Ok(Arc::clone(&runs) as Arc<dyn BlobStore>))
}

fn chunk(number: u64) -> ChunkName {
    ChunkName(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

fn pack(number: u64) -> PackSummary {
    let chunks = number * PACK_CHUNKS..(number + 1) * PACK_CHUNKS;
    let members: Vec<Member> =
        chunks.map(|number| Member { name: chunk(number), length: 10 }).collect();
    let plain = u32::try_from(members.len() * 10).unwrap();
    let compression = crate::compress::Compression::None;
    let group = DirectoryGroup { sealed: plain + 16, plain, compression, members };
    let directory = Directory { groups: vec![group] };
    PackSummary { id: ObjectId::of(&number.to_be_bytes()), length: 300, directory }
}

impl Fresh<'_> {
    /// Chunks that take memory, and bytes of filters.
    fn held(&self) -> (usize, usize) {
        let pending: usize = self.pending.iter().map(|shard| locked(shard).len()).sum();
        let indexed = self.indexed.read().unwrap();
        (
            pending.max(locked(&self.waiting).chunks) + indexed.names.len(),
            indexed.runs.filter_bytes(),
        )
    }
}

#[test]
fn what_is_held_in_memory_does_not_grow_with_what_is_new() {
    let full: OpenCache = Arc::new(|| Err(StoreError::Full("no room".to_owned())));
    for (cache, is_bounded) in [(Some(in_memory()), true), (Some(full), false), (None, false)] {
        let repository = repository(cache);
        let fresh = Fresh::new(&repository);
        let mut most = (0, 0);
        for number in 0..300 {
            let pack = pack(number);
            for member in pack.directory.groups.iter().flat_map(|group| &group.members) {
                assert!(fresh.claim(member.name).unwrap());
                assert!(!fresh.claim(member.name).unwrap());
            }
            fresh.add(pack).unwrap();
            let held = fresh.held();
            most = (most.0.max(held.0), most.1.max(held.1));
        }
        // Every chunk of the session is found, wherever its name is by now.
        for number in 0..300 * PACK_CHUNKS {
            assert!(!fresh.claim(chunk(number)).unwrap(), "{number}");
        }
        let limit = 80 + usize::try_from(PACK_CHUNKS).unwrap();
        assert_eq!(most.0 <= limit, is_bounded, "{most:?}");
        assert!(most.1 <= LIMITS.session_bytes / 2, "{most:?}");
        let added = fresh.finish().unwrap();
        assert_eq!((added.packs.len(), added.indexes.len()), (300, 30));
    }
}

#[test]
fn a_session_that_lost_a_chunk_does_not_commit() {
    let repository = repository(Some(in_memory()));
    // (chunks claimed, packs added) -> is it said
    for (claimed, packs, is_whole) in [(32, 4, true), (33, 4, false), (31, 4, false), (0, 0, true)]
    {
        let fresh = Fresh::new(&repository);
        for number in 0..claimed {
            assert!(fresh.claim(chunk(number)).unwrap());
        }
        let added = (0..packs).try_for_each(|number| fresh.add(pack(number)));
        assert_eq!(added.and_then(|()| fresh.finish()).is_ok(), is_whole, "{claimed}");
    }
}
