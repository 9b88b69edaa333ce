//! What is done to a repository while its disk is watched.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use custody_blob_store::{BlobName, BlobStore, DiskStore};
use custody_repository::log::{EntryHash, ForgetReason, HeadPin};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CommittedPoint, PointId, Repository, Unwatched};
use custody_test_world::disk::{Recording, SimulatedDisk};

use super::disk::{Given, Telling};
use super::rewrap::{self, RingRecord};
use crate::tree::{Tree, noise};
use crate::world::{World, backup};

pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// What a point holds.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Does something and says what must be of it.
pub(super) type Perform = fn(&mut Stage) -> Act;

/// Every act of a round, in order: each builds on those before.
pub(super) const ACTS: [(&str, Perform); 10] = [
    ("init", init),
    ("first backup", back_up),
    ("backup", back_up),
    ("two backups at once", back_up_twice),
    ("rewrap", |stage| rewrap::act(stage, false)),
    ("repair", repair),
    ("forget and prune", forget_and_prune),
    ("change of key", |stage| rewrap::act(stage, true)),
    ("backup", back_up),
    ("prune beside a backup", prune_beside_a_backup),
];

/// A repository on a disk, and what is known of it.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) disk: SimulatedDisk,
    pub(super) store: Arc<Telling>,
    pub(super) given: Given,
    pub(super) record: RingRecord,
    seed: u64,
    tree: Tree,
    points: BTreeMap<PointId, Files>,
    pin: Option<HeadPin>,
}

/// What was done, and what must be of it after a crash.
pub(super) struct Act {
    pub(super) recording: Recording,
    pub(super) world: World,
    pub(super) given: Given,
    /// What the vault's record said before.
    pub(super) pin: Option<HeadPin>,
    pub(super) record: RingRecord,
    /// Points that stood before and stay.
    pub(super) points: BTreeMap<PointId, Files>,
    /// Points that it made.
    pub(super) made: Vec<(CommittedPoint, Files)>,
    /// Points that it forgot, with the log's entry that says so.
    pub(super) forgotten: Vec<(PointId, HeadPin, Files)>,
    /// Objects that were lost or damaged before.
    pub(super) damaged: Vec<String>,
    /// Whether there may be no repository yet.
    pub(super) begins: bool,
    /// What the vault is to be wrapped by in the end.
    pub(super) rewraps_to: Option<rewrap::Wanted>,
}

impl Stage {
    pub(super) fn new(seed: u64) -> Self {
        let world = World::of_vault(u8::try_from(seed % 200).unwrap() + 1);
        let disk = SimulatedDisk::default();
        disk.record();
        let given = Given::default();
        let store = Telling::over(&disk, &given);
        let (tree, points) = (Tree::default(), BTreeMap::new());
        let record = RingRecord::of(&world);
        Self { world, disk, store, given, record, seed, tree, points, pin: None }
    }

    pub(super) fn open(&self) -> Repository {
        Repository::open(self.world.parts(self.store.clone()), self.pin).unwrap()
    }

    /// The act as far as it is the same for all; the recording goes on with the next.
    pub(super) fn act(&mut self) -> Act {
        let recording = self.disk.recording();
        self.disk.record();
        let pin = self.pin;
        self.pin = self.open().history().unwrap().head();
        Act {
            recording,
            world: self.world.clone(),
            given: Arc::clone(&self.given),
            pin,
            record: self.record.clone(),
            points: self.points.clone(),
            made: Vec::new(),
            forgotten: Vec::new(),
            damaged: Vec::new(),
            begins: false,
            rewraps_to: None,
        }
    }

    /// Another file or two, larger or smaller by the seed, and one that changes.
    fn grow(&mut self, folder: &str) {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let size = usize::try_from(self.seed >> 40).unwrap() % 6_000;
        self.tree.file(&format!("{folder}/noise"), noise(self.seed, size + 100));
        self.tree.file(&format!("{folder}/text"), format!("text of {folder}, ").repeat(size / 40));
        self.tree.file("changes", noise(self.seed + 1, size / 2 + 10));
    }

    fn newest(&self) -> Option<PointId> {
        let points = self.open().points().unwrap();
        points.last().map(|point| point.id)
    }

    fn keep(&mut self, made: &[(CommittedPoint, Files)]) {
        self.points.extend(made.iter().map(|(point, files)| (point.id, files.clone())));
    }
}

