//! The contract of [`RecordStore`] as tests, the same for every implementation.
//!
//! Each function is given two handles on one new, empty store and panics where the store breaks
//! the contract. [`run`] runs them all.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test suite says what is wrong by panicking"
)]

use std::sync::{Arc, Barrier};

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, OperationId, PrincipalId, ResourceId, TenantId};
use custody_resources::{
    ActivityEvent, Caller, Operation, OperationState, Progress, ProvisioningState, Query, Record,
    Reference, Refusal, Stop, SystemData, Target, Task, World, Write,
};
use serde_json::{Value, json};

use crate::{ApplyError, OperationFilter, RecordStore, StoreError};

/// Threads that compete.
const RIVALS: usize = 8;
/// The group that the suite's records lie in.
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/G";

/// Two handles on one store, which two processes would have.
pub type Handles = [Arc<dyn RecordStore>; 2];

/// Runs the whole suite on stores that `make` makes, each new and empty.
pub fn run(make: &dyn Fn() -> Handles) {
    answers_queries(&make());
    tells_of_changes(&make());
    keeps_all_writes_or_none(&make());
    keeps_what_a_refusal_keeps(&make());
    has_one_winner_per_revision(&make());
    holds_claims(&make());
    removes_what_lies_below(&make());
    bounds_the_questions_of_a_plan(&make());
    hands_out_operations_once(&make());
    fences_operations(&make());
    ends_an_operation_with_its_record(&make());
    lists_operations_and_events(&make());
    keeps_refusals_from_filling_the_log(&make());
    keeps_settings(&make());
}

/// Every query is answered, also from the other handle, whatever the case of the identifiers.
pub fn answers_queries([one, two]: &Handles) {
    let key = Target::Key("https://kv.vault.custody.localhost/keys/k".to_owned());
    let mut vault = record("providers/A.B/vaults/V", 1);
    vault.references = vec![Reference::new("encryptedBy", key.clone())];
    vault.claim = Some("vault-name:v".to_owned());
    let item = record("providers/A.B/vaults/V/items/I", 1);
    let other = record("providers/A.B/vaultsx/V", 1);
    apply(one, vec![put(&vault), put(&item), put(&other)]).unwrap();
    let group = GROUP.to_lowercase();
    let check = |query: Query, expected: &[&Record]| {
        let found = ask(two, query.clone());
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
    };
    check(Query::Record(vault.id.canonical()), &[&vault]);
    check(Query::Record(format!("{group}/providers/a.b/vaults/w")), &[]);
    check(Query::Children(group.clone(), "a.b/vaults".into()), &[&vault]);
    check(Query::Children(group.clone(), "a.b/vaults/items".into()), &[]);
    check(Query::Members(group.clone()), &[&vault, &other]);
    check(Query::Members(vault.id.canonical()), &[&item]);
    check(Query::Below(group, "a.b/vaults/items".into()), &[&item]);
    check(Query::Below("/".into(), "a.b/vaults/items".into()), &[&item]);
    check(Query::Below(vault.id.canonical(), "a.b/vaults".into()), &[]);
    check(Query::Everything(vault.id.canonical()), &[&item]);
    check(Query::Everything(item.id.canonical()), &[]);
    check(Query::Referrers(key.clone()), &[&vault]);
    check(Query::Claim("vault-name:v".into()), &[&vault]);
    check(Query::Claim("vault-name:w".into()), &[]);
    // A later version without the reference leaves the index.
    let unbound = Record { references: Vec::new(), revision: 2, ..vault };
    apply(two, vec![put(&unbound)]).unwrap();
    assert_eq!(ask(one, Query::Referrers(key)), []);
}

/// The state is another one after each change, seen from either handle, and stays without one.
pub fn tells_of_changes(handles: &Handles) {
    let states = || handles.each_ref().map(|store| store.state().unwrap());
    assert_eq!(states(), states());
    let vault = record("providers/A.B/vaults/V", 1);
    let stale = record("providers/A.B/vaults/stale", 7);
    for (changing, revision) in handles.iter().zip(1..) {
        let before = states();
        assert_refused(apply(changing, vec![put(&stale)]), "PreconditionFailed");
        changing.set_setting("a", &revision.into()).unwrap();
        apply(changing, vec![event("a", &vault), Write::RaiseRevocation]).unwrap();
        assert_eq!(states(), before, "no record changed");
        apply(changing, vec![put(&Record { revision, ..vault.clone() })]).unwrap();
        let after = states();
        assert!(before.iter().zip(after).all(|(before, after)| *before != after), "{after:?}");
        assert_eq!(states(), after);
    }
}

