//! What differs between two points is told, once, in order, and nothing else is read.

use custody_blob_store::BlobStore as _;
use custody_entries::{EntryKind, Flow};
use custody_repository::{Change, DiffTotals, PointId, Repository, RepositoryError, Unwatched};

use crate::tree::{Tree, noise};
use crate::world::{World, backup, deep_tree};

fn path_of(path: &[u8]) -> String {
    String::from_utf8(path.to_vec()).unwrap()
}

fn line(path: &[u8], change: &Change<'_>) -> String {
    let path = path_of(path);
    let words = |aspects: &[custody_repository::Aspect]| {
        aspects.iter().map(|aspect| aspect.word()).collect::<Vec<_>>().join(",")
    };
    match change {
        Change::Added(_) => format!("+ {path}"),
        Change::Removed(_) => format!("- {path}"),
        Change::Changed { aspects, .. } => format!("M {path} {}", words(aspects)),
        Change::Renamed { from, aspects, .. } => {
            format!("R {path} from {} {}", path_of(from), words(aspects))
        }
        Change::Top(aspects) => format!("T {}", words(aspects)),
        Change::Unreadable(_) => format!("! {path}"),
    }
}

fn diff(
    repository: &Repository,
    (old, new): (PointId, PointId),
    path: &str,
) -> Result<(Vec<String>, DiffTotals), RepositoryError> {
    let mut lines = Vec::new();
    let mut visit = |path: &[u8], change: Change<'_>| {
        lines.push(line(path, &change));
        Flow::Continue
    };
    let totals = repository.diff(old, new, path.as_bytes(), &Unwatched, &mut visit)?;
    Ok((lines, totals))
}

/// Two points of the tree before and after `edit`.
fn points(edit: impl FnOnce(&mut Tree)) -> (Repository, (PointId, PointId)) {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    for folder in ["docs", "docs/letters", "still"] {
        tree.other(folder, EntryKind::Folder);
    }
    tree.file("docs/a", noise(1, 3_000));
    tree.file("docs/letters/one", "1");
    tree.file("docs/letters/two", "22");
    tree.file("still/stays", noise(2, 10));
    tree.other("link", EntryKind::Symlink { target: b"docs".to_vec() });
    let old = backup(&repository, &tree, None).unwrap().id;
    edit(&mut tree);
    let new = backup(&repository, &tree, Some(old)).unwrap().id;
    (repository, (old, new))
}

#[test]
fn what_differs_is_told() {
    let check = |edit: &dyn Fn(&mut Tree), path: &str, expected: &[&str]| {
        let (repository, points) = points(edit);
        let (lines, _) = diff(&repository, points, path).unwrap();
        assert_eq!(lines, expected);
    };
    let chmod = |tree: &mut Tree, path: &str, mode| {
        tree.items.get_mut(path).unwrap().metadata.mode = mode;
    };
    check(&|_| {}, "", &[]);
    check(
        &|tree| {
            tree.file("docs/b", "new");
        },
        "",
        &["+ docs/b"],
    );
    check(&|tree| drop(tree.items.remove("docs/letters/one")), "", &["- docs/letters/one"]);
    check(
        &|tree| {
            tree.file("docs/a", "other");
        },
        "",
        &["M docs/a content,modified"],
    );
    check(&|tree| chmod(tree, "docs/a", 0o600), "", &["M docs/a mode"]);
    check(&|tree| chmod(tree, "docs", 0o700), "", &["M docs mode"]);
    check(
        &|tree| {
            let item = tree.items.get_mut("docs/a").unwrap();
            item.metadata.uid = 7;
            item.metadata.xattrs.clear();
        },
        "",
        &["M docs/a owner,attributes"],
    );
    check(&|tree| tree.link("docs/a", "docs/z"), "", &["M docs/a links", "+ docs/z"]);
    check(
        &|tree| {
            tree.other("link", EntryKind::Symlink { target: b"still".to_vec() });
        },
        "",
        &["M link target,modified"],
    );
    check(&|tree| tree.rename("docs/a", "docs/zz"), "", &["R docs/zz from docs/a "]);
    check(
        &|tree| {
            tree.rename("docs/a", "docs/A");
            chmod(tree, "docs/A", 0o600);
        },
        "",
        &["R docs/A from docs/a mode"],
    );
    check(&|tree| tree.rename("docs/a", "still/a"), "", &["- docs/a", "+ still/a"]);
}

