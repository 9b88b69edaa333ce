use super::*;
use crate::log::Verdict;
use crate::log::body::{
    Body, Confirmed, EndReason, PointCommitted, PointForgotten, PruneFinished, SessionBegun,
    SessionEnded,
};
use crate::log::entry::{Entry, NO_ENTRY, SealedEntry};
use crate::log::error::LogFault;
use crate::log::identifiers::EntryHash;
use crate::log::void::{Effect, VoidReason};
use custody_names::VaultGuid;

/// The effect of the last of these entries; each is keyed unless marked as [`signed`].
fn check(entries: &[Made], expected: Result<(), VoidReason>) {
    let expected = expected.map_or_else(Effect::Void, |()| Effect::Applied);
    let (_, effects) = replay(entries);
    assert_eq!(effects.last(), Some(&expected), "{entries:?}");
}

fn replay(entries: &[Made]) -> (History, Vec<Effect>) {
    let mut history = History::default();
    let effects = entries
        .iter()
        .map(|made| {
            let next = history.next();
            let time_ms = i64::try_from(next.0).unwrap() * 1_000;
            let body = made.body.clone();
            let vault = VaultGuid::from_bytes([7; 16]);
            let entry = Entry::new(vault, next, time_ms, [0; 16], body);
            let hash = EntryHash::from_bytes([u8::try_from(next.0).unwrap(); 32]);
            let verdict = Verdict::Authentic;
            history.apply(&SealedEntry { entry, hash, keyed: made.keyed, verdict }).unwrap()
        })
        .collect();
    (history, effects)
}

#[derive(Clone, Debug)]
struct Made {
    keyed: bool,
    body: Body,
}

fn keyed(body: Body) -> Made {
    Made { keyed: true, body }
}

fn signed(made: Made) -> Made {
    Made { keyed: false, ..made }
}

fn object(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 32])
}

fn objects(numbers: &[u8]) -> BTreeSet<ObjectId> {
    numbers.iter().copied().map(object).collect()
}

fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn genesis() -> Made {
    keyed(Body::Genesis(Genesis { fingerprint: EntryHash::from_bytes([9; 32]), chunkers: vec![1] }))
}

fn begun(number: u8) -> Made {
    let host = HostFacts {
        boot_id: [1; 16],
        process_id: 1,
        process_start_ticks: 1,
        process_name_space: 1,
    };
    keyed(Body::SessionBegun(SessionBegun { session: session(number), host }))
}

fn ended(number: u8) -> Made {
    let why = EndReason::Fenced;
    keyed(Body::SessionEnded(SessionEnded { session: session(number), why }))
}

/// A commit of point `point` by a session, with the packs it adds and relies on.
fn commit(by: u8, point: u8, packs: &[u8], relies_on: &[u8]) -> Made {
    keyed(Body::PointCommitted(PointCommitted {
        session: session(by),
        item: ItemGuid::from_bytes([1; 16]),
        point: object(point),
        indexes: objects(&[point]),
        packs: objects(packs),
        relies_on: objects(relies_on),
    }))
}

fn forgotten(point: u8) -> Made {
    let why = ForgetReason::Expired;
    keyed(Body::PointForgotten(PointForgotten { point: object(point), why }))
}

fn intent(by: u8, based_on: u64, doomed: &[u8]) -> Made {
    keyed(Body::PruneIntent(PruneIntent {
        session: session(by),
        based_on,
        doomed: objects(doomed),
        packs: objects(&[50]),
        indexes: objects(&[50]),
        replaced_indexes: objects(&[10]),
    }))
}

fn finished(intent: u64, removed: &[u8], spared: &[u8]) -> Made {
    let (removed, spared) = (objects(removed), objects(spared));
    keyed(Body::PruneFinished(PruneFinished { intent, removed, spared }))
}

fn ring(number: u64) -> Made {
    keyed(Body::KeyringHead(KeyringHead { number, hash: EntryHash::from_bytes([2; 32]) }))
}

fn confirmed(up_to: u64, rejected: &[u64]) -> Made {
    let rejected = rejected.iter().copied().collect();
    keyed(Body::Confirmed(Confirmed { up_to, rejected }))
}

fn after(before: &[Made], more: &[Made]) -> Vec<Made> {
    [before, more].concat()
}

#[test]
fn the_genesis_stands_first_and_only_there() {
    check(&[genesis()], Ok(()));
    check(&[begun(1)], Err(VoidReason::GenesisMisplaced));
    check(&[genesis(), genesis()], Err(VoidReason::GenesisMisplaced));
}

