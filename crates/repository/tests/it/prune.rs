//! What nothing needs goes; what anything needs stays, whatever happens meanwhile.

use std::sync::Arc;
use std::time::Duration;

use custody_blob_store::{BlobStore, StoreError};
use custody_repository::log::ForgetReason;
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CheckLevel, Unwatched};
use custody_test_world::faults::{Fault, FaultyStore, Moment};

use crate::check::prunable;
use crate::tree::{Tree, noise};
use crate::world::{ON_DISK, THREADS, World, backup, restore};

const PATIENCE: Duration = Duration::from_mins(10);

fn thorough() -> PruneOptions {
    PruneOptions { unused_percent_max: 0, rewrite_unused_percent_min: 0, ..PruneOptions::default() }
}

#[test]
fn forgotten_data_goes_and_the_rest_is_copied() {
    for on_disk in ON_DISK {
        let world = World::on_disk(on_disk);
        let repository = world.create();
        let mut tree = Tree::default();
        tree.file("stays", noise(1, 200_000));
        tree.file("goes", noise(2, 400_000));
        let first = backup(&repository, &tree, None).unwrap();
        tree.items.remove("goes");
        let second = backup(&repository, &tree, Some(first.id)).unwrap();
        repository.log().unwrap().forget(first.id.0, ForgetReason::Requested).unwrap();
        let plan = repository.plan_prune(&thorough(), &Unwatched).unwrap();
        assert_eq!((plan.delete.len(), plan.rewrite.len()), (0, 2));
        let before = world.size();
        let report = repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
        assert_eq!((report.removed_packs, report.spared_packs), (2, 0));
        assert!(before - world.size() > 390_000, "{before} to {}", world.size());
        let repository = world.open().unwrap();
        let (_, made) = restore(&repository, second.id, "").unwrap();
        assert_eq!(made.files, tree.contents());
        assert_eq!(repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap().problems, []);
        assert!(restore(&repository, first.id, "").is_err());
        let again = backup(&repository, &tree, Some(second.id)).unwrap();
        assert_eq!(again.counts.new_bytes, 0);
    }
}

#[test]
fn packs_of_tiny_files_are_used_as_a_whole() {
    for on_disk in ON_DISK {
        let world = World::on_disk(on_disk);
        let repository = world.create();
        let mut tree = Tree::default();
        for number in 0..2_000 {
            // Its entry in the pack's directory takes more than the file.
            tree.file(&format!("{:02}/{number}", number % 20), noise(number, 16));
        }
        backup(&repository, &tree, None).unwrap();
        let plan = repository.plan_prune(&PruneOptions::default(), &Unwatched).unwrap();
        assert!(plan.is_empty(), "{plan:?}");
    }
}

#[test]
fn a_dead_session_leaves_nothing_that_prune_does_not_find() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("first", noise(1, 50_000));
    let first = backup(&repository, &tree, None).unwrap();
    let size = world.size();
    tree.file("second", noise(2, 300_000));
    // Dies when it writes its log entry: pack, index and point are garbage.
    let calls = calls_of_a_backup(&tree);
    let faulty = Arc::new(FaultyStore::new(world.store.clone()));
    let dying = world.open_over(faulty.clone()).unwrap();
    faulty.plan(crash(calls - 4, Moment::BeforeEffect));
    backup(&dying, &tree, None).unwrap_err();
    assert!(world.size() > size + 250_000);
    let repository = world.open().unwrap();
    repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
    assert!(world.size() < size + 5_000, "{} of {size}", world.size());
    let (_, made) = restore(&repository, first.id, "").unwrap();
    assert_eq!(made.files.len(), 1);
}

fn crash(call: u64, moment: Moment) -> Fault {
    Fault { call, moment, error: StoreError::Refused("crashed".to_owned()), lasting: true }
}

/// How many calls of the store a backup of `tree` makes from opening on.
fn calls_of_a_backup(tree: &Tree) -> u64 {
    let world = World::new();
    world.create();
    let faulty = Arc::new(FaultyStore::new(world.store.clone()));
    let repository = world.open_over(faulty.clone()).unwrap();
    let before = faulty.calls();
    backup(&repository, tree, None).unwrap();
    faulty.calls() - before
}

