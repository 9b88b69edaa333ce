//! An index on disk: the same answers as one in memory, whatever becomes of the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use custody_ambient::Clock as _;
use custody_blob_store::{BlobName, BlobStore, MemoryStore, StoreError};
use custody_repository::log::ForgetReason;
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{
    CheckLevel, IndexLimits, Phase, PointId, Progress, Repository, RepositoryError,
    RepositoryParts, Status, Unwatched,
};

use crate::tree::{Tree, TreeSource, noise};
use crate::world::{LEAST, THREADS, World, backup, options, restore};

/// A world whose repository keeps runs in a store beside it.
struct Cached {
    world: World,
    runs: Arc<MemoryStore>,
}

impl Cached {
    fn new() -> Self {
        let world = World::new();
        world.create();
        Self { world, runs: Arc::new(MemoryStore::new()) }
    }

    fn open(&self, limits: IndexLimits) -> Repository {
        let runs = Arc::clone(&self.runs);
        let cache: custody_repository::OpenCache = Arc::new(move || Ok(runs.clone()));
        self.open_with(cache, limits)
    }

    fn open_with(&self, cache: custody_repository::OpenCache, limits: IndexLimits) -> Repository {
        let parts = self.world.parts(self.world.store.clone());
        let parts = RepositoryParts { cache: Some(cache), index_limits: limits, ..parts };
        Repository::open(parts, None).unwrap()
    }

    fn objects(&self) -> Vec<BlobName> {
        let mut names = Vec::new();
        self.runs.list("", &mut |name, _| names.push(name)).unwrap();
        names.sort();
        names
    }

    /// How many runs there are, and how many of them were given up.
    fn runs(&self) -> (usize, usize) {
        let names = self.objects();
        let count = |end: &str| names.iter().filter(|name| name.as_str().ends_with(end)).count();
        (count("manifest"), count("given-up"))
    }
}

/// A tree of many chunks, of which every generation changes some.
fn tree(generation: u64) -> Tree {
    let mut tree = Tree::default();
    for number in 0..40 {
        tree.file(&format!("same/{number}"), noise(number, 3_000));
    }
    for number in 0..10 {
        let seed = 1_000 + generation * 100 + number;
        tree.file(&format!("changing/{number}"), noise(seed, 20_000));
    }
    tree.file("large", noise(7, 900_000));
    tree
}

fn restores(repository: &Repository, point: PointId, tree: &Tree) {
    let (report, made) = restore(repository, point, "").unwrap();
    assert_eq!(made.files, tree.contents());
    assert_eq!(report.warnings, Vec::new());
}

#[test]
fn an_index_on_disk_answers_as_one_in_memory() {
    let cached = Cached::new();
    let mut points = Vec::new();
    for generation in 0..5 {
        // Opened anew: as much as there is becomes runs.
        let repository = cached.open(LEAST);
        let made = backup(&repository, &tree(generation), None).unwrap();
        // Without a parent every chunk is looked for; only what changed is new.
        let expected = if generation == 0 { 40 * 3_000 + 900_000 } else { 0 } + 10 * 20_000;
        assert!(made.counts.new_bytes.abs_diff(expected) < 20_000, "{:?}", made.counts);
        points.push(made.id);
    }
    let (runs, given_up) = cached.runs();
    assert!(runs - given_up >= 1 && given_up >= 1, "{runs} runs, {given_up} given up");
    for (generation, point) in (0..).zip(&points) {
        restores(&cached.open(LEAST), *point, &tree(generation));
        restores(&cached.world.open().unwrap(), *point, &tree(generation));
    }
    let check = cached.open(LEAST).check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    assert_eq!(check.problems, []);

    // A prune replaces every index object: what was known of them is given up.
    let repository = cached.open(LEAST);
    for point in &points[..4] {
        repository.log().unwrap().forget(point.0, ForgetReason::Requested).unwrap();
    }
    let options = PruneOptions {
        unused_percent_max: 0,
        rewrite_unused_percent_min: 0,
        ..PruneOptions::default()
    };
    repository.prune(&options, Duration::from_mins(10), &Unwatched).unwrap();
    restores(&cached.open(LEAST), points[4], &tree(4));
    let again = backup(&cached.open(LEAST), &tree(4), None).unwrap();
    assert_eq!(again.counts.new_bytes, 0);

    // A day later they go.
    let later = cached.world.clock.now().checked_add(Duration::from_hours(25)).unwrap();
    cached.world.clock.set_wall(later);
    restores(&cached.open(LEAST), points[4], &tree(4));
    let (runs, _) = cached.runs();
    restores(&cached.open(LEAST), points[4], &tree(4));
    assert!(runs <= 2, "{:?}", cached.objects());
}

