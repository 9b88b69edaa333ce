//! What can be made again is; nothing is deleted.

use std::num::NonZeroUsize;

use custody_blob_store::{BlobName, BlobStore};
use custody_repository::{
    CheckLevel, PointId, Problem, Progress, RepairReport, Repository, RepositoryError, Status,
    Unwatched,
};

use crate::tree::{Tree, noise};
use crate::world::{ON_DISK, THREADS, World, backup, restore};

/// Two points with a pack and an index object each, and the tree of the newer.
fn two_points(on_disk: bool) -> (World, Tree, [PointId; 2]) {
    let world = World::on_disk(on_disk);
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("docs/a", noise(1, 90_000));
    tree.file("docs/b", "text ".repeat(300));
    let first = backup(&repository, &tree, None).unwrap().id;
    tree.file("later/c", noise(2, 60_000));
    let second = backup(&repository, &tree, Some(first)).unwrap().id;
    (world, tree, [first, second])
}

fn names(world: &World, prefix: &str) -> Vec<BlobName> {
    let objects = world.objects().into_iter().map(|(name, _)| name);
    objects.filter(|name| name.as_str().starts_with(prefix)).collect()
}

fn damage(world: &World, name: &BlobName, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => world.store.replace(name, bytes).unwrap(),
        None => world.store.delete(name).unwrap(),
    }
}

fn problems(repository: &Repository) -> Vec<Problem> {
    repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap().problems
}

#[test]
fn a_sound_repository_needs_no_repair() {
    for on_disk in ON_DISK {
        let (world, _, _) = two_points(on_disk);
        let before = world.objects();
        let report = world.open().unwrap().repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        assert_eq!(report, RepairReport::default());
        assert_eq!(world.objects(), before);
    }
}

#[test]
fn lost_and_damaged_index_objects_are_made_again() {
    for on_disk in ON_DISK {
        for bytes in [None, Some(b"rubbish".as_slice())] {
            for lost in [1, 2] {
                let (world, tree, points) = two_points(on_disk);
                let repository = world.open().unwrap();
                let indexes = names(&world, "index/");
                for name in &indexes[..lost] {
                    damage(&world, name, bytes);
                }
                let before = world.objects();
                assert_eq!(problems(&repository).len(), lost);
                let report = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
                let expected: Vec<_> = indexes[..lost].iter().map(ToString::to_string).collect();
                assert_eq!((report.lost_indexes, report.lost_packs), (expected, Vec::new()));
                assert_eq!((report.indexes, report.packs), (1, lost as u64));
                for (name, bytes) in before {
                    let stands = world.store.read(&name).unwrap();
                    assert_eq!(stands, Some(bytes), "{name} was deleted or replaced");
                }

                let again = world.open().unwrap();
                assert_eq!(problems(&again), []);
                assert!(again.history().unwrap().open_intent().is_none());
                assert_eq!(
                    again.repair(NonZeroUsize::MIN, &Unwatched).unwrap(),
                    RepairReport::default()
                );
                let (report, made) = restore(&again, points[1], "").unwrap();
                assert_eq!((report.warnings.len(), made.files), (0, tree.contents()));
                let third = backup(&again, &tree, Some(points[1])).unwrap();
                assert_eq!(third.counts.new_bytes, 0);
            }
        }
    }
}

#[test]
fn the_rebuilt_index_is_as_good_as_the_directories() {
    for on_disk in ON_DISK {
        let (world, tree, points) = two_points(on_disk);
        let repository = world.open().unwrap();
        for name in names(&world, "index/") {
            damage(&world, &name, None);
        }
        repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        // Every pack's directory is now broken too; its groups are not.
        for name in names(&world, "packs/") {
            let mut bytes = world.store.read(&name).unwrap().unwrap();
            bytes.pop();
            damage(&world, &name, Some(&bytes));
        }
        let (report, made) = restore(&repository, points[1], "").unwrap();
        assert_eq!((report.warnings.len(), made.files), (0, tree.contents()));
    }
}

#[test]
fn a_copy_of_the_ring_is_mended_from_the_other() {
    for on_disk in ON_DISK {
        for place in ["keys/ring-0000000001", "keys/ring-0000000001.copy"] {
            for bytes in [None, Some(b"rubbish".as_slice())] {
                let (world, _, _) = two_points(on_disk);
                damage(&world, &place.parse().unwrap(), bytes);
                let repository = world.open().unwrap();
                assert_eq!(problems(&repository)[0].object, place);
                assert!(repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap().ring_mended);
                assert_eq!(problems(&repository), []);
            }
        }
    }
}

#[test]
fn a_pack_that_nothing_describes_is_named_and_its_index_is_not_given_up() {
    for on_disk in ON_DISK {
        let (world, tree, points) = two_points(on_disk);
        let repository = world.open().unwrap();
        let indexes = names(&world, "index/");
        let pack = names(&world, "packs/").remove(0);
        let bytes = world.store.read(&pack).unwrap().unwrap();
        for name in indexes.iter().chain([&pack]) {
            damage(&world, name, None);
        }
        let report = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        assert_eq!(report.lost_packs, [pack.as_str()]);
        assert_eq!((report.lost_indexes.len(), report.indexes, report.packs), (2, 1, 1));
        let again = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        assert_eq!((again.lost_indexes.len(), again.indexes), (2, 0));

        // The pack turns up again: now nothing is missing any more.
        damage(&world, &pack, Some(&bytes));
        let report = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        assert_eq!((report.lost_packs.len(), report.indexes, report.packs), (0, 1, 1));
        assert_eq!(problems(&repository), []);
        let (report, made) = restore(&repository, points[1], "").unwrap();
        assert_eq!((report.warnings.len(), made.files), (0, tree.contents()));
    }
}

#[test]
fn a_cancelled_repair_announces_nothing() {
    for on_disk in ON_DISK {
        struct Impatient;
        impl Progress for Impatient {
            fn report(&self, _status: &Status) {}
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let (world, _, _) = two_points(on_disk);
        for name in names(&world, "index/") {
            damage(&world, &name, None);
        }
        let repository = world.open().unwrap();
        let indexes = repository.history().unwrap().indexes().clone();
        assert_eq!(
            repository.repair(NonZeroUsize::MIN, &Impatient),
            Err(RepositoryError::Cancelled)
        );
        let history = repository.history().unwrap();
        assert_eq!((history.indexes(), history.sessions().len()), (&indexes, 0));
    }
}

#[test]
fn a_damaged_log_is_not_written_to() {
    for on_disk in ON_DISK {
        let (world, _, _) = two_points(on_disk);
        damage(&world, &"log/0000000003".parse().unwrap(), Some(b"rubbish"));
        damage(&world, &names(&world, "index/")[0], None);
        let repository = world.open().unwrap();
        let before = world.objects();
        assert!(matches!(
            repository.repair(NonZeroUsize::MIN, &Unwatched),
            Err(RepositoryError::Log(_))
        ));
        assert_eq!(world.objects(), before);
    }
}