/// Runs `work` over a store that dies at its `call`-th call, for every call there is; after each
/// death the earlier points are whole and everything goes on without help.
fn die_everywhere(
    on_disk: bool,
    moment: Moment,
    work: &dyn Fn(&World, Arc<dyn BlobStore>) -> bool,
) {
    for call in 0.. {
        let world = World::on_disk(on_disk);
        let repository = world.create();
        let mut tree = Tree::default();
        tree.file("old/kept", noise(1, 80_000));
        tree.file("old/gone", noise(2, 160_000));
        let forgotten = backup(&repository, &tree, None).unwrap();
        tree.items.remove("old/gone");
        let earlier = backup(&repository, &tree, Some(forgotten.id)).unwrap();
        repository.log().unwrap().forget(forgotten.id.0, ForgetReason::Expired).unwrap();

        let faulty = Arc::new(FaultyStore::new(world.store.clone()));
        faulty.plan(crash(call, moment));
        let finished = work(&world, faulty.clone());

        let reopened = world.open().unwrap_or_else(|error| panic!("call {call}: {error}"));
        let (report, made) = restore(&reopened, earlier.id, "").unwrap();
        assert_eq!((report.warnings.len(), &made.files), (0, &tree.contents()), "call {call}");
        for point in reopened.points().unwrap() {
            let (report, _) = restore(&reopened, point.id, "").unwrap();
            assert_eq!(report.warnings, [], "call {call}");
        }
        tree.file("new", noise(9, 1_000));
        let next = backup(&reopened, &tree, Some(earlier.id)).unwrap();
        reopened.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
        let (_, made) = restore(&reopened, next.id, "").unwrap();
        assert_eq!(made.files, tree.contents(), "call {call}");
        let check = reopened.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(check.problems, [], "call {call}");
        if finished {
            return;
        }
    }
}

#[test]
fn a_backup_may_die_at_any_call() {
    for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
        for on_disk in ON_DISK {
            die_everywhere(on_disk, moment, &|world, store| {
                let mut tree = Tree::default();
                tree.file("old/kept", noise(1, 80_000));
                tree.file("brand/new", noise(5, 200_000));
                let Ok(repository) = world.open_over(store.clone()) else { return false };
                let done = backup(&repository, &tree, None).is_ok();
                // The end of the session comes after the commit and may fail unheard.
                done && store.read(&"custody-repository".parse().unwrap()).is_ok()
            });
        }
    }
}

#[test]
fn a_prune_may_die_at_any_call() {
    for moment in [Moment::BeforeEffect, Moment::AfterEffect] {
        for on_disk in ON_DISK {
            die_everywhere(on_disk, moment, &|world, store| {
                let Ok(repository) = world.open_over(store.clone()) else { return false };
                let done = repository.prune(&thorough(), PATIENCE, &Unwatched).is_ok();
                done && store.read(&"custody-repository".parse().unwrap()).is_ok()
            });
        }
    }
}

/// Whenever it comes, a prune that copies what a restore is about to read does not keep it from
/// anything.
#[test]
fn what_is_moved_during_a_restore_is_found_again() {
    for (call, on_disk) in (0..).flat_map(|call| [(call, false), (call, true)]) {
        let world = prunable(on_disk);
        let store = Arc::new(FaultyStore::new(world.store.clone()));
        let reader = world.open_over(store.clone()).unwrap();
        let point = world.open().unwrap().points().unwrap().remove(0).id;
        let pruner = world.clone();
        store.interrupt(call, move || {
            let repository = pruner.open().unwrap();
            let report = repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
            assert!(report.rewritten_bytes > 0);
        });
        let (report, made) = restore(&reader, point, "").unwrap();
        assert_eq!(report.warnings, [], "prune before call {call}");
        assert_eq!(made.files.get("docs/stays"), Some(&noise(1, 200_000)));
        assert_eq!(made.files.len(), 1);
        if store.is_waiting() {
            assert!(call > 5, "{call}");
            break;
        }
    }
}
