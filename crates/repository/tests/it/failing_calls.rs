//! Each call that a command makes of its disk fails, once or from then on: a clear error or success,
//! never a panic, never a wrong point, nothing lost; and once the fault is gone, the same command
//! succeeds.
//!
//! `cargo xtask crash --calls` tries every call, `cargo test` some.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use custody_blob_store::{BlobStore, DiskStore};
use custody_repository::log::{EntryHash, ForgetReason};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CheckLevel, PointId, Repository, RepositoryError, Unwatched};
use custody_test_world::disk::{Call, DiskFault, Image, SimulatedDisk, Trouble};

use crate::tree::{Tree, noise};
use crate::world::{THREADS, World, backup, restore};

/// In the environment: every so-manieth case is tried.
const STRIDE: &str = "CUSTODY_CALLS_STRIDE";

/// In `cargo test`.
const STRIDE_IN_TESTS: usize = 17;

const PATIENCE: Duration = Duration::from_mins(10);

type Files = BTreeMap<String, Vec<u8>>;

/// A repository with two points, a forgotten third and one damaged index object.
struct Ground {
    world: World,
    image: Image,
    tree: Tree,
    points: BTreeMap<PointId, Files>,
    /// A point that a command forgets.
    passing: (PointId, Files),
    damaged: String,
}

/// What a command came to.
#[derive(Default)]
struct Done {
    /// A point that it says stands.
    made: Option<PointId>,
    /// Whether it did all that it was asked for.
    whole: bool,
}

type Command = fn(&Ground, &Repository) -> Result<Done, RepositoryError>;

const COMMANDS: [(&str, Command); 6] = [
    ("backup", run_backup),
    ("restore", run_restore),
    ("check", run_check),
    ("forget", run_forget),
    ("prune", run_prune),
    ("repair", run_repair),
];

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let disk = SimulatedDisk::default();
        let store = Arc::new(DiskStore::create_in(disk.clone(), disk.top()).unwrap());
        let parts = world.parts(store.clone());
        let repository =
            Repository::create(parts, &world.ring, EntryHash::from_bytes([3; 32])).unwrap();
        let mut tree = Tree::default();
        tree.file("gone", noise(1, 5_000));
        let forgotten = backup(&repository, &tree, None).unwrap().id;
        tree.items.remove("gone");
        tree.file("passing", noise(3, 500));
        let passing = (backup(&repository, &tree, None).unwrap().id, tree.contents());
        let mut points = BTreeMap::new();
        for folder in ["one", "two"] {
            tree.file(&format!("{folder}/noise"), noise(2, 900));
            tree.file(&format!("{folder}/text"), format!("text of {folder}, ").repeat(90));
            let point = backup(&repository, &tree, None).unwrap().id;
            points.insert(point, tree.contents());
        }
        repository.log().unwrap().forget(forgotten.0, ForgetReason::Requested).unwrap();
        let mut damaged = Vec::new();
        store.list("index/", &mut |name, _| damaged.push(name.to_string())).unwrap();
        let damaged = damaged.swap_remove(0);
        Self { world, image: disk.image(), tree, points, passing, damaged }
    }

    fn open(&self, disk: &SimulatedDisk) -> Result<Repository, RepositoryError> {
        let store = Arc::new(DiskStore::open_in(disk.clone(), disk.top()));
        self.world.open_over(store)
    }

    /// The disk that a command begins with.
    fn disk(&self, command: &str) -> SimulatedDisk {
        let image = self.image.clone();
        let damaged = command == "repair";
        SimulatedDisk::of(&if damaged { image.without(&self.damaged) } else { image })
    }

    fn run(&self, disk: &SimulatedDisk, command: Command) -> Result<Done, RepositoryError> {
        let repository = self.open(disk)?;
        if let Some(why) = repository.read_only_because() {
            return Err(why.clone().into());
        }
        command(self, &repository)
    }

    /// Every point is there and whole, and so is one that was made; one that may have been made is
    /// whole if it is there.
    fn expect_points(&self, what: &str, repository: &Repository, made: Option<PointId>) {
        let listed: Vec<PointId> =
            repository.points().unwrap().into_iter().map(|point| point.id).collect();
        for point in self.points.keys().chain(&made) {
            assert!(listed.contains(point), "{what}: {point} is lost");
        }
        for point in listed {
            let new = self.backed_up().contents();
            let passing = (point == self.passing.0).then_some(&self.passing.1);
            let files = self.points.get(&point).or(passing).unwrap_or(&new);
            let (report, made) = restore(repository, point, "").unwrap();
            assert_eq!(report.warnings, [], "{what}");
            assert!(made.files == *files, "{what}: {point} came back otherwise");
        }
    }

    fn backed_up(&self) -> Tree {
        let mut tree = self.tree.clone();
        tree.file("new/noise", noise(7, 2_000));
        tree
    }
}