/// A conflict among the writes undoes those before it.
pub fn keeps_all_writes_or_none([one, two]: &Handles) {
    let fresh = record("providers/A.B/vaults/fresh", 1);
    let stale = record("providers/A.B/vaults/stale", 3);
    let writes = vec![put(&fresh), Write::RaiseRevocation, event("a", &fresh), put(&stale)];
    assert_refused(apply(one, writes), "PreconditionFailed");
    assert_eq!(ask(two, Query::Record(fresh.id.canonical())), []);
    assert_eq!(two.revocation_counter().unwrap(), 0);
    assert_eq!(two.activity(None, 9).unwrap(), []);
    apply(one, vec![Write::RaiseRevocation, Write::RaiseRevocation]).unwrap();
    assert_eq!(two.revocation_counter().unwrap(), 2);
}

/// The writes of a refusal stay although the request is refused.
pub fn keeps_what_a_refusal_keeps([one, two]: &Handles) {
    let flag = record("providers/A.B/vaults/flagged", 1);
    let outcome = one.apply(&mut |_| {
        let mut refusal = Refusal::new(409, "Broken", "no");
        refusal.writes = vec![put(&flag)];
        Err(refusal.into())
    });
    assert_refused(outcome, "Broken");
    assert_eq!(ask(two, Query::Record(flag.id.canonical())), [flag]);
}

