//! Whatever files there are: they are packed so that each comes back, and each chunk is stored once.

use std::num::NonZeroUsize;

use custody_repository::{BackupOptions, CheckLevel, Unwatched};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::tree::{Run, Tree, TreeSource, noise};
use crate::world::{THREADS, World, options, restore};

/// A file by what matters to packing.
#[derive(Clone, Debug)]
struct Made {
    length: usize,
    seed: u64,
    compresses: bool,
    /// In bytes, before the data.
    hole: u64,
}

fn file() -> impl Strategy<Value = Made> {
    let length = prop_oneof![
        3 => 0_usize..300,
        3 => 16_000_usize..17_000,
        2 => 60_000_usize..300_000,
        1 => 1_000_000_usize..1_500_000,
    ];
    // Few seeds: some files are the same.
    (length, 0_u64..6, any::<bool>(), prop_oneof![4 => Just(0), 1 => 1_u64..2_000_000])
        .prop_map(|(length, seed, compresses, hole)| Made { length, seed, compresses, hole })
}

fn tree_of(files: &[Made]) -> Tree {
    let mut tree = Tree::default();
    for (number, made) in files.iter().enumerate() {
        let bytes = if made.compresses {
            format!("text of {}, ", made.seed)
                .into_bytes()
                .into_iter()
                .cycle()
                .take(made.length)
                .collect()
        } else {
            noise(made.seed, made.length)
        };
        let mut runs = vec![Run::Data(bytes)];
        if made.hole > 0 {
            runs.insert(0, Run::Hole(made.hole));
        }
        tree.runs(&format!("{}/{number}", number % 3), runs);
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/packing.txt",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_packed_comes_back(
        files in proptest::collection::vec(file(), 0..24), threads in 1_usize..4,
    ) {
        let world = World::new();
        let repository = world.create();
        let tree = tree_of(&files);
        let threads = NonZeroUsize::new(threads).unwrap();
        let given = |parent| BackupOptions { threads, ..options(parent) };
        let mut source = TreeSource(tree.clone());
        let first = repository.backup(&mut source, &given(None), &Unwatched).unwrap();
        prop_assert!(first.counts.stored_bytes <= first.counts.new_bytes + 30_000);
        let (report, made) = restore(&repository, first.id, "").unwrap();
        prop_assert_eq!(report.warnings, []);
        prop_assert!(made.files == tree.contents());
        let check = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        prop_assert_eq!((check.problems, check.garbage_objects), (Vec::new(), 0));
        // Read once more without a parent: every chunk is known.
        let mut source = TreeSource(tree.clone());
        let second = repository.backup(&mut source, &given(None), &Unwatched).unwrap();
        prop_assert_eq!(second.counts.new_bytes, 0);
        prop_assert_eq!(second.counts.bytes, first.counts.bytes);
    }
}
