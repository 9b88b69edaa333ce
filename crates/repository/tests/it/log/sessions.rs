use std::sync::Arc;
use std::time::Duration;

use custody_blob_store::BlobStore;
use custody_repository::log::{
    EndReason, ForgetReason, HEARTBEAT_INTERVAL, HostProbe, Liveness, Log, LogError, NewIntent,
    PRUNE_POLL_INTERVAL, ProcHost, Prune, SESSION_LEASE, Session, SessionEnded, SessionWatch,
};
use custody_test_world::FixedClock;

use super::world::{Says, World, begin, index_name, object, objects, pack_name, point, server};

fn code<T>(outcome: Result<T, LogError>) -> &'static str {
    outcome.map_or_else(|error| error.code(), |_| "Ok")
}

/// A watch on a host of its own, with a clock of its own.
fn watch(world: &World, says: Liveness) -> (SessionWatch, Arc<Log>, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at_text("2001-01-01T00:00:00Z"));
    let parts = custody_repository::log::LogParts { clock: clock.clone(), ..world.parts() };
    let log = Arc::new(Log::open(parts, None).unwrap());
    (SessionWatch::new(Arc::clone(&log), Arc::new(Says(says))), log, clock)
}

#[test]
fn a_session_begins_beats_commits_and_ends() {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    let heartbeat = format!("heartbeat/{}", session.id()).parse().unwrap();
    let first = world.store.read(&heartbeat).unwrap().unwrap();
    session.beat_if_due().unwrap();
    assert_eq!(world.store.read(&heartbeat).unwrap().unwrap(), first, "none was due");
    world.clock.advance(HEARTBEAT_INTERVAL);
    session.beat_if_due().unwrap();
    assert_ne!(world.store.read(&heartbeat).unwrap().unwrap(), first);

    session.commit(&point(1, &[1]), &|_| false).unwrap();
    let received = log.history().points()[&object(1)].received_ms;
    assert_eq!(received, custody_ambient::Clock::now(&*world.clock).as_millisecond());
    session.end().unwrap();
    assert!(log.history().sessions().is_empty());
    assert_eq!(world.store.read(&heartbeat), Ok(None));
}

#[test]
fn a_session_is_dead_when_its_heart_stood_still_for_a_lease() {
    let world = World::new();
    let session = begin(&world.open());
    for says in [Liveness::Unknown, Liveness::Alive] {
        let (mut watch, log, clock) = watch(&world, says);
        let mut look = || watch.look(log.refresh().unwrap().sessions()).unwrap();
        assert_eq!(look(), []);
        clock.advance(SESSION_LEASE.saturating_sub(Duration::from_secs(1)));
        assert_eq!(look(), []);
        session.beat().unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(look(), [], "it had beaten in between");
        clock.advance(SESSION_LEASE.saturating_sub(Duration::from_secs(1)));
        assert_eq!(look(), []);
    }
    let (mut watch, log, clock) = watch(&world, Liveness::Unknown);
    let mut look = || watch.look(log.refresh().unwrap().sessions()).unwrap();
    assert_eq!(look(), []);
    clock.advance(SESSION_LEASE);
    assert_eq!(look(), [session.id()]);
    assert_eq!(look(), []);
}

#[test]
fn jumps_of_the_wall_clock_end_no_session() {
    let world = World::new();
    begin(&world.open());
    let (mut watch, log, clock) = watch(&world, Liveness::Unknown);
    for time in ["2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "1990-01-01T00:00:00Z"] {
        clock.set_wall(time.parse().unwrap());
        world.clock.set_wall(time.parse().unwrap());
        assert_eq!(watch.look(log.refresh().unwrap().sessions()), Ok(vec![]));
    }
}

#[test]
fn a_process_that_is_gone_is_dead_at_once() {
    let world = World::new();
    let session = begin(&world.open());
    let (mut watch, log, _) = watch(&world, Liveness::Dead);
    assert_eq!(watch.look(log.refresh().unwrap().sessions()).unwrap(), [session.id()]);
}

#[test]
fn the_commit_of_a_fenced_session_is_refused() {
    let world = World::new();
    let session = begin(&world.open());
    session.commit(&point(1, &[1]), &|_| false).unwrap();
    let (mut watch, log, _) = watch(&world, Liveness::Dead);
    watch.look(log.refresh().unwrap().sessions()).unwrap();
    // The writer lives after all.
    session.beat().unwrap();
    let refused = session.commit(&point(2, &[2]), &|_| false);
    assert_eq!(code(refused), "RepositorySessionEnded");
    session.end().unwrap();
    let history = world.open().history();
    assert_eq!(history.points().keys().collect::<Vec<_>>(), [&object(1)]);
}

#[test]
fn this_process_is_alive_and_an_impossible_one_is_dead() {
    let own = ProcHost.own_facts().unwrap();
    let check = |facts, expected| assert_eq!(ProcHost.liveness(&facts), expected, "{facts:?}");
    check(own.clone(), Liveness::Alive);
    let mut reused = own.clone();
    reused.process_start_ticks += 1;
    check(reused, Liveness::Dead);
    let mut gone = own.clone();
    gone.process_id = u32::MAX;
    check(gone, Liveness::Dead);
    let mut elsewhere = own.clone();
    elsewhere.boot_id = [0; 16];
    check(elsewhere, Liveness::Unknown);
    let mut in_a_container = own;
    in_a_container.process_name_space += 1;
    check(in_a_container, Liveness::Unknown);
}