fn init(stage: &mut Stage) -> Act {
    let parts = stage.world.parts(stage.store.clone());
    Repository::create(parts, &stage.world.ring, EntryHash::from_bytes([3; 32])).unwrap();
    Act { begins: true, ..stage.act() }
}

fn back_up(stage: &mut Stage) -> Act {
    let folder = format!("folder-{}", stage.points.len());
    stage.grow(&folder);
    let repository = stage.open();
    let point = backup(&repository, &stage.tree, stage.newest()).unwrap();
    let made = vec![(point, stage.tree.contents())];
    let act = Act { made: made.clone(), ..stage.act() };
    stage.keep(&made);
    act
}

fn back_up_twice(stage: &mut Stage) -> Act {
    stage.grow("both");
    let one = stage.tree.clone();
    stage.grow("another");
    let other = stage.tree.clone();
    let parent = stage.newest();
    let trees = [one, other];
    let made: Vec<(CommittedPoint, Files)> = thread::scope(|scope| {
        let sessions: Vec<_> = trees
            .iter()
            .map(|tree| {
                let repository = stage.open();
                scope.spawn(move || (backup(&repository, tree, parent).unwrap(), tree.contents()))
            })
            .collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    let act = Act { made: made.clone(), ..stage.act() };
    stage.keep(&made);
    act
}

pub(super) fn thorough() -> PruneOptions {
    PruneOptions { unused_percent_max: 0, rewrite_unused_percent_min: 0, ..PruneOptions::default() }
}

fn forget_and_prune(stage: &mut Stage) -> Act {
    let repository = stage.open();
    let oldest: Vec<PointId> =
        repository.points().unwrap().iter().map(|point| point.id).take(2).collect();
    let mut forgotten = Vec::new();
    for id in oldest {
        let head = repository.log().unwrap().forget(id.0, ForgetReason::Requested).unwrap();
        forgotten.push((id, head, stage.points.remove(&id).unwrap()));
    }
    let report = repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
    assert!(report.removed_packs > 0);
    Act { forgotten, ..stage.act() }
}

fn prune_beside_a_backup(stage: &mut Stage) -> Act {
    stage.grow("beside");
    let (pruner, writer) = (stage.open(), stage.open());
    let parent = stage.newest();
    let oldest = pruner.points().unwrap().first().unwrap().id;
    let head = pruner.log().unwrap().forget(oldest.0, ForgetReason::Requested).unwrap();
    let forgotten = vec![(oldest, head, stage.points.remove(&oldest).unwrap())];
    // A host that calls every other session dead: the pruner may end the backup's.
    let outcome = thread::scope(|scope| {
        let pruning = scope.spawn(|| pruner.prune(&thorough(), PATIENCE, &Unwatched));
        let outcome = backup(&writer, &stage.tree, parent);
        pruning.join().unwrap().unwrap();
        outcome
    });
    let made: Vec<_> = outcome.into_iter().map(|point| (point, stage.tree.contents())).collect();
    let act = Act { made: made.clone(), forgotten, ..stage.act() };
    stage.keep(&made);
    act
}

/// One copy of the ring is gone, one index object too and another is rubbish.
fn repair(stage: &mut Stage) -> Act {
    let mut names: Vec<BlobName> = Vec::new();
    stage.store.list("index/", &mut |name, _| names.push(name)).unwrap();
    names.sort();
    let mut ring: Vec<BlobName> = Vec::new();
    stage.store.list("keys/", &mut |name, _| ring.push(name)).unwrap();
    ring.sort();
    // Past the store's own promises: this is the damage, not the act.
    let beneath = DiskStore::open_in(stage.disk.clone(), stage.disk.top());
    beneath.delete(&ring[1]).unwrap();
    beneath.delete(&names[0]).unwrap();
    stage.store.replace(&names[1], b"rubbish").unwrap();
    let damaged = vec![ring[1].to_string(), names[0].to_string(), names[1].to_string()];
    stage.disk.record();
    let report = stage.open().repair(NonZeroUsize::MIN, &Unwatched).unwrap();
    assert!(report.ring_mended && report.lost_indexes.len() == 2 && report.lost_packs.is_empty());
    Act { damaged, ..stage.act() }
}