fn run_backup(ground: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let parent = ground.points.keys().next().copied();
    let point = backup(repository, &ground.backed_up(), parent)?;
    Ok(Done { made: Some(point.id), whole: point.warnings_total == 0 })
}

fn run_restore(ground: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let mut whole = true;
    for (point, files) in &ground.points {
        let (report, made) = restore(repository, *point, "")?;
        for (path, bytes) in &made.files {
            assert!(files.get(path) == Some(bytes), "{path} came back wrong");
        }
        let is_all = made.files.len() == files.len();
        assert!(is_all || !report.warnings.is_empty(), "files are missing in silence");
        whole &= is_all;
    }
    Ok(Done { made: None, whole })
}

fn run_check(_: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let report = repository.check(CheckLevel::Data, THREADS, &Unwatched)?;
    Ok(Done { made: None, whole: report.problems.is_empty() })
}

fn run_forget(ground: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let point = ground.passing.0.0;
    if repository.history()?.points().contains_key(&point) {
        repository.log()?.forget(point, ForgetReason::Requested)?;
    }
    Ok(Done { made: None, whole: true })
}

fn run_prune(_: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let thorough = PruneOptions {
        unused_percent_max: 0,
        rewrite_unused_percent_min: 0,
        ..PruneOptions::default()
    };
    let report = repository.prune(&thorough, PATIENCE, &Unwatched)?;
    Ok(Done { made: None, whole: report.spared_packs == 0 })
}

fn run_repair(_: &Ground, repository: &Repository) -> Result<Done, RepositoryError> {
    let report = repository.repair(NonZeroUsize::MIN, &Unwatched)?;
    Ok(Done { made: None, whole: report.lost_packs.is_empty() })
}

/// The calls of a command that nothing disturbs.
fn calls_of(ground: &Ground, name: &str, command: Command) -> Vec<Call> {
    let disk = ground.disk(name);
    let none = DiskFault { call: usize::MAX, trouble: Trouble::Device, lasting: false };
    disk.plan(none);
    assert!(ground.run(&disk, command).unwrap().whole, "{name} undisturbed");
    disk.calls()
}

#[test]
fn each_call_may_fail_once_and_for_ever() {
    let ground = Ground::new();
    let stride = std::env::var_os(STRIDE)
        .map_or(STRIDE_IN_TESTS, |value| value.to_str().unwrap().parse().unwrap());
    println!("| command | calls | faults | of them succeeded |\n|---|---:|---:|---:|");
    for (name, command) in COMMANDS {
        let calls = calls_of(&ground, name, command);
        let mut cases = Vec::new();
        for (call, kind) in calls.iter().enumerate() {
            for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.befalls(*kind)) {
                for lasting in [false, true] {
                    cases.push((DiskFault { call, trouble, lasting }, *kind));
                }
            }
        }
        let tried: Vec<_> = cases.into_iter().step_by(stride).collect();
        let mut succeeded = 0;
        for (fault, kind) in &tried {
            succeeded += usize::from(try_fault(&ground, (name, command), *fault, *kind));
        }
        println!("| {name} | {} | {} | {succeeded} |", calls.len(), tried.len());
        assert!(tried.len() * stride >= calls.len());
    }
}