/// Of several who change one revision at once, one succeeds and the rest hear of it.
pub fn has_one_winner_per_revision(handles: &Handles) {
    let start = Barrier::new(RIVALS);
    let contested = record("providers/A.B/vaults/contested", 1);
    let outcomes = race(handles, |store| {
        start.wait();
        apply(store, vec![put(&contested)])
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes {
        outcome.or_else(|error| expect_refused(error, "PreconditionFailed")).unwrap();
    }
    // Read, change and write in one transaction: nobody's change is lost.
    let id = contested.id.canonical();
    let outcomes = race(handles, |store| {
        store.apply(&mut |world: &World| {
            let mut next = world.ask(Query::Record(id.clone()))?[0].clone();
            next.revision += 1;
            Ok(vec![put(&next)])
        })
    });
    assert!(outcomes.iter().all(Result::is_ok));
    let last = ask(&handles[0], Query::Record(id));
    assert_eq!(last[0].revision, 1 + RIVALS as u64);
}

/// A claimed name has one holder, until the holder goes or passes it on.
pub fn holds_claims([one, two]: &Handles) {
    let holder = |path: &str| Record { claim: Some("name:n".to_owned()), ..record(path, 1) };
    let (first, second) = (holder("providers/A.B/vaults/1"), holder("providers/A.B/vaults/2"));
    apply(one, vec![put(&first)]).unwrap();
    assert_refused(apply(two, vec![put(&second)]), "NameNotAvailable");
    // It keeps its own claim when it changes.
    apply(two, vec![put(&Record { revision: 2, ..first.clone() })]).unwrap();
    // In one answer the name passes on, in either order.
    apply(two, vec![put(&second), Write::Remove(first.id.clone())]).unwrap();
    assert_eq!(ask(one, Query::Claim("name:n".into())), std::slice::from_ref(&second));
    apply(one, vec![Write::Remove(second.id), put(&first)]).unwrap();
    assert_eq!(ask(two, Query::Claim("name:n".into())), [first]);
}

/// Removing a record removes everything below it, by whole names, with references and claims.
pub fn removes_what_lies_below([one, two]: &Handles) {
    let target = Target::Key("https://kv.vault.custody.localhost/keys/k".to_owned());
    let vault = record("providers/A.B/vaults/V", 1);
    let mut item = record("providers/A.B/vaults/V/items/I", 1);
    item.references = vec![Reference::new("uses", target.clone())];
    item.claim = Some("name:i".to_owned());
    let grant = record("providers/A.B/vaults/V/providers/C.D/grants/R", 1);
    let neighbour = record("providers/A.B/vaults/V2", 1);
    apply(one, vec![put(&vault), put(&item), put(&grant), put(&neighbour)]).unwrap();
    let as_written: ResourceId = vault.id.as_str().to_uppercase().parse().unwrap();
    apply(two, vec![Write::Remove(as_written)]).unwrap();
    for gone in [&vault, &item, &grant] {
        assert_eq!(ask(one, Query::Record(gone.id.canonical())), [], "{}", gone.id);
    }
    assert_eq!(ask(one, Query::Referrers(target)), []);
    assert_eq!(ask(one, Query::Claim("name:i".into())), []);
    assert_eq!(ask(one, Query::Record(neighbour.id.canonical())), [neighbour]);
}

/// A plan that never stops asking is stopped.
pub fn bounds_the_questions_of_a_plan([one, _]: &Handles) {
    let mut asked = 0_u64;
    let outcome = one.view(&mut |world: &World| {
        asked += 1;
        world.ask(Query::Claim(format!("name:{asked}"))).map(|_| ())
    });
    assert!(matches!(outcome, Err(ApplyError::Store(StoreError::Unsettled(_)))), "{outcome:?}");
}

/// Exactly one of several who claim an operation begins it, and one who takes over gets it.
pub fn hands_out_operations_once(handles: &Handles) {
    let [one, two] = handles;
    apply(one, vec![begin(1, "V")]).unwrap();
    let claimed = race(handles, |store| store.claim(operation_id(1), "winner").unwrap());
    let claimed: Vec<_> = claimed.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].operation.state, OperationState::InProgress);
    assert_eq!(claimed[0].operation.owner, "winner");
    let taken = race(handles, |store| store.take_over(operation_id(1), "winner", "heir").unwrap());
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
    let heir = two.operation(operation_id(1)).unwrap().unwrap();
    assert_eq!((heir.operation.owner.as_str(), heir.revision), ("heir", 3));
    assert!(matches!(
        one.take_over(operation_id(9), "a", "b"),
        Err(StoreError::OperationNotFound(_))
    ));
    // Cancelled before it began: it is claimed all the same, to be wound up.
    apply(one, vec![begin(2, "V")]).unwrap();
    two.request_cancel(operation_id(2)).unwrap().unwrap();
    let wound_up = one.claim(operation_id(2), "winner").unwrap().unwrap();
    assert_eq!(wound_up.operation.state, OperationState::Cancelling);
    assert_eq!(two.claim(operation_id(2), "late").unwrap(), None);
    assert_eq!(two.request_cancel(operation_id(9)).unwrap(), None);
}

/// Who was taken over writes no more, and what has ended does not change.
pub fn fences_operations([one, two]: &Handles) {
    apply(one, vec![begin(1, "V")]).unwrap();
    one.claim(operation_id(1), "first").unwrap().unwrap();
    let advance = |store: &Arc<dyn RecordStore>, owner: &str, state: OperationState| {
        store.update_operation(operation_id(1), owner, &mut |_, operation| {
            operation.progress.files_done += 1;
            operation.state = state;
            Ok(Vec::new())
        })
    };
    let seen = advance(one, "first", OperationState::InProgress).unwrap();
    assert_eq!((seen.revision, seen.operation.progress.files_done), (3, 1));
    assert!(two.take_over(operation_id(1), "first", "second").unwrap());
    let late = advance(one, "first", OperationState::Completed);
    assert!(
        matches!(&late, Err(ApplyError::Store(StoreError::OperationTakenOver { owner, .. })) if owner == "second"),
        "{late:?}"
    );
    let ended = advance(two, "second", OperationState::Completed).unwrap();
    assert_eq!(ended.operation.progress.files_done, 2);
    let after = advance(two, "second", OperationState::Failed);
    assert!(matches!(after, Err(ApplyError::Store(StoreError::OperationEnded(_)))), "{after:?}");
    assert!(!one.take_over(operation_id(1), "second", "third").unwrap());
    assert_eq!(one.request_cancel(operation_id(1)).unwrap().unwrap(), ended);
    assert_eq!(one.claim(operation_id(1), "third").unwrap(), None);
}

