//! What goes in comes out, and what is known already costs nothing.

use std::sync::Arc;

use custody_entries::EntryKind;
use custody_repository::log::{CHECKPOINT_ENTRIES, EntryHash, HeadPin, KeyringHead};
use custody_repository::{BackupOptions, Repository, Unwatched};
use custody_test_world::faults::FaultyStore;

use crate::tree::{Run, Tree, TreeSource, noise};
use crate::world::{World, backup, options, restore};

fn sample() -> Tree {
    let mut tree = Tree::default();
    tree.file("docs/empty", "");
    tree.file("docs/one", "1");
    tree.file("docs/text", "lorem ipsum dolor ".repeat(5_000));
    tree.file("docs/deep/er/still", noise(1, 100));
    tree.file("big", noise(2, 3_000_000));
    tree.runs(
        "sparse",
        vec![
            Run::Hole(1 << 20),
            Run::Data(noise(3, 70_000)),
            Run::Hole(4_096),
            Run::Data(b"end".to_vec()),
            Run::Hole(5),
        ],
    );
    tree.runs("hollow", vec![Run::Hole(1 << 24)]);
    tree.file("linked", "several names");
    tree.link("linked", "docs/link");
    tree.other("socket", EntryKind::Socket);
    tree.other("link", EntryKind::Symlink { target: b"../\xff".to_vec() });
    tree.other("hall", EntryKind::Folder);
    tree
}

#[test]
fn everything_comes_back() {
    let world = World::new();
    let repository = world.create();
    let tree = sample();
    let point = backup(&repository, &tree, None).unwrap();
    assert_eq!(point.warnings_total, 0);
    assert_eq!((point.counts.files, point.counts.folders, point.counts.others), (9, 4, 2));

    let (report, made) = restore(&world.open().unwrap(), point.id, "").unwrap();
    assert_eq!(report.warnings, []);
    assert_eq!(made.files, tree.contents());
    assert_eq!(made.written["sparse"], 70_003);
    assert_eq!(made.written["hollow"], 0);
    assert_eq!(made.links.len(), 1);
    for (path, item) in &tree.items {
        assert_eq!(made.entries[path].metadata, item.metadata, "{path}");
        assert_eq!(made.entries[path].kind, item.kind, "{path}");
    }
}

/// It outlives the records, which are made anew from the repository.
#[test]
fn a_point_says_until_when_it_was_to_be_kept() {
    let world = World::new();
    let repository = world.create();
    let until: custody_ambient::Timestamp = "2027-03-01T12:00:00.5Z".parse().unwrap();
    let mut points = Vec::new();
    for keep_until in [None, Some(until)] {
        let options = BackupOptions { keep_until, ..options(None) };
        let mut source = TreeSource(sample());
        points.push(repository.backup(&mut source, &options, &Unwatched).unwrap().id);
    }
    let repository = world.open().unwrap();
    let kept: Vec<_> =
        points.iter().map(|point| repository.point(*point).unwrap().keep_until).collect();
    assert_eq!(kept, [None, Some(until)]);
}

/// Every copy lies in another group than the one before, and there are more groups than a cache
/// holds: each is still read once.
#[test]
fn a_copy_costs_no_second_read_of_the_group_that_it_lies_in() {
    const FILES: u64 = 50;
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    for number in 0..FILES {
        tree.file(&format!("all/first/{number:02}-small"), noise(number, 2_000));
        tree.file(&format!("all/first/{number:02}-large"), noise(number + FILES, 1_048_576));
        tree.file(&format!("all/second/{number:02}"), noise(number, 2_000));
    }
    let point = backup(&repository, &tree, None).unwrap();
    let store = Arc::new(FaultyStore::new(world.store.clone()));
    let repository = world.open_over(store.clone()).unwrap();
    let calls_of = |path: &str| {
        let before = store.calls();
        let (report, made) = restore(&repository, point.id, path).unwrap();
        assert_eq!(report.warnings, []);
        (store.calls() - before, made.files)
    };
    let (of_first, _) = calls_of("all/first");
    let (of_all, files) = calls_of("all");
    assert!(of_all < of_first + FILES / 4, "{of_first} calls, {of_all} with the copies");
    assert_eq!(files, tree.contents());
}

#[test]
fn an_unchanged_tree_is_not_opened_and_costs_next_to_nothing() {
    let world = World::new();
    let repository = world.create();
    let tree = sample();
    let first = backup(&repository, &tree, None).unwrap();
    let size = world.size();
    tree.opened.lock().unwrap().clear();
    let second = backup(&repository, &tree, Some(first.id)).unwrap();
    assert!(tree.opened.lock().unwrap().is_empty());
    assert_eq!(second.counts.unchanged_files, second.counts.files);
    assert_eq!((second.counts.new_bytes, second.counts.stored_bytes), (0, 0));
    assert!(world.size() - size < 2_500, "{} bytes more", world.size() - size);
    let (_, made) = restore(&repository, second.id, "").unwrap();
    assert_eq!(made.files, tree.contents());
}

#[test]
fn the_same_bytes_are_stored_once_whatever_their_names_are() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("a/file", noise(1, 2_000_000));
    let first = backup(&repository, &tree, None).unwrap();
    // Without a parent everything is read again.
    let again = backup(&repository, &tree, None).unwrap();
    assert_eq!(again.counts.new_bytes, 0);
    tree.rename("a/file", "b/moved");
    tree.file("b/copy", noise(1, 2_000_000));
    let moved = backup(&repository, &tree, Some(first.id)).unwrap();
    assert!(moved.counts.new_bytes < 8_192, "{} new bytes", moved.counts.new_bytes);
}

#[test]
fn a_small_edit_of_a_large_file_costs_little() {
    let world = World::new();
    let repository = world.create();
    let mut bytes = noise(5, 10 << 20);
    let mut tree = Tree::default();
    tree.file("large", bytes.clone());
    let first = backup(&repository, &tree, None).unwrap();
    bytes.insert(4_000_000, b'!');
    tree.file("large", bytes.clone());
    let edited = backup(&repository, &tree, Some(first.id)).unwrap();
    assert!(edited.counts.stored_bytes < 300_000, "{} bytes", edited.counts.stored_bytes);
    let (_, made) = restore(&repository, edited.id, "").unwrap();
    assert_eq!(made.files["large"], bytes);
}

#[test]
fn a_long_log_is_read_from_the_checkpoint_that_a_backup_wrote() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("file", "content");
    for number in 0..CHECKPOINT_ENTRIES {
        let hash = EntryHash::from_bytes([5; 32]);
        let ring = KeyringHead { number: number + 2, hash };
        repository.log().unwrap().keyring_changed(ring).unwrap();
    }
    let made = backup(&repository, &tree, None).unwrap();
    let checkpoint = repository.newest_checkpoint();
    assert!(checkpoint.is_some_and(|pin| pin.number > made.head.number));
    let counted = Arc::new(FaultyStore::new(world.store.clone()));
    let parts = world.parts(counted.clone());
    let opened = Repository::open_from(parts, Some(made.head), checkpoint).unwrap();
    assert!(counted.calls() < 20, "{} calls", counted.calls());
    let (_, restored) = restore(&opened, made.id, "").unwrap();
    assert_eq!(restored.files, tree.contents());
    assert_eq!(*opened.history().unwrap(), *repository.history().unwrap());
    // A head that the store does not hold is missed in either case.
    let other = HeadPin { number: 3, ..made.head };
    let opened = Repository::open_from(world.parts(world.store.clone()), Some(other), checkpoint);
    assert!(opened.unwrap().read_only_because().is_some());
}