/// Whether the command succeeded in spite of the fault.
fn try_fault(
    ground: &Ground,
    (name, command): (&str, Command),
    fault: DiskFault,
    kind: Call,
) -> bool {
    let what = format!("{name}, {kind:?} {fault:?}");
    let disk = ground.disk(name);
    let before = disk.image().digest();
    disk.plan(fault);
    let outcome = ground.run(&disk, command);
    disk.heal();
    match &outcome {
        // The order of calls differs a little from run to run where threads share the work.
        Ok(done) => {
            let harmless = fault.trouble == Trouble::Short;
            assert!(done.whole || !harmless, "{what}");
        }
        Err(error) => {
            assert_ne!(error.code(), "InternalError", "{what}: {error}");
            let single = !fault.lasting && fault.trouble == Trouble::Interrupted;
            let hit = disk.calls().get(fault.call).copied().unwrap_or(kind);
            let harmless =
                fault.trouble == Trouble::Short || single && fault.trouble.is_harmless(hit);
            assert!(!harmless, "{what}: {error}");
        }
    }
    let made = outcome.as_ref().ok().and_then(|done| done.made);
    let repository = ground.open(&disk).unwrap();
    if disk.image().digest() != before {
        ground.expect_points(&what, &repository, made);
    }
    let again = ground.run(&disk, command).unwrap_or_else(|error| panic!("{what}: {error}"));
    // What a check found to be unreadable it has marked; the next one finds that it is not.
    assert!(again.whole, "{what}: not whole once all was well again");
    let repository = ground.open(&disk).unwrap();
    if name == "repair" {
        repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
    }
    ground.expect_points(&what, &repository, again.made);
    let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    assert_eq!(report.problems, [], "{what}");
    outcome.is_ok_and(|done| done.whole)
}

/// The kernel tells of lost bytes and names once: what a sync that failed was to make sure is gone
/// with the next crash, though a second sync would have said that all is well.
#[test]
fn what_a_failed_sync_was_about_is_never_trusted() {
    let ground = Ground::new();
    for (name, command) in COMMANDS {
        let calls = calls_of(&ground, name, command);
        let syncs = calls.iter().enumerate().filter(|(_, kind)| **kind == Call::Sync);
        for (call, _) in syncs {
            let what = format!("{name}, sync {call}");
            let disk = ground.disk(name);
            disk.record();
            disk.plan(DiskFault { call, trouble: Trouble::Device, lasting: false });
            let outcome = ground.run(&disk, command);
            let made = outcome.ok().and_then(|done| done.made);
            let crashed = SimulatedDisk::of(&disk.recording().all_unsynced_lost());
            let repository = ground.open(&crashed).unwrap();
            assert_eq!(repository.read_only_because(), None, "{what}");
            ground.expect_points(&what, &repository, made);
            let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
            let others = report.problems.iter().filter(|problem| problem.object != ground.damaged);
            assert_eq!(others.count(), 0, "{what}: {:?}", report.problems);
        }
    }
}

/// A disk that is full takes no more backups, says so, and takes forgetting and pruning still, at
/// whichever of the backup's writes the room ended.
#[test]
fn a_full_disk_can_be_freed() {
    let ground = Ground::new();
    let mut ended_at = std::collections::BTreeSet::new();
    for left in (0..9_000_u64).step_by(211) {
        let what = format!("{left} bytes left");
        // An image does not say that the reserve has room behind it: it is made anew.
        let disk = SimulatedDisk::of(&ground.image.clone().without(".reserve"));
        DiskStore::create_in(disk.clone(), disk.top()).unwrap();
        // Opened before the disk is full, as by a server that runs on.
        let repository = ground.open(&disk).unwrap();
        disk.limit(Some(disk.used() + left));
        let taken = disk.used();
        match run_backup(&ground, &repository) {
            Err(error) => {
                assert_eq!(error.code(), "StoreFull", "{what}: {error}");
                ended_at.insert(disk.used() - taken);
            }
            Ok(done) => {
                assert!(done.made.is_some());
                continue;
            }
        }
        // Whatever room was left is taken by others.
        disk.limit(Some(disk.used()));
        let repository = ground.open(&disk).unwrap();
        run_forget(&ground, &repository).unwrap();
        run_prune(&ground, &repository).unwrap();
        assert!(disk.image().files().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() < taken);
        disk.limit(None);
        let repository = ground.open(&disk).unwrap();
        let made = run_backup(&ground, &repository).unwrap().made;
        ground.expect_points(&what, &repository, made);
        let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.problems, [], "{what}");
    }
    assert!(ended_at.len() > 4, "{ended_at:?}");
}