/// An operation ends together with what it made of its record, or not at all.
pub fn ends_an_operation_with_its_record([one, two]: &Handles) {
    let vault = record("providers/A.B/vaults/V", 1);
    apply(one, vec![put(&vault), begin(1, "V")]).unwrap();
    let end = |revision: u64| {
        one.update_operation(operation_id(1), "nobody", &mut |world, operation| {
            let mut settled = world.record(&vault.id)?.unwrap().clone();
            settled.revision = revision;
            operation.state = OperationState::Completed;
            Ok(vec![put(&settled)])
        })
    };
    assert_refused(end(7).map(|_| ()), "PreconditionFailed");
    assert_eq!(
        two.operation(operation_id(1)).unwrap().unwrap().operation.state,
        OperationState::Queued
    );
    assert_eq!(end(2).unwrap().operation.state, OperationState::Completed);
    assert_eq!(ask(two, Query::Record(vault.id.canonical()))[0].revision, 2);
}

/// Lists are newest first, filtered and bounded.
pub fn lists_operations_and_events([one, two]: &Handles) {
    let (vault, neighbour) =
        (record("providers/A.B/vaults/V", 1), record("providers/A.B/vaults/V2", 1));
    let item = record("providers/A.B/vaults/V/items/I", 1);
    apply(one, vec![begin(1, "V"), begin(2, "V2"), begin(3, "V/items/I")]).unwrap();
    one.update_operation(operation_id(1), "nobody", &mut |_, operation| {
        operation.state = OperationState::Failed;
        Ok(Vec::new())
    })
    .unwrap();
    let check = |filter: OperationFilter, limit: usize, expected: &[u8]| {
        let found = two.operations(&filter, limit).unwrap();
        let ids: Vec<OperationId> = found.iter().map(|found| found.operation.id).collect();
        let expected: Vec<OperationId> = expected.iter().copied().map(operation_id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    };
    check(OperationFilter::All, 9, &[3, 2, 1]);
    check(OperationFilter::All, 2, &[3, 2]);
    check(OperationFilter::Unfinished, 9, &[3, 2]);
    check(OperationFilter::Within(vault.id.clone()), 9, &[3, 1]);
    check(OperationFilter::Within(neighbour.id.clone()), 9, &[2]);
    apply(one, vec![event("a", &vault), event("b", &neighbour), event("c", &item)]).unwrap();
    let check = |within: Option<&ResourceId>, limit: usize, expected: &[&str]| {
        let found = two.activity(within, limit).unwrap();
        let names: Vec<&str> = found.iter().map(|event| event.operation_name.as_str()).collect();
        assert_eq!(names, expected, "{within:?}");
    };
    check(None, 9, &["c", "b", "a"]);
    check(None, 1, &["c"]);
    check(Some(&vault.id), 9, &["c", "a"]);
    check(Some(&ResourceId::root()), 9, &["c", "b", "a"]);
}

/// Who is refused again and again leaves traces, and pushes out nobody else's.
pub fn keeps_refusals_from_filling_the_log([one, two]: &Handles) {
    let vault = record("providers/A.B/vaults/V", 1);
    let Write::Activity(begun) = event("forbidden", &vault) else { panic!("an event") };
    let refused = Write::Activity(begun.failed(&Refusal::new(403, "Forbidden", "no")));
    let count = |name: &str| {
        let found = two.activity(None, 1_000).unwrap();
        found.iter().filter(|event| event.operation_name == name).count()
    };
    apply(one, vec![event("done", &vault)]).unwrap();
    for _ in 0..300 {
        apply(one, vec![refused.clone()]).unwrap();
    }
    let (traces, done) = (count("forbidden"), count("done"));
    assert!((1..=100).contains(&traces) && done == 1, "{traces} {done}");
    for _ in 0..200 {
        apply(one, vec![event("done", &vault)]).unwrap();
    }
    apply(one, vec![refused]).unwrap();
    assert_eq!((count("forbidden"), count("done")), (traces + 1, 201));
}

/// Settings are kept and found by what their names begin with, and a change of one is a single
/// step among all.
pub fn keeps_settings(handles: &Handles) {
    let [one, two] = handles;
    assert_eq!(one.setting("pin").unwrap(), None);
    one.set_setting("pin", &json!({"head": 7})).unwrap();
    assert_eq!(two.setting("pin").unwrap(), Some(json!({"head": 7})));
    two.change_setting("pin", &mut |_| None).unwrap();
    assert_eq!(one.setting("pin").unwrap(), None);
    for name in ["at:b", "At:c", "at", "at:_", "at:a"] {
        one.set_setting(name, &json!(1)).unwrap();
    }
    let check = |prefix: &str, expected: &[&str]| {
        assert_eq!(two.settings(prefix).unwrap(), expected, "{prefix:?}");
    };
    check("at:", &["at:_", "at:a", "at:b"]);
    check("at:_", &["at:_"]);
    check("absent:", &[]);
    race(handles, |store| {
        store.change_setting("mark", &mut |before| {
            Some(Value::from(before.and_then(|value| value.as_u64()).unwrap_or(0) + 1))
        })
    });
    assert_eq!(one.setting("mark").unwrap(), Some(json!(RIVALS)));
}

/// What each of [`RIVALS`] threads, on both handles, gets of `work` at once.
fn race<T: Send>(handles: &Handles, work: impl Fn(&Arc<dyn RecordStore>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..RIVALS)
            .map(|at| {
                let (store, work) = (&handles[at % handles.len()], &work);
                scope.spawn(move || work(store))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn apply(store: &Arc<dyn RecordStore>, writes: Vec<Write>) -> Result<(), ApplyError> {
    store.apply(&mut |_| Ok(writes.clone()))
}

fn ask(store: &Arc<dyn RecordStore>, query: Query) -> Vec<Record> {
    let mut found = Vec::new();
    store
        .view(&mut |world: &World| -> Result<(), Stop> {
            found = world.ask(query.clone())?.to_vec();
            Ok(())
        })
        .unwrap();
    found
}

fn assert_refused(outcome: Result<(), ApplyError>, code: &str) {
    match outcome {
        Err(error) => expect_refused(error, code).unwrap(),
        Ok(()) => panic!("{code} was expected"),
    }
}

fn expect_refused(error: ApplyError, code: &str) -> Result<(), ApplyError> {
    match error {
        ApplyError::Refused(refusal) if refusal.code == code => Ok(()),
        other => Err(other),
    }
}

fn put(record: &Record) -> Write {
    Write::Put(Box::new(record.clone()))
}

fn record(path: &str, revision: u64) -> Record {
    Record {
        id: format!("{GROUP}/{path}").parse().unwrap(),
        location: None,
        tags: std::collections::BTreeMap::new(),
        identity: None,
        spec: json!({"folder": "\u{1F5C4} a\u{0}b"}),
        status: Value::Null,
        state: ProvisioningState::Succeeded,
        revision,
        system: SystemData::new("suite", Timestamp::UNIX_EPOCH),
        references: Vec::new(),
        claim: None,
    }
}

fn operation_id(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn begin(number: u8, vault: &str) -> Write {
    Write::Operation(Box::new(Operation {
        id: operation_id(number),
        resource: record(&format!("providers/A.B/vaults/{vault}"), 1).id,
        task: Task { name: "backup".to_owned(), input: Value::Null },
        state: OperationState::Queued,
        caller: Caller::bootstrap(
            PrincipalId::from_bytes([1; 16]),
            TenantId::from_bytes([2; 16]),
            "suite".to_owned(),
        ),
        correlation: CorrelationId::from_bytes([3; 16]),
        asked: None,
        created: Timestamp::UNIX_EPOCH,
        ended: None,
        owner: "nobody".to_owned(),
        progress: Progress::default(),
        result: Value::Null,
        error: None,
    }))
}

fn event(operation_name: &str, about: &Record) -> Write {
    let (time, id) = (Timestamp::UNIX_EPOCH, about.id.clone());
    let correlation = CorrelationId::from_bytes([3; 16]);
    Write::Activity(ActivityEvent::started(time, "suite", operation_name, id, correlation))
}