#[test]
fn sessions_and_their_fence() {
    let open = [genesis(), begun(1)];
    check(&open, Ok(()));
    check(&after(&open, &[begun(1)]), Err(VoidReason::SessionLiving));
    check(&after(&open, &[begun(2)]), Ok(()));
    check(&after(&open, &[ended(1)]), Ok(()));
    check(&after(&open, &[ended(2)]), Err(VoidReason::SessionEnded));
    check(&after(&open, &[ended(1), ended(1)]), Err(VoidReason::SessionEnded));
    check(&after(&open, &[commit(1, 10, &[10], &[])]), Ok(()));
    check(&after(&open, &[commit(2, 10, &[10], &[])]), Err(VoidReason::SessionEnded));
    let zombie = [ended(1), commit(1, 10, &[10], &[])];
    check(&after(&open, &zombie), Err(VoidReason::SessionEnded));
    let signed_fence = [signed(ended(1)), commit(1, 10, &[10], &[])];
    check(&after(&open, &signed_fence), Err(VoidReason::SessionEnded));
    let rejected = [signed(ended(1)), confirmed(3, &[3]), commit(1, 10, &[10], &[])];
    check(&after(&open, &rejected), Err(VoidReason::SessionEnded));
    check(&after(&open, &[ended(1), intent(1, 2, &[])]), Err(VoidReason::SessionEnded));

    let (history, _) = replay(&after(&open, &zombie));
    assert!(history.points().is_empty() && history.packs().is_empty());
}

#[test]
fn points_and_tombstones() {
    let given = [genesis(), begun(1), commit(1, 10, &[10], &[])];
    check(&after(&given, &[commit(1, 10, &[11], &[])]), Err(VoidReason::PointKnown));
    check(&after(&given, &[forgotten(10)]), Ok(()));
    check(&after(&given, &[forgotten(11)]), Err(VoidReason::PointUnknown));
    check(&after(&given, &[forgotten(10), forgotten(10)]), Err(VoidReason::PointUnknown));
    let again = [forgotten(10), commit(1, 10, &[10], &[])];
    check(&after(&given, &again), Err(VoidReason::PointKnown));

    let (history, _) = replay(&after(&given, &[forgotten(10)]));
    assert_eq!(history.tombstones()[&object(10)].number, 4);
    // Its packs and index go with the next prune, not before.
    assert_eq!(*history.packs(), objects(&[10]));
    assert_eq!(history.indexes().keys().copied().collect::<BTreeSet<_>>(), objects(&[10]));
}

#[test]
fn entries_without_the_key() {
    let given = [genesis(), begun(1), commit(1, 10, &[10], &[])];
    let need_key = [
        begun(2),
        commit(1, 11, &[11], &[]),
        intent(1, 3, &[]),
        finished(4, &[], &[]),
        ring(1),
        confirmed(1, &[]),
    ];
    for made in need_key {
        check(&after(&given, &[signed(made)]), Err(VoidReason::NeedsKey));
    }
    let hidden = after(&given, &[signed(forgotten(10))]);
    check(&hidden, Ok(()));
    check(&after(&hidden, &[intent(1, 4, &[])]), Err(VoidReason::Unconfirmed));
    check(&after(&hidden, &[confirmed(4, &[]), intent(1, 4, &[])]), Ok(()));
    check(&after(&hidden, &[confirmed(3, &[]), intent(1, 4, &[])]), Err(VoidReason::Unconfirmed));
    check(&after(&hidden, &[confirmed(5, &[])]), Err(VoidReason::ConfirmsFuture));

    let is_back =
        |more: &[Made]| replay(&after(&hidden, more)).0.points().contains_key(&object(10));
    assert!(!is_back(&[]));
    assert!(!is_back(&[confirmed(4, &[])]));
    assert!(is_back(&[confirmed(4, &[4])]));
    assert!(!is_back(&[confirmed(3, &[4])]), "4 was not looked at");
    assert!(!is_back(&[confirmed(4, &[]), confirmed(5, &[4])]), "4 was confirmed before");
}

