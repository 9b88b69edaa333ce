//! What damage costs, and what mends it. That it is noticed wherever it is: see `every_byte.rs`.

use custody_blob_store::{BlobName, BlobStore};
use custody_repository::log::HeadPin;
use custody_repository::{
    Assurance, CheckLevel, CheckReport, PointId, Repository, RepositoryError, Unwatched,
    check_without_keys,
};

use crate::tree::{Run, Tree, noise};
use crate::world::{THREADS, World, backup, restore};

struct Small {
    world: World,
    tree: Tree,
    points: Vec<PointId>,
    /// The newest head, as a vault's record keeps it: without it nobody can miss the last entry.
    pin: HeadPin,
}

/// A repository with two points, over two packs and more.
fn small() -> Small {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("docs/a", noise(1, 90_000));
    tree.file("docs/b", "text ".repeat(300));
    tree.runs("docs/c", vec![Run::Hole(1 << 16), Run::Data(noise(2, 40_000))]);
    let first = backup(&repository, &tree, None).unwrap().id;
    tree.file("later/d", noise(3, 60_000));
    let second = backup(&repository, &tree, Some(first)).unwrap().id;
    let pin = repository.history().unwrap().head().unwrap();
    Small { world, tree, points: vec![first, second], pin }
}

fn check_all(repository: &Repository) -> CheckReport {
    repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap()
}

impl Small {
    fn open(&self) -> Result<Repository, RepositoryError> {
        Repository::open(self.world.parts(self.world.store.clone()), Some(self.pin))
    }

    fn put(&self, name: &BlobName, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.world.store.replace(name, bytes).unwrap(),
            None => self.world.store.delete(name).unwrap(),
        }
    }
}

#[test]
fn a_sound_repository_has_no_problems() {
    let small = small();
    let repository = small.open().unwrap();
    for level in [CheckLevel::Structure, CheckLevel::Data] {
        assert_eq!(repository.check(level, THREADS, &Unwatched).unwrap().problems, []);
    }
    let report = check_without_keys(&*small.world.store, &Unwatched).unwrap();
    assert_eq!((report.assurance, report.problems.len()), (Assurance::HashOnly, 0));
}

#[test]
fn lost_files_are_named_and_heal_with_the_next_backup() {
    let small = small();
    let before = small.world.objects();
    let repository = small.open().unwrap();
    // The largest pack holds the content of the first point.
    let is_pack = |name: &BlobName| name.as_str().starts_with("packs/");
    let packs = before.iter().filter(|(name, _)| is_pack(name));
    let (pack, bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = bytes.clone();
    flipped[1_000] ^= 1;
    small.put(pack, Some(&flipped));

    let report = check_all(&repository);
    let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
    assert_eq!(problem.object, pack.as_str());
    let lost: Vec<&[u8]> = problem.files.iter().map(|file| file.path.as_slice()).collect();
    let in_each: [&[u8]; 3] = [b"docs/a", b"docs/b", b"docs/c"];
    assert_eq!(lost, [in_each, in_each].concat());
    assert_eq!(problem.files_total, 6);

    // Taken over unread they would stay lost: they are read again, and old points heal.
    let third = backup(&repository, &small.tree, Some(small.points[1])).unwrap();
    assert_eq!(third.counts.unchanged_files, 1);
    for point in [small.points[0], small.points[1], third.id] {
        let (report, made) = restore(&small.open().unwrap(), point, "docs").unwrap();
        assert_eq!(report.warnings, []);
        assert_eq!(made.files.len(), 3);
    }
}

#[test]
fn an_index_is_only_a_cache() {
    let small = small();
    for (name, _) in small.world.objects() {
        if name.as_str().starts_with("index/") {
            small.put(&name, None);
        }
    }
    let repository = small.open().unwrap();
    let (report, made) = restore(&repository, small.points[1], "").unwrap();
    assert_eq!((report.warnings.len(), made.files), (0, small.tree.contents()));
}

#[test]
fn copies_of_the_ring_are_mended() {
    let small = small();
    let ring: BlobName = "keys/ring-0000000001".parse().unwrap();
    let genuine = small.world.store.read(&ring).unwrap().unwrap();
    small.put(&ring, Some(b"something else"));
    let repository = small.open().unwrap();
    assert!(repository.mend_rings().unwrap());
    assert_eq!(small.world.store.read(&ring).unwrap().unwrap(), genuine);
    assert!(!repository.mend_rings().unwrap());
}
