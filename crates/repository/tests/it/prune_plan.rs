use custody_repository::log::ObjectId;
use custody_repository::prune_plan::{PackUsage, PruneOptions, PrunePlan};

/// Packs are numbered in the order given, as (total, used).
fn check(packs: &[(u64, u64)], options: PruneOptions, expected: (&[u8], &[u8], &[u8]), freed: u64) {
    let usage = (0..).zip(packs).map(|(number, (total_bytes, used_bytes))| PackUsage {
        pack: ObjectId::from_bytes([number; 32]),
        total_bytes: *total_bytes,
        used_bytes: *used_bytes,
    });
    let plan = PrunePlan::new(usage, &options);
    let numbers =
        |packs: &[ObjectId]| packs.iter().map(|pack| pack.as_bytes()[0]).collect::<Vec<_>>();
    let got = (numbers(&plan.delete), numbers(&plan.rewrite), numbers(&plan.keep));
    assert_eq!(got, (expected.0.to_vec(), expected.1.to_vec(), expected.2.to_vec()), "{packs:?}");
    assert_eq!(plan.freed_bytes, freed, "{packs:?}");
    let unused: u64 = packs.iter().map(|(total, used)| total - used).sum();
    assert_eq!(plan.freed_bytes + plan.unused_bytes_left, unused, "{packs:?}");
    assert_eq!(plan.is_empty(), expected.0.is_empty() && expected.1.is_empty());
}

#[test]
fn plans() {
    let usual = PruneOptions::default();
    check(&[], usual, (&[], &[], &[]), 0);
    check(&[(100, 100), (100, 0), (50, 0)], usual, (&[1, 2], &[], &[0]), 150);
    // Five percent of what stays may be wasted.
    check(&[(100, 85), (200, 200)], usual, (&[], &[], &[1, 0]), 0);
    check(&[(100, 84), (200, 200)], usual, (&[], &[0], &[1]), 16);
    // The most wasteful first, and no more than it takes.
    check(&[(100, 80), (100, 10), (800, 800)], usual, (&[], &[1], &[2, 0]), 90);
    check(&[(100, 10), (400, 40), (500, 500)], usual, (&[], &[1, 0], &[2]), 450);
    // A pack that wastes little is not worth its copy, however much is wasted in all.
    check(&[(100, 92), (100, 92)], usual, (&[], &[], &[0, 1]), 0);
    let all = PruneOptions { unused_percent_max: 0, rewrite_unused_percent_min: 0, ..usual };
    check(&[(100, 99), (100, 100)], all, (&[], &[0], &[1]), 1);
    let bounded = PruneOptions { rewritten_bytes_max: 50, ..usual };
    check(&[(100, 40), (100, 41), (100, 5)], bounded, (&[], &[2, 0], &[1]), 155);
    let lengths = [(u64::MAX / 4, 1), (u64::MAX / 4, u64::MAX / 4)];
    check(&lengths, usual, (&[], &[0], &[1]), u64::MAX / 4 - 1);
}