#[test]
fn prune_dooms_spares_and_removes() {
    // Session 1 began before the intent (entry 5, by session 2), session 3 after it.
    let given = [
        genesis(),
        begun(1),
        begun(2),
        commit(1, 10, &[10, 11], &[]),
        intent(2, 4, &[10, 11, 12]),
        ended(2),
        begun(3),
    ];
    check(&given[..5], Ok(()));
    check(&after(&given, &[intent(1, 4, &[])]), Err(VoidReason::IntentOpen));
    check(&after(&given, &[commit(3, 20, &[20], &[])]), Ok(()));
    check(&after(&given, &[commit(3, 20, &[20], &[11])]), Err(VoidReason::PackDoomed));
    check(&after(&given, &[commit(3, 20, &[12], &[])]), Err(VoidReason::PackDoomed));
    check(&after(&given, &[commit(1, 20, &[12], &[11])]), Ok(()));

    let waiting = Err(VoidReason::EarlierSessionLiving);
    check(&after(&given, &[finished(5, &[10, 11, 12], &[])]), waiting);
    let done = |more: &[Made], last: Made| after(&after(&given, more), &[ended(1), last]);
    check(&done(&[], finished(5, &[10, 11, 12], &[])), Ok(()));
    check(&done(&[], finished(4, &[10, 11, 12], &[])), Err(VoidReason::IntentUnknown));
    check(&done(&[], finished(5, &[10, 11], &[12])), Err(VoidReason::OutcomeWrong));
    check(&done(&[], finished(5, &[10, 11, 12, 13], &[])), Err(VoidReason::OutcomeWrong));
    let used = [commit(1, 20, &[12], &[11])];
    check(&done(&used, finished(5, &[10, 11, 12], &[])), Err(VoidReason::OutcomeWrong));
    check(&done(&used, finished(5, &[10], &[11, 12])), Ok(()));

    let over = done(&[], finished(5, &[10, 11, 12], &[]));
    check(&after(&over, &[finished(5, &[10, 11, 12], &[])]), Err(VoidReason::IntentUnknown));
    check(&after(&over, &[commit(3, 20, &[20], &[10])]), Err(VoidReason::PackRemoved));
    check(&after(&over, &[commit(3, 20, &[20], &[])]), Ok(()));
    check(&after(&over, &[intent(3, 8, &[12])]), Err(VoidReason::PackRemoved));
    check(&after(&over, &[intent(3, 8, &[20])]), Ok(()));

    let (history, _) = replay(&over);
    assert_eq!(*history.packs(), objects(&[50]));
    assert_eq!(*history.removed_packs(), objects(&[10, 11, 12]));
    assert_eq!(history.indexes().keys().copied().collect::<BTreeSet<_>>(), objects(&[50]));
    let (history, _) = replay(&done(&used, finished(5, &[10], &[11, 12])));
    assert_eq!(*history.packs(), objects(&[11, 12, 50]));
    assert!(history.indexes().contains_key(&object(10)), "the spared need the old index");
}

#[test]
fn an_intent_knows_every_commit() {
    let given = [genesis(), begun(1), commit(1, 10, &[10], &[]), begun(2)];
    check(&after(&given, &[intent(2, 2, &[])]), Err(VoidReason::IntentStale));
    check(&after(&given, &[intent(2, 3, &[])]), Ok(()));
    check(&after(&given, &[ring(1), forgotten(10), intent(2, 4, &[10])]), Ok(()));
}

#[test]
fn keyrings_only_go_forward() {
    check(&[genesis(), ring(1)], Ok(()));
    check(&[genesis(), ring(3), ring(3)], Err(VoidReason::KeyringOlder));
    check(&[genesis(), ring(3), ring(2)], Err(VoidReason::KeyringOlder));
    check(&[genesis(), ring(3), ring(4)], Ok(()));
}

#[test]
fn checkpoints_say_what_replay_says() {
    let given = [genesis(), begun(1), commit(1, 10, &[10], &[]), signed(forgotten(10))];
    let state = replay(&given).0.to_checkpoint().unwrap();
    let right = keyed(Body::Checkpoint(state));
    check(&after(&given, std::slice::from_ref(&right)), Ok(()));
    check(&after(&given, &[ring(1), right]), Err(VoidReason::CheckpointWrong));
}

#[test]
fn only_the_next_entry_is_applied() {
    let (history, _) = replay(&[genesis(), begun(1)]);
    let (number, previous) = history.next();
    let check = |number, previous| {
        let vault = VaultGuid::from_bytes([7; 16]);
        let entry = Entry::new(vault, (number, previous), 0, [0; 16], ring(1).body);
        let hash = EntryHash::from_bytes([0; 32]);
        let verdict = Verdict::Authentic;
        history.clone().apply(&SealedEntry { entry, hash, keyed: true, verdict })
    };
    assert_eq!(check(number, previous), Ok(Effect::Applied));
    assert_eq!(check(number, NO_ENTRY), Err(LogFault::ChainBroken));
    assert_eq!(check(number + 1, previous), Err(LogFault::ChainBroken));
    assert_eq!(check(number - 1, previous), Err(LogFault::ChainBroken));
}
