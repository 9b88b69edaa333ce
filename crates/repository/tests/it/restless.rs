//! Sources that change under the reader or cannot be read: the point says so, and the rest is whole.

use std::sync::atomic::Ordering::Relaxed;

use crate::tree::{Tree, noise};
use crate::world::{World, backup, restore};

fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.file("a/log", noise(1, 200_000));
    tree.file("a/quiet", "still");
    tree.file("secret", "nobody reads this");
    tree
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_and_then_warned_about() {
    let world = World::new();
    let repository = world.create();
    let check = |restless: u32, warned: bool| {
        let mut tree = tree();
        tree.items.get_mut("a/log").unwrap().restless.store(restless, Relaxed);
        let point = backup(&repository, &tree, None).unwrap();
        let codes: Vec<_> =
            point.warnings.iter().map(|it| (it.code.as_str(), it.path.as_slice())).collect();
        let expected: &[(&str, &[u8])] = &[("SourceFileChanged", b"a/log")];
        assert_eq!(codes, &expected[usize::from(!warned)..], "{restless}");
        assert_eq!(restore(&repository, point.id, "").unwrap().1.files, tree.contents());
        // What may mix two states is read again by the next backup, though nothing tells of a
        // change; the rest is not.
        tree.opened.lock().unwrap().clear();
        backup(&repository, &tree, Some(point.id)).unwrap();
        let opened: Vec<String> = tree.opened.lock().unwrap().iter().cloned().collect();
        assert_eq!(opened, &["a/log"][usize::from(!warned)..], "{restless}");
    };
    check(0, false);
    check(1, false);
    check(2, true);
}

#[test]
fn what_cannot_be_read_is_named_and_left_out_and_the_rest_is_taken() {
    let world = World::new();
    let repository = world.create();
    let mut tree = tree();
    tree.items.get_mut("secret").unwrap().unreadable = true;
    let point = backup(&repository, &tree, None).unwrap();
    assert_eq!((point.warnings_total, point.counts.files), (1, 2));
    assert_eq!(point.warnings[0].path, b"secret");
    let (report, made) = restore(&repository, point.id, "").unwrap();
    assert_eq!(report.warnings, []);
    let mut expected = tree.contents();
    expected.remove("secret");
    assert_eq!(made.files, expected);
    // Once it can be read it is taken, although the point before did without it.
    tree.items.get_mut("secret").unwrap().unreadable = false;
    let second = backup(&repository, &tree, Some(point.id)).unwrap();
    assert_eq!(second.warnings_total, 0);
    assert_eq!(restore(&repository, second.id, "").unwrap().1.files, tree.contents());
}
