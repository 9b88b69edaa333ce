//! A file in very many parts.

use std::time::Duration;

use custody_repository::log::ForgetReason;
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CheckLevel, Unwatched};

use crate::tree::{Run, Tree};
use crate::world::{ON_DISK, THREADS, World, backup, restore};

/// Pieces of data with a hole after each: the list of them is longer than any that is held in memory,
/// and the list of its parts is a list of its own.
const PIECES: usize = 100_000;

fn sparse(changed: Option<usize>) -> Vec<Run> {
    let piece = |number: usize| {
        let byte = u8::try_from(number % 251).unwrap();
        let byte = if changed == Some(number) { 255 } else { byte };
        [Run::Data(vec![byte; 1 + number % 2]), Run::Hole(3)]
    };
    (0..PIECES).flat_map(piece).collect()
}

#[test]
fn it_is_stored_once_checked_and_restored() {
    for on_disk in ON_DISK {
        let world = World::on_disk(on_disk);
        let repository = world.create();
        let mut tree = Tree::default();
        tree.runs("sparse", sparse(None));
        let first = backup(&repository, &tree, None).unwrap();
        assert_eq!((first.counts.files, first.warnings_total), (1, 0));
        let (_, made) = restore(&repository, first.id, "").unwrap();
        assert!(made.files == tree.contents(), "not the same bytes");

        let unchanged = backup(&repository, &tree, Some(first.id)).unwrap();
        assert_eq!((unchanged.counts.unchanged_files, unchanged.counts.new_bytes), (1, 0));
        let read_again = backup(&repository, &tree, None).unwrap();
        assert_eq!((read_again.counts.unchanged_files, read_again.counts.new_bytes), (0, 0));
        tree.runs("sparse", sparse(Some(60_000)));
        let edited = backup(&repository, &tree, Some(first.id)).unwrap();
        assert!(edited.counts.new_bytes < 600_000, "a part or two of 4 MB: {:?}", edited.counts);

        for point in [first.id, unchanged.id, read_again.id] {
            repository.log().unwrap().forget(point.0, ForgetReason::Requested).unwrap();
        }
        let thorough = PruneOptions {
            unused_percent_max: 0,
            rewrite_unused_percent_min: 0,
            ..PruneOptions::default()
        };
        repository.prune(&thorough, Duration::ZERO, &Unwatched).unwrap();
        assert_eq!(repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap().problems, []);
        let (report, made) = restore(&repository, edited.id, "").unwrap();
        assert_eq!(report.warnings, []);
        assert!(made.files == tree.contents(), "not the same bytes");
    }
}
