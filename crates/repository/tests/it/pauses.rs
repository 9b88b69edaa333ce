//! A lease that runs out in the middle of the work, and goes on after the next unwrap: no object is
//! sealed across the gap, and nothing is lost by it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_ambient::Clock;
use custody_envelope::{
    EnvelopeError, KeyAccess, LEASE_DEFAULT, Lease, LeaseEnd, Renewal, Ring, Trust, unwrap,
};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{CheckLevel, Repository, Unwatched};
use custody_test_world::keks::MemoryKeks;

use crate::tree::{Tree, noise};
use crate::world::{THREADS, World, backup, restore};

/// Longer than the lease of a vault's keys.
const TOO_LONG: Duration = LEASE_DEFAULT.saturating_add(Duration::from_secs(1));

/// Asks the key vault again as soon as anyone needs the keys.
pub(crate) struct AskAgain {
    keks: Arc<MemoryKeks>,
    ring: Ring,
    clock: Arc<dyn Clock>,
    asked: AtomicUsize,
    /// Several threads may need the keys at once.
    turn: Mutex<()>,
}

impl AskAgain {
    pub(crate) fn of(world: &World) -> Arc<Self> {
        let again = Arc::new(Self {
            keks: Arc::clone(&world.keks),
            ring: Ring::parse(&world.ring).unwrap(),
            clock: world.clock.clone(),
            asked: AtomicUsize::new(0),
            turn: Mutex::new(()),
        });
        world.keys.lease().renew_by(Arc::clone(&again) as _);
        again
    }
}

impl Renewal for AskAgain {
    fn renew(&self, lease: &Lease) -> Result<(), EnvelopeError> {
        let _turn = self.turn.lock().unwrap();
        if lease.ended().is_none() {
            // Another thread that needed the keys was here first.
            return Ok(());
        }
        assert_eq!(lease.remaining(), Duration::ZERO);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let access = KeyAccess { keys: &*self.keks, allowed: &|_| true, clock: &self.clock };
        lease.extend(unwrap(&self.ring, &Trust::FirstUse, &access)?)
    }
}

fn sample() -> Tree {
    let mut tree = Tree::default();
    // Several groups in one pack.
    tree.file("large", noise(1, 1_300_000));
    tree.file("docs/one", "1");
    tree.file("docs/deep/two", noise(2, 70_000));
    tree
}

/// Lets the lease run out before every look at the clock that `work` takes.
fn at_every_look(prepare: impl Fn(&World) -> Repository, work: impl Fn(&World, &Repository)) {
    let looks = {
        let world = World::new();
        let repository = prepare(&world);
        let before = world.clock.looks();
        work(&world, &repository);
        world.clock.looks() - before
    };
    assert!(looks > 10, "{looks}");
    let mut gaps = 0;
    for at in 0..looks {
        let world = World::new();
        let repository = prepare(&world);
        let again = AskAgain::of(&world);
        world.clock.jump_after(at, TOO_LONG);
        work(&world, &repository);
        gaps += usize::from(again.asked.load(Ordering::Relaxed) > 0);
    }
    // Where the last look decides nothing any more, no key is needed after it.
    assert!(gaps * 10 >= looks * 9, "{gaps} of {looks}");
}

#[test]
fn a_backup_goes_on_after_a_gap_anywhere() {
    let tree = sample();
    at_every_look(World::create, |world, repository| {
        let committed = backup(repository, &tree, None).unwrap();
        let (report, made) = restore(&world.open().unwrap(), committed.id, "").unwrap();
        assert_eq!((report.warnings.len(), made.files), (0, tree.contents()));
        assert!(repository.history().unwrap().sessions().is_empty());
    });
}

#[test]
fn a_restore_and_a_check_go_on_after_a_gap_anywhere() {
    let tree = sample();
    let prepare = |world: &World| {
        let repository = world.create();
        backup(&repository, &tree, None).unwrap();
        repository
    };
    at_every_look(prepare, |_, repository| {
        let point = *repository.history().unwrap().points().keys().next().unwrap();
        let (report, made) = restore(repository, custody_repository::PointId(point), "").unwrap();
        assert_eq!((report.warnings.len(), made.files), (0, tree.contents()));
    });
    at_every_look(prepare, |_, repository| {
        let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.problems, []);
    });
}

#[test]
fn a_prune_goes_on_after_a_gap_anywhere() {
    let (mut first, second) = (sample(), sample());
    first.file("gone", noise(3, 1_000_000));
    let prepare = |world: &World| {
        let repository = world.create();
        let gone = backup(&repository, &first, None).unwrap();
        backup(&repository, &second, None).unwrap();
        let why = custody_repository::log::ForgetReason::Requested;
        repository.log().unwrap().forget(gone.id.0, why).unwrap();
        repository
    };
    at_every_look(prepare, |world, repository| {
        let options = PruneOptions::default();
        let report = repository.prune(&options, Duration::ZERO, &Unwatched).unwrap();
        assert!(report.removed_packs > 0, "{report:?}");
        let repository = world.open().unwrap();
        let point = *repository.history().unwrap().points().keys().next().unwrap();
        let (_, made) = restore(&repository, custody_repository::PointId(point), "").unwrap();
        assert_eq!(made.files, second.contents());
    });
}

/// The reason of whoever ends the wait is the error of everything that waits.
#[test]
fn a_wait_that_is_given_up_ends_the_backup() {
    struct GiveUp;
    impl Renewal for GiveUp {
        fn renew(&self, lease: &Lease) -> Result<(), EnvelopeError> {
            let message = "nobody waits any longer".to_owned();
            lease.end(LeaseEnd { code: "GivenUp", message, retryable: true });
            lease.check()
        }
    }
    let world = World::new();
    let repository = world.create();
    world.keys.lease().renew_by(Arc::new(GiveUp));
    world.clock.jump_after(20, TOO_LONG);
    let error = backup(&repository, &sample(), None).unwrap_err();
    let Some(EnvelopeError::LeaseEnded { reason }) = error.of_keys() else {
        panic!("{error:?}");
    };
    assert_eq!((reason.code, reason.retryable), ("GivenUp", true));
    assert!(repository.history().unwrap().points().is_empty());
}
