//! A search over points tells each version of a path once, with the points that have it.

use custody_blob_store::BlobStore as _;
use custody_entries::{EntryKind, Flow};
use custody_repository::{
    FindTotals, Lead, PointId, Repository, RepositoryError, Search, Unwatched,
};

use crate::tree::{Tree, noise};
use crate::world::{World, backup, deep_tree};

fn find(
    repository: &Repository,
    points: &[PointId],
    newest: bool,
    matches: &dyn Fn(&[u8], &EntryKind) -> bool,
) -> Result<(Vec<String>, FindTotals), RepositoryError> {
    let mut lines = Vec::new();
    let search = Search { points, matches, newest };
    let totals = repository.find(&search, &Unwatched, &mut |found| {
        let path = String::from_utf8(found.path.to_vec()).unwrap();
        let what = match &found.lead {
            Lead::Found(entry) => match entry.kind {
                EntryKind::File { size } => size.to_string(),
                _ => "-".to_owned(),
            },
            Lead::Unreadable(_) => "lost".to_owned(),
        };
        let spans = found.spans.iter().map(|span| format!("{}-{}", span.first, span.last));
        lines.push(format!("{path} {what} {}", spans.collect::<Vec<_>>().join(" ")));
        Flow::Continue
    })?;
    Ok((lines, totals))
}

/// Five points: a file that changes and goes, one that comes and goes, folders beside them.
fn history() -> (Repository, Vec<PointId>) {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("docs/letters/june.txt", "first");
    tree.file("docs/keep.txt", "kept");
    tree.file("docs/pictures/cat", noise(1, 9));
    let mut points: Vec<PointId> = Vec::new();
    let mut take = |tree: &Tree| {
        let point = backup(&repository, tree, points.last().copied()).unwrap().id;
        points.push(point);
    };
    take(&tree);
    let first = tree.clone();
    tree.file("docs/letters/june.txt", "the second");
    take(&tree);
    tree.file("docs/pictures/dog.txt", "d");
    take(&tree);
    tree.items.remove("docs/letters/june.txt");
    take(&tree);
    take(&first);
    (repository, points)
}

#[test]
fn every_version_is_told_once_with_its_points() {
    let (repository, points) = history();
    let check = |newest: bool, tail: &str, expected: &[&str], counts: (u64, u64)| {
        let matches = |path: &[u8], _: &EntryKind| path.ends_with(tail.as_bytes());
        let (lines, totals) = find(&repository, &points, newest, &matches).unwrap();
        assert_eq!(lines, expected, "{tail}");
        assert_eq!((totals.paths, totals.versions, totals.unreadable), (counts.0, counts.1, 0));
    };
    let june = ["docs/letters/june.txt 5 0-0 4-4", "docs/letters/june.txt 10 1-2"];
    check(false, "june.txt", &june, (1, 2));
    check(true, "june.txt", &june[..1], (1, 1));
    check(false, "keep.txt", &["docs/keep.txt 4 0-4"], (1, 1));
    check(false, "dog.txt", &["docs/pictures/dog.txt 1 2-3"], (1, 1));
    check(false, "docs", &["docs - 0-4"], (1, 1));
    check(false, "letters", &["docs/letters - 0-2 4-4"], (1, 1));
    check(false, "nothing", &[], (0, 0));
}

#[test]
fn only_the_points_that_are_named_are_looked_into() {
    let (repository, points) = history();
    let (lines, _) =
        find(&repository, &points[2..4], false, &|path, _| path.ends_with(b".txt")).unwrap();
    let expected =
        ["docs/keep.txt 4 0-1", "docs/letters/june.txt 10 0-0", "docs/pictures/dog.txt 1 0-1"];
    assert_eq!(lines, expected);
    assert_eq!(find(&repository, &[], false, &|_, _| true).unwrap().0, Vec::<String>::new());
    let unknown: PointId = "ab".repeat(32).parse().unwrap();
    assert!(find(&repository, &[unknown], false, &|_, _| true).is_err());
}

/// The pack with the listing of a folder that three points share is gone: it is missed once, for all
/// of them, and what else there is is found.
#[test]
fn what_points_share_is_read_once_and_what_is_lost_is_said() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("same/file", noise(1, 100));
    let mut points = vec![backup(&repository, &tree, None).unwrap().id];
    let packs: Vec<_> = world
        .objects()
        .into_iter()
        .filter(|(name, _)| name.as_str().starts_with("packs/"))
        .collect();
    for name in ["a", "b", "c"] {
        tree.file(name, name);
        points.push(backup(&repository, &tree, points.last().copied()).unwrap().id);
    }
    for (name, _) in packs {
        world.store.delete(&name).unwrap();
    }
    let files = |_: &[u8], kind: &EntryKind| matches!(kind, EntryKind::File { .. });
    let (lines, totals) = find(&repository, &points[1..], false, &files).unwrap();
    assert_eq!(lines, ["a 1 0-2", "b 1 1-2", "c 1 2-2", "same lost 0-2"]);
    assert_eq!((totals.paths, totals.unreadable), (3, 1));
}

#[test]
fn a_deep_tree_is_no_deep_recursion() {
    let (repository, points) = deep_tree();
    let (lines, _) = find(&repository, &points, false, &|path, _| path.ends_with(b"file")).unwrap();
    assert_eq!(lines.len(), 1);
}
