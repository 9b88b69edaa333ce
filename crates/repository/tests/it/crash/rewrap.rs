//! A rewrap and a change of key as a vault's jobs do them: each ring stored before the next, the
//! vault's record changed before the ring that only opens with the new key.

use std::sync::Arc;

use custody_ambient::Clock;
use custody_blob_store::BlobStore;
use custody_envelope::{
    Failover, KeyAccess, KeyTarget, KnownRing, RewrapStep, Ring, Trust, VaultKeys, WrapAlgorithm,
    WrapKey, begin_rewrap, finish_key_change, finish_rewrap, prove_wraps, rewrap_step, unlock,
    unwrap,
};
use custody_names::KeyVersionUri;
use custody_repository::Rings;
use custody_repository::log::{EntryHash, KeyringHead, Log};

use super::act::{Act, Stage};
use crate::world::World;

/// What a vault's record says of its ring.
#[derive(Clone)]
pub(super) struct RingRecord {
    pub(super) known: KnownRing,
    /// The ring itself.
    kept: Vec<u8>,
}

/// What a vault is to be wrapped by.
#[derive(Clone)]
pub(super) struct Wanted {
    key: KeyVersionUri,
    old: KeyVersionUri,
    changes_key: bool,
    /// What the record says from the mark [`IN_FORCE`] on.
    then: RingRecord,
}

/// Marks that the record names the new ring.
const IN_FORCE: &str = "in force";

impl RingRecord {
    pub(super) fn of(world: &World) -> Self {
        let ring = Ring::parse(&world.ring).unwrap();
        Self { known: ring.known(), kept: world.ring.clone() }
    }
}

fn target(key: &KeyVersionUri) -> KeyTarget {
    KeyTarget {
        keys: vec![WrapKey { key: key.clone(), algorithm: WrapAlgorithm::RsaOaep256 }],
        infrastructure: Vec::new(),
        failover: Failover::Stop,
    }
}

/// Whoever has the keys, and the world around.
struct Holder<'h> {
    world: &'h World,
    store: Arc<dyn BlobStore>,
    keys: &'h VaultKeys,
}

impl Holder<'_> {
    /// Carries a change on from `ring` to its end; `in_force` is told the ring that the record is
    /// to name.
    fn carry_on(
        &self,
        mut ring: Ring,
        key: &KeyVersionUri,
        changes_key: bool,
        in_force: &mut dyn FnMut(&Ring),
    ) -> Ring {
        let (world, keys) = (self.world, self.keys);
        let clock: Arc<dyn Clock> = world.clock.clone();
        let access = KeyAccess { keys: &*world.keks, allowed: &|_| true, clock: &clock };
        let (rings, to, first) = (Rings::new(&*self.store), target(key), ring.clone());
        loop {
            let step = rewrap_step(&ring, &to);
            let next = match step {
                RewrapStep::Begin => begin_rewrap(&ring, keys, &to, &access).unwrap(),
                RewrapStep::Finish => {
                    let proven = prove_wraps(&ring, keys, &to, &access).unwrap();
                    if changes_key {
                        finish_key_change(&ring, keys, &proven, &access, &*world.entropy).unwrap()
                    } else {
                        finish_rewrap(&ring, keys, &proven, &access).unwrap()
                    }
                }
                RewrapStep::Done => break,
            };
            if step == RewrapStep::Finish {
                in_force(&next);
            }
            rings.create(next.number(), next.encoded()).unwrap();
            ring = next;
        }
        if ring.number() != first.number() {
            let proof = unwrap(&ring, &Trust::Chained(first.known()), &access).unwrap();
            keys.lease().extend(proof).unwrap();
        }
        rings.delete_below(ring.number()).unwrap();
        self.tell(&ring);
        ring
    }

    /// Has the log name the ring, if it does not yet.
    fn tell(&self, ring: &Ring) {
        let parts = self.world.parts_with(self.keys, self.store.clone());
        let log = Log::open(parts.log(), None).unwrap();
        if log.history().keyring().is_none_or(|told| told.number < ring.number()) {
            let hash = EntryHash::from_bytes(ring.hash());
            log.keyring_changed(KeyringHead { number: ring.number(), hash }).unwrap();
        }
    }
}