#[test]
fn a_session_finds_again_what_it_stored_long_before() {
    // More than a pack holds, twice: the copies come when their first has left memory.
    let mut tree = Tree::default();
    for copy in 0..2 {
        for number in 0..24 {
            tree.file(&format!("{copy}/{number}"), noise(number, 1_500_000));
        }
    }
    let full: custody_repository::OpenCache =
        Arc::new(|| Err(StoreError::Full("no room".to_owned())));
    for limits in [LEAST, IndexLimits::default()] {
        for is_full in [false, true] {
            let cached = Cached::new();
            let repository =
                if is_full { cached.open_with(full.clone(), limits) } else { cached.open(limits) };
            let made = backup(&repository, &tree, None).unwrap();
            let new = made.counts.new_bytes;
            assert!(new.abs_diff(24 * 1_500_000) < 200_000, "{new}");
            let (runs, _) = cached.runs();
            assert_eq!(runs > 0, limits == LEAST && !is_full);
            restores(&cached.world.open().unwrap(), made.id, &tree);
            restores(&cached.open(limits), made.id, &tree);
            let (_, given_up) = cached.runs();
            assert_eq!(given_up, 0, "what the session merged is deleted, the rest is used on");
            let check = cached.open(limits).check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
            assert_eq!((check.problems, check.garbage_objects), (Vec::new(), 0));
        }
    }
}

/// Gives up when everything is read.
#[derive(Default)]
struct Impatient(AtomicBool);

