//! The engine over a store such as clouds have: a tenth of all requests fails, answers are unclear,
//! lists show the past, new objects are absent for a while, heartbeats arrive twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use custody_ambient::Clock as _;
use custody_blob_store::{BlobStore, RetryingStore};
use custody_repository::log::{EntryHash, ForgetReason};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CheckLevel, PointId, Repository, Rings, Unwatched};
use custody_test_world::SeededEntropy;
use custody_test_world::object_store::{Bill, ObjectStore, Weather};

use crate::pauses::AskAgain;
use crate::tree::{Tree, noise};
use crate::world::{THREADS, World, backup, restore};

const PATIENCE: Duration = Duration::from_mins(10);

type Files = BTreeMap<String, Vec<u8>>;

/// A repository in a cloud.
struct Cloud {
    world: World,
    store: ObjectStore,
    seed: u64,
}

impl Cloud {
    fn new(seed: u64) -> Self {
        let world = World::new();
        // Waits are long, and the key vault is there.
        AskAgain::of(&world);
        let store = ObjectStore::new(Arc::clone(&world.clock), seed);
        let cloud = Self { world, store, seed };
        let parts = cloud.world.parts(cloud.session());
        let fingerprint = EntryHash::from_bytes([3; 32]);
        Repository::create(parts, &cloud.world.ring, fingerprint).unwrap();
        cloud
    }

    /// The store as one process sees it.
    fn session(&self) -> Arc<dyn BlobStore> {
        let (clock, entropy) = (Arc::clone(&self.world.clock), SeededEntropy::new(self.seed));
        Arc::new(RetryingStore::new(Arc::new(self.store.another()), clock, Arc::new(entropy)))
    }

    fn open(&self) -> Repository {
        self.world.open_over(self.session()).unwrap()
    }

    fn expect(&self, points: &BTreeMap<PointId, Files>) {
        let repository = self.open();
        let listed = repository.points().unwrap();
        let listed: Vec<PointId> = listed.into_iter().map(|point| point.id).collect();
        assert_eq!(listed.len(), points.len(), "seed {}", self.seed);
        for (point, files) in points {
            let (report, made) = restore(&repository, *point, "").unwrap();
            assert_eq!(report.warnings, [], "seed {}", self.seed);
            assert!(made.files == *files, "seed {}: {point} came back otherwise", self.seed);
        }
        let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.problems, [], "seed {}", self.seed);
    }
}

fn thorough() -> PruneOptions {
    PruneOptions { unused_percent_max: 0, rewrite_unused_percent_min: 0, ..PruneOptions::default() }
}

fn tree_of(seed: u64) -> Tree {
    let mut tree = Tree::default();
    tree.file("shared", noise(1, 30_000));
    tree.file(&format!("{seed}/noise"), noise(seed, 2_000));
    tree.file(&format!("{seed}/text"), format!("text of {seed}, ").repeat(300));
    tree
}

#[test]
fn sessions_go_on_in_foul_weather() {
    let mut bill = Bill::default();
    for seed in 1..=30 {
        let cloud = Cloud::new(seed);
        cloud.store.set(Weather::foul());
        let mut points = BTreeMap::new();
        let first = backup(&cloud.open(), &tree_of(seed), None).unwrap().id;
        points.insert(first, tree_of(seed).contents());
        // Two backups, a forget and a restore at once, each a process of its own.
        let made: Vec<_> = thread::scope(|scope| {
            let sessions: Vec<_> = [100, 200]
                .into_iter()
                .map(|number| {
                    let cloud = &cloud;
                    scope.spawn(move || {
                        let tree = tree_of(seed + number);
                        (backup(&cloud.open(), &tree, Some(first)).unwrap().id, tree.contents())
                    })
                })
                .collect();
            let (_, made) = restore(&cloud.open(), first, "").unwrap();
            assert_eq!(made.files, tree_of(seed).contents(), "seed {seed}");
            sessions.into_iter().map(|session| session.join().unwrap()).collect()
        });
        points.extend(made);
        cloud.expect(&points);
        cloud.open().log().unwrap().forget(first.0, ForgetReason::Requested).unwrap();
        points.remove(&first);
        cloud.open().prune(&thorough(), PATIENCE, &Unwatched).unwrap();
        cloud.expect(&points);
        // Once lists are fresh again a prune finds the rest.
        cloud.store.set(Weather::default());
        cloud.open().prune(&thorough(), PATIENCE, &Unwatched).unwrap();
        cloud.expect(&points);
        let report = cloud.open().check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.garbage_objects, 0, "seed {seed}");
        bill = cloud.store.bill();
    }
    println!("the last round: {bill:?}");
}