#[test]
fn whole_subtrees_come_and_go_and_are_counted() {
    let everything = |tree: &mut Tree| {
        tree.items.retain(|path, _| !path.starts_with("docs"));
        tree.file("docs", "a file where a folder was");
        tree.file("docs-more/deep/file", "x");
    };
    let all = [
        "M docs kind,modified",
        "- docs/a",
        "- docs/letters",
        "- docs/letters/one",
        "- docs/letters/two",
        "+ docs-more",
        "+ docs-more/deep",
        "+ docs-more/deep/file",
    ];
    let (repository, both) = points(everything);
    let (lines, totals) = diff(&repository, both, "").unwrap();
    assert_eq!(lines, all);
    assert_eq!((totals.added.entries, totals.added.bytes), (3, 1));
    assert_eq!((totals.removed.entries, totals.removed.bytes), (4, 3_003));
    assert_eq!((totals.changed.entries, totals.changed.bytes), (1, 25));
    let (lines, _) = diff(&repository, both, "docs/letters").unwrap();
    assert_eq!(lines, ["- docs/letters", "- docs/letters/one", "- docs/letters/two"]);
    let (lines, _) = diff(&repository, both, "docs-more/deep/file").unwrap();
    assert_eq!(lines, ["+ docs-more/deep/file"]);
}

#[test]
fn backwards_added_is_removed() {
    let (repository, (old, new)) = points(|tree| {
        tree.file("docs/b", "new");
    });
    assert_eq!(diff(&repository, (new, old), "").unwrap().0, ["- docs/b"]);
    assert_eq!(diff(&repository, (new, new), "").unwrap().0, Vec::<String>::new());
}

#[test]
fn what_is_nowhere_is_an_error() {
    let (repository, both) = points(|_| {});
    let error = diff(&repository, both, "docs/nothing").unwrap_err();
    assert_eq!(error.code(), "PointPathNotFound");
    let unknown: PointId = "ab".repeat(32).parse().unwrap();
    assert_eq!(diff(&repository, (both.0, unknown), "").unwrap_err().code(), "PointNotFound");
}

#[test]
fn a_walk_ends_where_it_is_told_to() {
    let (repository, (old, new)) = points(|tree| {
        tree.file("docs/b", "new");
        tree.file("docs/c", "new");
    });
    let mut seen = 0;
    let totals = repository
        .diff(old, new, b"", &Unwatched, &mut |_, _| {
            seen += 1;
            Flow::Stop
        })
        .unwrap();
    assert_eq!((seen, totals.added.entries), (1, 1));
}

/// The pack of the first point, with the listing of the folder that never changes, is gone: only a
/// walk that reads that folder can notice.
#[test]
fn what_both_have_is_not_read_and_what_is_lost_is_said() {
    let world = World::new();
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("same/deep/file", noise(1, 100));
    let first = backup(&repository, &tree, None).unwrap().id;
    let packs: Vec<_> = world
        .objects()
        .into_iter()
        .filter(|(name, _)| name.as_str().starts_with("packs/"))
        .collect();
    tree.file("a", "1");
    let second = backup(&repository, &tree, Some(first)).unwrap().id;
    tree.file("b", "2");
    let third = backup(&repository, &tree, Some(second)).unwrap().id;
    for (name, _) in packs {
        world.store.delete(&name).unwrap();
    }
    let (lines, totals) = diff(&repository, (second, third), "").unwrap();
    assert_eq!((lines, totals.unreadable), (vec!["+ b".to_owned()], 0));
    let (lines, totals) = diff(&repository, (first, third), "").unwrap();
    assert_eq!((lines, totals.unreadable), (vec!["! ".to_owned()], 1));
}

#[test]
fn a_deep_tree_is_no_deep_recursion() {
    let (repository, points) = deep_tree();
    let (lines, totals) = diff(&repository, (points[0], points[1]), "").unwrap();
    assert_eq!((lines.len(), totals.added.bytes), (1_501, 13));
}
