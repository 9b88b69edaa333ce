//! Writers, pruners, forgetters and hasty observers in seeded interleavings of their store calls.
//!
//! The engine is modelled as far as the log's promises reach: a pack holds chunks, a point uses
//! chunks. What must hold at every moment: each chunk of each existing point lies in a pack that
//! stands in the store and is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_blob_store::{BlobStore, MemoryStore};
use custody_repository::log::{
    ForgetReason, HeadPin, History, ItemGuid, Liveness, Log, LogError, LogParts, NewIntent,
    NewPoint, ObjectId, Prune, SESSION_LEASE, Session, SessionWatch, VoidReason,
};
use custody_test_world::{FixedClock, SeededEntropy};

use super::gate::{Gate, Gated};
use super::world::{Says, World, host, index_name, pack_name};

const SCHEDULES: u64 = 100;
const ROUNDS: usize = 3;
const CHUNKS: usize = 12;

/// Numbers from a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

type Chunks = BTreeSet<usize>;

/// What stands in sealed objects, and what happened, for all actors.
#[derive(Default)]
struct Known {
    packs: BTreeMap<ObjectId, Chunks>,
    points: BTreeMap<ObjectId, Chunks>,
    won: Vec<HeadPin>,
    /// How often what came about.
    seen: BTreeMap<&'static str, u32>,
    objects: u64,
}

struct Actor {
    seed: u64,
    log: Arc<Log>,
    store: Arc<Gated>,
    inner: Arc<MemoryStore>,
    world: Arc<World>,
    clock: Arc<FixedClock>,
    known: Arc<Mutex<Known>>,
    dice: Dice,
}

#[test]
fn no_committed_point_ever_loses_a_pack() {
    let mut seen = BTreeMap::<&str, u32>::new();
    for seed in 0..SCHEDULES {
        for (what, times) in run(seed) {
            *seen.entry(what).or_default() += times;
        }
    }
    // A schedule in which nothing collides proves nothing.
    for what in [
        "point committed",
        "RepositorySessionEnded",
        "RepositoryPruneStale",
        "RepositoryPruneOpen",
        "intent",
        "pack spared",
        "pack removed",
        "prune left half done",
        "fenced",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times > 10), "{what} is rare: {seen:?}");
    }
}

fn run(seed: u64) -> BTreeMap<&'static str, u32> {
    let world = Arc::new(World::new());
    let known = Arc::new(Mutex::new(Known::default()));
    let acts: [fn(&mut Actor); 6] = [write, write, write, prune, prune, forget_and_fence];
    let gate = Gate::new(seed, acts.len());
    std::thread::scope(|scope| {
        for (number, act) in acts.into_iter().enumerate() {
            let (world, known, gate) = (world.clone(), known.clone(), gate.clone());
            scope.spawn(move || {
                let _leave = Leave(gate.clone(), number);
                gate.wait(number);
                let mut actor = Actor::new(seed, number, world, known, gate.clone());
                for _ in 0..ROUNDS {
                    act(&mut actor);
                }
            });
        }
    });
    let history = check(&world, &known, seed);
    let known = known.lock().unwrap();
    let mut numbers = BTreeSet::new();
    for pin in &known.won {
        assert!(numbers.insert(pin.number), "seed {seed}: {} was won twice", pin.number);
        let log = world.open();
        assert_eq!(log.check_pin(*pin), Ok(()), "seed {seed}");
        assert!(pin.number <= history.head().unwrap().number);
    }
    known.seen.clone()
}

/// Leaves the gate however the actor ends, so that a failed assertion does not stop the others.
struct Leave(Arc<Gate>, usize);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// What must hold at every moment.
fn check(world: &World, known: &Mutex<Known>, seed: u64) -> Arc<History> {
    let history = world.open().history();
    let known = known.lock().unwrap();
    let readable: Chunks = history
        .packs()
        .iter()
        .filter(|pack| world.store.size(&pack_name(pack).unwrap()).unwrap().is_some())
        .flat_map(|pack| known.packs[pack].iter().copied())
        .collect();
    for point in history.points().keys() {
        let lost: Vec<_> = known.points[point].difference(&readable).collect();
        assert!(lost.is_empty(), "seed {seed}: point {point} lost {lost:?}");
    }
    history
}

