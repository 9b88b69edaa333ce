//! What whoever watches a job is told: how far it is, and of how much.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use custody_blob_store::BlobStore as _;
use custody_repository::log::ForgetReason;
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{
    CheckLevel, Phase, Precision, Progress, Repository, Sample, Status, Total, check_without_keys,
};

use crate::tree::{Tree, TreeSource, noise};
use crate::world::{ITEM, ON_DISK, THREADS, World, backup, options};

/// Keeps all that it is told.
#[derive(Default)]
struct Watcher(Mutex<Vec<Told>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Report(Status),
    Expect(Total),
}

impl Progress for Watcher {
    fn report(&self, status: &Status) {
        self.0.lock().unwrap().push(Told::Report(*status));
    }

    fn expect(&self, total: Total) {
        self.0.lock().unwrap().push(Told::Expect(total));
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Watcher {
    /// What was told, in order.
    fn told(self) -> Vec<Told> {
        self.0.into_inner().unwrap()
    }
}

/// The phases in order of their first reports, each with the total that held at its end and the most that
/// was done in it.
fn phases(told: &[Told]) -> Vec<(Phase, Option<Total>, (u64, u64))> {
    let mut phases: Vec<(Phase, Option<Total>, (u64, u64))> = Vec::new();
    let mut early = None;
    for told in told {
        match (told, phases.last_mut()) {
            (Told::Expect(total), None) => early = Some(*total),
            (Told::Expect(total), Some(last)) => last.1 = Some(*total),
            (Told::Report(status), Some(last)) if last.0 == status.phase => {
                last.2 = (last.2.0.max(status.files), last.2.1.max(status.bytes));
            }
            (Told::Report(status), _) => {
                phases.push((status.phase, early.take(), (status.files, status.bytes)));
            }
        }
    }
    phases
}

/// The most that was done in a phase, which must be what was expected in the end.
fn all_of(told: &[Told], wanted: Phase) -> (u64, u64) {
    let phases = phases(told);
    let (_, total, done) = phases.iter().find(|(phase, ..)| *phase == wanted).unwrap();
    let total = total.unwrap();
    assert_eq!(total.precision, Precision::Exact, "{wanted:?}");
    assert_eq!(total.files, done.0, "{wanted:?}");
    if total.bytes > 0 {
        assert_eq!(total.bytes, done.1, "{wanted:?}");
    }
    (total.files, total.bytes)
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    for number in 0..700 {
        tree.file(&format!("{}/{number}", number % 7), noise(number, 3_000));
    }
    tree
}

#[test]
fn a_backup_expects_what_there_was_until_it_knows_what_there_is() {
    let repository = World::new().create();
    let mut tree = tree();
    let back_up = |tree: &Tree, parent| {
        let watcher = Watcher::default();
        let source = &mut TreeSource(tree.clone());
        let committed = repository.backup(source, &options(parent), &watcher).unwrap();
        (committed, watcher.told())
    };
    let (first, told) = back_up(&tree, None);
    assert_eq!(all_of(&told, Phase::Reading), (700, 2_100_000));
    let estimates = |told: &[Told]| -> Vec<Total> {
        let expected = told.iter().filter_map(|told| match told {
            Told::Expect(total) => Some(*total),
            Told::Report(_) => None,
        });
        expected.filter(|total| total.precision == Precision::Estimate).collect()
    };
    assert_eq!(estimates(&told), [], "nobody knows how much there is");
    for number in 700..900 {
        tree.file(&format!("more/{number}"), noise(number, 3_000));
    }
    let (_, told) = back_up(&tree, Some(first.id));
    assert_eq!(told[0], Told::Expect(Total::estimate(700, 2_100_000)));
    assert_eq!(all_of(&told, Phase::Reading), (900, 2_700_000));
    let shown: Vec<Phase> = phases(&told).iter().map(|(phase, ..)| *phase).collect();
    assert_eq!(shown, [Phase::Reading, Phase::Committing]);
}

/// One thread, so that reports come in order.
#[test]
fn a_large_file_is_told_of_as_it_is_read_new_or_not() {
    let repository = World::new().create();
    let mut tree = Tree::default();
    tree.file("image", noise(1, 20_000_000));
    let mut options = options(None);
    options.threads = NonZeroUsize::MIN;
    for round in ["new", "known"] {
        let watcher = Watcher::default();
        // Without a parent all of it is read again.
        repository.backup(&mut TreeSource(tree.clone()), &options, &watcher).unwrap();
        let mut bytes: Vec<u64> = Vec::new();
        for told in watcher.told() {
            if let Told::Report(Status { phase: Phase::Reading, bytes: read, .. }) = told {
                bytes.push(read);
            }
        }
        assert!(bytes.is_sorted(), "{round}: {bytes:?}");
        bytes.dedup();
        assert!(bytes.len() >= 15, "{round}: {bytes:?}");
    }
}

#[test]
fn a_check_expects_every_object_and_every_byte_that_it_reads() {
    for on_disk in ON_DISK {
        let world = World::on_disk(on_disk);
        let repository = world.create();
        let mut tree = tree();
        let first = backup(&repository, &tree, None).unwrap();
        tree.file("another", noise(1_000, 40_000));
        backup(&repository, &tree, Some(first.id)).unwrap();
        let sample = CheckLevel::Sample(Sample { percent: 50, seed: 3 });
        for level in [CheckLevel::Structure, sample, CheckLevel::Data] {
            let watcher = Watcher::default();
            let report = repository.check(level, THREADS, &watcher).unwrap();
            let told = watcher.told();
            let (objects, bytes) = all_of(&told, Phase::Checking);
            // The points come later: nobody knows how many folders they hold.
            assert_eq!(objects + 2, report.objects, "{level:?}");
            assert_eq!(bytes > 0, level != CheckLevel::Structure, "{level:?}");
            let phases = phases(&told);
            let shown: Vec<Phase> = phases.iter().map(|(phase, ..)| *phase).collect();
            assert_eq!(shown, [Phase::Checking, Phase::Following, Phase::Checking], "{level:?}");
            assert_eq!((phases[1].1, phases[2].2), (None, (report.objects, report.bytes)));
        }
        let watcher = Watcher::default();
        let report = check_without_keys(&*world.store, &watcher).unwrap();
        assert_eq!(all_of(&watcher.told(), Phase::Checking), (report.objects, report.bytes));
    }
}

/// Two packs that are needed in part.
fn wasteful(world: &World) -> Repository {
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("stays", noise(1, 200_000));
    tree.file("goes", noise(2, 400_000));
    let first = backup(&repository, &tree, None).unwrap();
    tree.items.remove("goes");
    backup(&repository, &tree, Some(first.id)).unwrap();
    repository.log().unwrap().forget(first.id.0, ForgetReason::Requested).unwrap();
    repository
}

#[test]
fn a_prune_expects_what_it_copies_and_what_it_deletes() {
    for on_disk in ON_DISK {
        let repository = wasteful(&World::on_disk(on_disk));
        let thorough = PruneOptions {
            unused_percent_max: 0,
            rewrite_unused_percent_min: 0,
            ..PruneOptions::default()
        };
        let watcher = Watcher::default();
        let report = repository.prune(&thorough, Duration::ZERO, &watcher).unwrap();
        let told = watcher.told();
        assert_eq!(all_of(&told, Phase::Repacking), (2, report.rewritten_bytes));
        assert_eq!(all_of(&told, Phase::Deleting), (report.removed_packs, 0));
        let shown: Vec<Phase> = phases(&told).iter().map(|(phase, ..)| *phase).collect();
        let expected = [Phase::Planning, Phase::Repacking, Phase::Indexing, Phase::Deleting];
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_repair_expects_the_packs_that_it_describes_anew() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    let mut parent = None;
    for number in 0..3 {
        tree.file("file", noise(number, 5_000));
        parent = Some(backup(&repository, &tree, parent).unwrap().id);
    }
    for (name, _) in world.objects() {
        if name.as_str().starts_with("index/") {
            world.store.delete(&name).unwrap();
        }
    }
    let repository = world.open().unwrap();
    let watcher = Watcher::default();
    let report = repository.repair(NonZeroUsize::MIN, &watcher).unwrap();
    assert_eq!((report.lost_indexes.len(), report.packs), (3, 3));
    let told = watcher.told();
    assert_eq!(all_of(&told, Phase::Checking), (3, 0));
    assert_eq!(all_of(&told, Phase::Indexing), (3, 0));
    assert!(repository.history().unwrap().points().values().all(|point| point.item == ITEM));
}