/// Opens a vault as a job does: by the newest ring in its store that is genuine, whose copies are
/// mended from it, or by that of the record.
pub(super) fn open_vault(
    world: &World,
    store: &dyn BlobStore,
    record: &RingRecord,
    mends: bool,
) -> (Ring, VaultKeys) {
    let rings = Rings::new(store);
    let newest = rings.newest(record.known.number).unwrap().unwrap_or(record.known.number);
    let mut candidates = rings.candidates(newest).unwrap();
    candidates.push(record.kept.clone());
    let trust = Trust::Chained(record.known.clone());
    let (bytes, ring, keys) = candidates
        .iter()
        .find_map(|bytes| {
            let ring = Ring::parse(bytes).ok()?;
            let keys = unlock_with(world, &ring, &trust, &|_| true)?;
            Some((bytes, ring, keys))
        })
        .expect("no ring opens the vault");
    if mends && ring.number() >= newest {
        rings.mend(ring.number(), bytes).unwrap();
    }
    (ring, keys)
}

fn unlock_with(
    world: &World,
    ring: &Ring,
    trust: &Trust,
    allowed: &dyn Fn(&KeyVersionUri) -> bool,
) -> Option<VaultKeys> {
    let clock: Arc<dyn Clock> = world.clock.clone();
    unlock(ring, trust, &KeyAccess { keys: &*world.keks, allowed, clock: &clock }).ok()
}

/// What the record said when these marks had been made.
pub(super) fn record_at(act: &Act, marks: &[&str]) -> RingRecord {
    match &act.rewraps_to {
        Some(wanted) if marks.contains(&IN_FORCE) => wanted.then.clone(),
        _ => act.record.clone(),
    }
}

/// Does what the act was to do, after a crash, with the keys in hand; the old key is needed no more.
pub(super) fn finish(
    world: &World,
    store: Arc<dyn BlobStore>,
    (ring, keys): (Ring, &VaultKeys),
    wanted: &Wanted,
) {
    let Wanted { key, old, changes_key, .. } = wanted;
    let holder = Holder { world, store: store.clone(), keys };
    let ring = holder.carry_on(ring, key, *changes_key, &mut |_| {});
    assert!(unlock_with(world, &ring, &Trust::FirstUse, &|version| version != old).is_some());
    let mut others = Vec::new();
    let own = format!("keys/ring-{:010}", ring.number());
    store.list("keys/", &mut |name, _| others.push(name.to_string())).unwrap();
    others.retain(|name| !name.starts_with(&own));
    assert!(others.is_empty(), "{others:?} still open with the old key");
}

/// Rewraps the stage's vault under another version of its key, or another key.
pub(super) fn act(stage: &mut Stage, changes_key: bool) -> Act {
    let key = stage.world.keks.add_version(if changes_key { "kv2" } else { "kv1" }, "k1");
    let ring = Ring::parse(&stage.record.kept).unwrap();
    let old = ring.key_versions().into_iter().next().unwrap().clone();
    let mut then = stage.record.clone();
    let holder =
        Holder { world: &stage.world, store: stage.store.clone(), keys: &stage.world.keys };
    let ring = holder.carry_on(ring, &key, changes_key, &mut |ring| {
        then = RingRecord { known: ring.known(), kept: ring.encoded().to_vec() };
        stage.disk.mark(IN_FORCE);
    });
    assert_eq!(ring.known(), then.known);
    let wanted = Wanted { key, old, changes_key, then: then.clone() };
    let act = Act { rewraps_to: Some(wanted), ..stage.act() };
    stage.record = then;
    act
}