impl Actor {
    fn new(
        seed: u64,
        number: usize,
        world: Arc<World>,
        known: Arc<Mutex<Known>>,
        gate: Arc<Gate>,
    ) -> Self {
        let own_seed = seed * 1_000 + number as u64;
        let inner = world.store.clone();
        let store = Arc::new(Gated { inner: inner.clone(), gate, actor: number });
        let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
        let parts = LogParts {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(own_seed)),
            ..world.parts_over(store.clone())
        };
        let log = Arc::new(Log::open(parts, None).unwrap());
        let dice = Dice::new(own_seed);
        Self { seed, log, store, inner, world, clock, known, dice }
    }

    fn count(&self, what: &'static str) {
        *self.known.lock().unwrap().seen.entry(what).or_default() += 1;
    }

    fn won(&self, outcome: Result<HeadPin, LogError>, what: &'static str) -> bool {
        match outcome {
            Ok(pin) => {
                self.known.lock().unwrap().won.push(pin);
                self.count(what);
                check(&self.world, &self.known, self.seed);
                true
            }
            Err(error @ LogError::Refused { .. }) => {
                self.count(error.code());
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn new_object(&self) -> ObjectId {
        let mut known = self.known.lock().unwrap();
        known.objects += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&known.objects.to_be_bytes());
        ObjectId::from_bytes(bytes)
    }

    fn write_pack(&self, chunks: Chunks) -> ObjectId {
        let pack = self.new_object();
        self.known.lock().unwrap().packs.insert(pack, chunks);
        self.store.create(&pack_name(&pack).unwrap(), b"pack").unwrap();
        pack
    }

    fn begin(&self) -> Session {
        Session::begin(self.log.clone(), host(1)).unwrap()
    }

    fn watch(&self) -> SessionWatch {
        SessionWatch::new(self.log.clone(), Arc::new(Says(Liveness::Unknown)))
    }
}

/// A backup: a few chunks, those that are there already not stored again.
fn write(actor: &mut Actor) {
    let session = actor.begin();
    // The index as the session sees it.
    let history = actor.log.history();
    let available: BTreeMap<ObjectId, Chunks> = {
        let known = actor.known.lock().unwrap();
        let packs = history.packs().difference(session.doomed_packs());
        packs.map(|pack| (*pack, known.packs[pack].clone())).collect()
    };
    let chunks: Chunks = (0..4).map(|_| actor.dice.below(CHUNKS)).collect();
    let mut used = BTreeSet::new();
    let mut fresh = Chunks::new();
    for chunk in &chunks {
        match available.iter().find(|(_, chunks)| chunks.contains(chunk)) {
            Some((pack, _)) => drop(used.insert(*pack)),
            None => drop(fresh.insert(*chunk)),
        }
    }
    let mut packs = BTreeSet::new();
    for chunk in fresh {
        packs.insert(actor.write_pack([chunk].into()));
    }
    if actor.dice.one_in(3) {
        session.beat().unwrap();
    }
    let point = actor.new_object();
    actor.known.lock().unwrap().points.insert(point, chunks);
    let item = ItemGuid::from_bytes([1; 16]);
    let new = NewPoint { item, point, indexes: [actor.new_object()].into(), packs };
    actor.won(session.commit(&new, &|pack| used.contains(pack)), "point committed");
    // One in four dies without a word.
    if !actor.dice.one_in(4) {
        session.end().unwrap();
    }
}

/// Finishes what is open, then computes and carries out a prune of its own.
fn prune(actor: &mut Actor) {
    carry_out(actor);
    let session = actor.begin();
    for _ in 0..3 {
        let history = actor.log.refresh().unwrap();
        let intent = plan(actor, &history);
        if intent.doomed.is_empty() {
            break;
        }
        match session.intend(&intent) {
            Err(LogError::Refused { reason: VoidReason::IntentStale, .. }) => {
                actor.count("RepositoryPruneStale");
            }
            outcome => {
                actor.won(outcome, "intent");
                break;
            }
        }
    }
    session.end().unwrap();
    carry_out(actor);
}

/// Dooms packs that no point needs, and one that is needed, after copying it; and packs in the
/// store that the log does not name.
fn plan(actor: &mut Actor, history: &History) -> NewIntent {
    let needed: Chunks = {
        let known = actor.known.lock().unwrap();
        history.points().keys().flat_map(|point| known.points[point].clone()).collect()
    };
    let packs_with_chunks: BTreeMap<ObjectId, Chunks> = {
        let known = actor.known.lock().unwrap();
        history.packs().iter().map(|pack| (*pack, known.packs[pack].clone())).collect()
    };
    let mut doomed: BTreeSet<ObjectId> = packs_with_chunks
        .iter()
        .filter(|(_, chunks)| chunks.is_disjoint(&needed))
        .map(|(pack, _)| *pack)
        .collect();
    let mut packs = BTreeSet::new();
    let rewritten = packs_with_chunks.iter().find(|(pack, _)| !doomed.contains(pack));
    if let Some((pack, chunks)) = rewritten.filter(|_| actor.dice.one_in(2)) {
        packs.insert(actor.write_pack(chunks.intersection(&needed).copied().collect()));
        doomed.insert(*pack);
    }
    let mut unnamed = Vec::new();
    actor.store.list("packs/", &mut |name, _| unnamed.push(name)).unwrap();
    let known = actor.known.lock().unwrap();
    doomed.extend(known.packs.keys().filter(|pack| {
        !history.packs().contains(pack)
            && !history.removed_packs().contains(pack)
            && !packs.contains(pack)
            && unnamed.contains(&pack_name(pack).unwrap())
    }));
    drop(known);
    NewIntent {
        based_on: history.head().unwrap().number,
        doomed,
        packs,
        indexes: [actor.new_object()].into(),
        replaced_indexes: BTreeSet::new(),
    }
}

fn carry_out(actor: &mut Actor) {
    let mut watch = actor.watch();
    let patience = SESSION_LEASE * 4;
    let Some(prune) = Prune::wait(&actor.log, &mut watch, patience).unwrap() else { return };
    if actor.dice.one_in(4) {
        // Killed half way; whoever comes next goes on.
        for pack in prune.removed().iter().take(1) {
            actor.store.delete(&pack_name(pack).unwrap()).unwrap();
        }
        actor.count("prune left half done");
        check(&actor.world, &actor.known, actor.seed);
        return;
    }
    let outcome = prune.carry_out(&actor.log, &pack_name, &index_name, &|_| ()).unwrap();
    for (what, packs) in [("pack removed", &outcome.removed), ("pack spared", &outcome.spared)] {
        for pack in packs {
            actor.count(what);
            let stands = actor.inner.size(&pack_name(pack).unwrap()).unwrap().is_some();
            assert!(what != "pack removed" || !stands);
        }
    }
    check(&actor.world, &actor.known, actor.seed);
}

/// Forgets a point, and ends sessions that may well be living.
fn forget_and_fence(actor: &mut Actor) {
    let history = actor.log.refresh().unwrap();
    let points: Vec<_> = history.points().keys().copied().collect();
    if !points.is_empty() {
        let point = points[actor.dice.below(points.len())];
        actor.won(actor.log.forget(point, ForgetReason::Requested), "forgotten");
    }
    let mut watch = actor.watch();
    watch.look(history.sessions()).unwrap();
    actor.clock.advance(SESSION_LEASE + Duration::from_secs(1));
    for _ in watch.look(actor.log.refresh().unwrap().sessions()).unwrap() {
        actor.count("fenced");
    }
}