/// A log with point 1 on pack 1, and an intent that dooms packs 2 and 3, which nobody used.
fn with_intent() -> (World, Arc<Log>) {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    session.commit(&point(1, &[1, 2, 3]), &|_| false).unwrap();
    session.end().unwrap();
    for pack in objects(&[1, 2, 3]) {
        world.store.create(&pack_name(&pack).unwrap(), b"pack").unwrap();
    }
    (world, log)
}

fn intent(log: &Log, doomed: &[u8]) -> NewIntent {
    NewIntent {
        based_on: log.refresh().unwrap().head().unwrap().number,
        doomed: objects(doomed),
        packs: objects(&[]),
        indexes: objects(&[]),
        replaced_indexes: objects(&[]),
    }
}

fn announce(log: &Arc<Log>, doomed: &[u8]) {
    let pruner = begin(log);
    pruner.intend(&intent(log, doomed)).unwrap();
    pruner.end().unwrap();
}

fn stands(world: &World, pack: u8) -> bool {
    world.store.size(&pack_name(&object(pack)).unwrap()).unwrap().is_some()
}

#[test]
fn prune_spares_what_an_earlier_session_came_to_use() {
    let (world, log) = with_intent();
    let earlier = begin(&log);
    announce(&log, &[2, 3]);
    let later = begin(&log);
    assert_eq!(*later.doomed_packs(), objects(&[2, 3]));
    assert_eq!(code(Prune::settled(&log.history())), "RepositorySessionsRunning");
    let uses_two = |pack: &_| *pack == object(2);
    assert_eq!(code(later.commit(&point(5, &[5]), &uses_two)), "RepositoryPackDoomed");
    later.commit(&point(6, &[6]), &|pack| *pack == object(1)).unwrap();
    earlier.commit(&point(4, &[4]), &uses_two).unwrap();
    earlier.end().unwrap();

    // Another process finishes, while the later session goes on.
    let other = world.open();
    let prune = Prune::settled(&other.history()).unwrap().unwrap();
    let outcome = prune.clone().carry_out(&other, &pack_name, &index_name, &|_| ()).unwrap();
    assert_eq!((outcome.removed, outcome.spared), (objects(&[3]), objects(&[2])));
    assert_eq!([1, 2, 3].map(|pack| stands(&world, pack)), [true, true, false]);
    // The first comes back and finds it done.
    prune.carry_out(&log, &pack_name, &index_name, &|_| ()).unwrap();
    assert_eq!(Prune::settled(&log.refresh().unwrap()), Ok(None));
    assert_eq!(*log.history().removed_packs(), objects(&[3]));
    assert_eq!(code(later.commit(&point(5, &[5]), &uses_two)), "RepositoryPackDoomed");
}

#[test]
fn prune_waits_for_the_living_and_ends_the_dead() {
    let (world, log) = with_intent();
    let paused = begin(&log);
    announce(&log, &[2]);
    let (mut watch, observer, clock) = watch(&world, Liveness::Unknown);
    let waited = Prune::wait(&observer, &mut watch, PRUNE_POLL_INTERVAL * 3);
    assert_eq!(code(waited), "RepositorySessionsRunning");
    paused.beat().unwrap();
    let before = custody_ambient::Clock::since_boot(&*clock);
    Prune::wait(&observer, &mut watch, SESSION_LEASE * 2).unwrap().unwrap();
    let waited = custody_ambient::Clock::since_boot(&*clock).saturating_sub(before);
    assert!(waited >= SESSION_LEASE && waited < SESSION_LEASE + 2 * PRUNE_POLL_INTERVAL);
    let refused = paused.commit(&point(4, &[4]), &|_| true);
    assert_eq!(code(refused), "RepositorySessionEnded");
}

#[test]
fn intents_are_refused_when_they_would_not_be_safe() {
    let (world, log) = with_intent();
    let (pruner, writer) = (begin(&log), begin(&world.open()));
    let stale = intent(&log, &[2]);
    writer.commit(&point(4, &[4]), &|pack| *pack == object(2)).unwrap();
    assert_eq!(code(pruner.intend(&stale)), "RepositoryPruneStale");

    world.open_by(server(1)).forget(object(4), ForgetReason::Requested).unwrap();
    assert_eq!(code(pruner.intend(&intent(&log, &[2]))), "RepositoryUnconfirmed");
    log.confirm().unwrap();

    pruner.intend(&intent(&log, &[2])).unwrap();
    assert_eq!(code(pruner.intend(&intent(&log, &[3]))), "RepositoryPruneOpen");
}

#[test]
fn nothing_is_pruned_by_half_a_log() {
    let (world, log) = with_intent();
    let lost = log.history().head().unwrap().number;
    log.forget(object(1), ForgetReason::Requested).unwrap();
    begin(&log);
    begin(&log);
    for number in lost..=lost + 2 {
        world.store.delete(&super::world::entry_name(number)).unwrap();
    }
    let half = world.open();
    let pruner = begin(&half); // takes the place of the first that is lost
    let refused = pruner.intend(&intent(&half, &[1]));
    assert_eq!(code(refused), "RepositoryLogGap");
}

#[test]
fn ending_a_session_twice_is_no_error() {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    let ended = SessionEnded { session: session.id(), why: EndReason::Fenced };
    world
        .open_by(server(1))
        .append(&mut |_| Ok(custody_repository::log::Body::SessionEnded(ended.clone())))
        .unwrap();
    assert_eq!(code(session.commit(&point(1, &[1]), &|_| false)), "RepositorySessionEnded");
    assert_eq!(session.end(), Ok(()));
    assert_eq!(code(Session::begin(log, super::world::host(2))), "Ok");
}
