//! How deep a check goes: what is noticed at which level.

use custody_blob_store::BlobStore as _;
use custody_repository::{CheckLevel, Sample, Unwatched};

use crate::tree::{Tree, noise};
use crate::world::{THREADS, World, backup};

/// One byte changed in every pack: nothing is missing or cut, and every byte-for-byte check fails.
#[test]
fn decay_is_noticed_in_the_packs_that_are_read() {
    const PACKS: u64 = 40;
    let world = World::new();
    let repository = world.create();
    let (mut parent, mut tree) = (None, Tree::default());
    for number in 0..PACKS {
        tree.file("file", noise(number, 5_000));
        parent = Some(backup(&repository, &tree, parent).unwrap().id);
    }
    let check = |level| {
        let report = world.open().unwrap().check(level, THREADS, &Unwatched).unwrap();
        // What a check marks as bad the next ones name too: each begins without.
        for (name, _) in
            world.objects().into_iter().filter(|(it, _)| it.as_str().starts_with("bad/"))
        {
            world.store.delete(&name).unwrap();
        }
        report.problems.iter().filter(|it| it.object.starts_with("packs/")).count()
    };
    let sample = |percent, seed| CheckLevel::Sample(Sample { percent, seed });
    for level in [CheckLevel::Structure, sample(100, 1), CheckLevel::Data] {
        assert_eq!(check(level), 0, "{level:?}");
    }
    let packs: Vec<_> = world
        .objects()
        .into_iter()
        .filter(|(name, _)| name.as_str().starts_with("packs/"))
        .collect();
    assert_eq!(packs.len() as u64, PACKS);
    for (name, mut bytes) in packs {
        // In the file, not in its listing, which a check of the structure opens.
        bytes[2_500] ^= 1;
        world.store.delete(&name).unwrap();
        world.store.create(&name, &bytes).unwrap();
    }
    assert_eq!(check(CheckLevel::Structure), 0, "nothing is missing or cut");
    let found: Vec<usize> = (0..20).map(|seed| check(sample(20, seed * 7_919))).collect();
    assert!(found.iter().all(|found| *found < 25), "{found:?}");
    let sum: usize = found.iter().sum();
    assert!((80..240).contains(&sum), "a fifth of 40 packs, 20 times: {found:?}");
    assert!(found.iter().any(|one| *one != found[0]), "others each time: {found:?}");
    assert_eq!(check(sample(100, 3)), 40);
}