impl Progress for Impatient {
    fn report(&self, status: &Status) {
        self.0.fetch_or(status.phase == Phase::Committing, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn what_a_dead_session_indexed_goes_with_the_next_prune() {
    let cached = Cached::new();
    let mut large = Tree::default();
    for number in 0..24 {
        large.file(&number.to_string(), noise(number, 1_500_000));
    }
    let first = backup(&cached.open(LEAST), &tree(0), None).unwrap();
    let size = cached.world.size();
    let repository = cached.open(LEAST);
    let mut source = TreeSource(large.clone());
    let died = repository.backup(&mut source, &options(None), &Impatient::default());
    assert!(matches!(died, Err(RepositoryError::Cancelled)));
    let garbage = cached.open(LEAST).check(CheckLevel::Structure, THREADS, &Unwatched).unwrap();
    assert!(garbage.garbage_objects > 2, "{garbage:?}");
    let (runs, given_up) = cached.runs();
    assert!(runs - given_up >= 2, "{runs} runs, {given_up} given up");
    // The next session neither relies on them nor takes their place.
    let made = backup(&cached.open(LEAST), &large, None).unwrap();
    restores(&cached.open(LEAST), made.id, &large);
    let repository = cached.open(LEAST);
    repository.log().unwrap().forget(made.id.0, ForgetReason::Requested).unwrap();
    repository.prune(&PruneOptions::default(), Duration::from_mins(10), &Unwatched).unwrap();
    assert!(cached.world.size() < size + 8_000, "{} of {size}", cached.world.size());
    restores(&cached.open(LEAST), first.id, &tree(0));
    let check = cached.open(LEAST).check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    assert_eq!((check.problems, check.garbage_objects), (Vec::new(), 0));
}

#[test]
fn a_small_index_needs_no_cache() {
    let cached = Cached::new();
    let made = backup(&cached.open(IndexLimits::default()), &tree(0), None).unwrap();
    restores(&cached.open(IndexLimits::default()), made.id, &tree(0));
    assert_eq!(cached.objects(), []);
}

#[test]
fn a_cache_that_is_damaged_is_made_again() {
    let cached = Cached::new();
    let first = backup(&cached.open(LEAST), &tree(0), None).unwrap();
    backup(&cached.open(LEAST), &tree(1), None).unwrap();
    restores(&cached.open(LEAST), first.id, &tree(0));
    let kinds = ["names-00000", "groups-00000", "packs-00000", "filter-00000"];
    for kind in kinds.into_iter().chain(["manifest", "given-up", "begun"]) {
        for damage in [flip, cut, remove] {
            // Of every run that there is by now.
            for object in cached.objects().iter().filter(|name| name.as_str().ends_with(kind)) {
                damage(&cached.runs, object);
            }
            // At most one job fails, and says why; nothing wrong is ever restored.
            match restore(&cached.open(LEAST), first.id, "") {
                Ok((report, made)) if report.warnings.is_empty() => {
                    assert_eq!(made.files, tree(0).contents(), "{kind}");
                }
                Ok((report, _)) => assert!(
                    report.warnings.iter().all(|warning| warning.message.contains("runs/")),
                    "{kind}: {:?}",
                    report.warnings
                ),
                Err(error) => assert!(error.to_string().contains("runs/"), "{kind}: {error}"),
            }
            restores(&cached.open(LEAST), first.id, &tree(0));
        }
    }
}

#[test]
fn packs_that_nothing_describes_say_themselves_what_they_hold() {
    let mut cached = Cached::new();
    let points: Vec<_> = (0..4)
        .map(|generation| backup(&cached.open(LEAST), &tree(generation), None).unwrap().id)
        .collect();
    let indexes = cached.world.objects().into_iter().map(|(name, _)| name);
    let indexes: Vec<_> = indexes.filter(|name| name.as_str().starts_with("index/")).collect();
    for (number, name) in indexes.iter().enumerate() {
        cached.world.store.delete(name).unwrap();
        // With what was known of it before, and without.
        for runs in [Arc::clone(&cached.runs), Arc::new(MemoryStore::new())] {
            cached.runs = runs;
            for (generation, point) in (0..).zip(&points) {
                restores(&cached.open(LEAST), *point, &tree(generation));
            }
            let again = backup(&cached.open(LEAST), &tree(3), None).unwrap();
            assert_eq!(again.counts.new_bytes, 0, "{number} index objects lost");
        }
    }
    let check = cached.open(LEAST).check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    let wrong = check.problems.iter().filter(|problem| !problem.object.starts_with("index/"));
    assert_eq!(wrong.count(), 0, "{:?}", check.problems);
    assert_eq!(check.problems.len(), indexes.len());
}

fn replace(runs: &MemoryStore, object: &BlobName, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = runs.read(object).unwrap().unwrap();
    change(&mut bytes);
    runs.delete(object).unwrap();
    runs.create(object, &bytes).unwrap();
}

fn flip(runs: &MemoryStore, object: &BlobName) {
    replace(runs, object, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

fn cut(runs: &MemoryStore, object: &BlobName) {
    replace(runs, object, |bytes| bytes.truncate(bytes.len() / 3));
}

fn remove(runs: &MemoryStore, object: &BlobName) {
    runs.delete(object).unwrap();
}

#[test]
fn a_cache_that_cannot_be_kept_keeps_nobody_from_his_data() {
    let cached = Cached::new();
    let full: custody_repository::OpenCache =
        Arc::new(|| Err(StoreError::Full("no room".to_owned())));
    let made = backup(&cached.open_with(full.clone(), LEAST), &tree(0), None).unwrap();
    restores(&cached.open_with(full, LEAST), made.id, &tree(0));
}