/// A backup beside a prune that a host of its own takes for its own time: whichever wins, nothing
/// that was committed is lost.
#[test]
fn a_prune_beside_backups_loses_nothing_in_foul_weather() {
    for seed in 51..=70 {
        let cloud = Cloud::new(seed);
        let first = backup(&cloud.open(), &tree_of(seed), None).unwrap().id;
        let second = backup(&cloud.open(), &tree_of(seed + 50), Some(first)).unwrap().id;
        let mut points = BTreeMap::from([(second, tree_of(seed + 50).contents())]);
        cloud.open().log().unwrap().forget(first.0, ForgetReason::Requested).unwrap();
        cloud.store.set(Weather::foul());
        let made = thread::scope(|scope| {
            let pruning =
                scope.spawn(|| cloud.open().prune(&thorough(), PATIENCE, &Unwatched).map(drop));
            // It may be taken for dead and ended; then it says so.
            let tree = tree_of(seed);
            let made = backup(&cloud.open(), &tree, Some(second)).map(|point| (point.id, tree));
            pruning.join().unwrap().unwrap();
            made
        });
        points.extend(made.into_iter().map(|(point, tree)| (point, tree.contents())));
        cloud.expect(&points);
    }
}

#[test]
fn no_ring_outlives_a_rewrap_because_a_list_did_not_show_it() {
    let cloud = Cloud::new(31);
    cloud.store.set(Weather { list_lag: Duration::from_mins(1), ..Weather::default() });
    let store = cloud.session();
    let rings = Rings::new(&*store);
    for number in 2..=3 {
        rings.create(number, format!("ring {number}").as_bytes()).unwrap();
    }
    rings.delete_below(3).unwrap();
    let mut names = Vec::new();
    cloud.store.objects().list("keys/", &mut |name, _| names.push(name.to_string())).unwrap();
    assert_eq!(names, ["keys/ring-0000000003", "keys/ring-0000000003.copy"]);
}

/// What a backup, a restore, a check and a prune of a small tree ask of the store: these numbers stand
/// in docs/reliability.md.
#[test]
fn requests_are_few() {
    let cloud = Cloud::new(41);
    let repository = cloud.open();
    let mut tree = Tree::default();
    for number in 0..200 {
        tree.file(&format!("folder-{}/file-{number}", number % 10), noise(number, 2_000));
    }
    let mut point = None;
    let measured = |what: &str, work: &mut dyn FnMut()| {
        let (before, since) = (cloud.store.bill(), cloud.world.clock.since_boot());
        work();
        let bill = cloud.store.bill().since(&before);
        let seconds = cloud.world.clock.since_boot().saturating_sub(since).as_secs_f64();
        println!(
            "| {what} | {} | {} | {} | {} | {} | {seconds:.2} |",
            bill.puts,
            bill.gets,
            bill.lists,
            bill.deletes,
            bill.nanodollars()
        );
        bill
    };
    println!("| | PUT | GET, HEAD | LIST | DELETE | price in nanodollars | seconds |");
    let first = measured("first backup", &mut || {
        point = Some(backup(&repository, &tree, None).unwrap().id);
    });
    let unchanged = measured("unchanged backup", &mut || {
        backup(&repository, &tree, point).unwrap();
    });
    let restored = measured("restore", &mut || drop(restore(&repository, point.unwrap(), "")));
    let checked = measured("check of all data", &mut || {
        repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    });
    repository.log().unwrap().forget(point.unwrap().0, ForgetReason::Requested).unwrap();
    let pruned = measured("prune", &mut || {
        repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
    });
    // No request for each file or chunk.
    assert!(first.puts <= 8 && first.gets <= 20, "{first:?}");
    assert!(unchanged.puts <= 6 && unchanged.gets <= 25, "{unchanged:?}");
    assert!(restored.puts == 0 && restored.gets <= 20, "{restored:?}");
    assert!(checked.gets <= 120 && pruned.gets <= 60, "{checked:?} {pruned:?}");
}
