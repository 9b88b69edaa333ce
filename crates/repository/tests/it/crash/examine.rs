//! What must be true of a state that a crash left.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use custody_blob_store::{BlobStore, DiskStore};
use custody_repository::log::{EntryHash, ForgetReason, HeadPin};
use custody_repository::{CheckLevel, PointId, Repository, RepositoryError, Unwatched};
use custody_test_world::disk::{Image, SimulatedDisk};

use super::act::{Act, Files, PATIENCE, thorough};
use super::disk::keeps_its_contract;
use super::rewrap;
use crate::tree::{Tree, noise};
use crate::world::{THREADS, backup, restore};

/// Opens what a crash left as the next process does: no object is missing or in pieces, and no
/// temporary file stays.
pub(super) fn open(what: &str, act: &Act, image: &Image, marks: &[&str]) -> Arc<dyn BlobStore> {
    keeps_its_contract(what, image, &act.given, marks);
    let disk = SimulatedDisk::of(image);
    let store = DiskStore::open_in(disk.clone(), disk.top());
    let left = disk.image();
    assert!(!left.files().any(|(path, _)| path.starts_with(".tmp/")), "{what}: not swept");
    Arc::new(store)
}

/// Expects everything that was answered for, and that work goes on.
pub(super) fn examine(what: &str, act: &Act, store: Arc<dyn BlobStore>, marks: &[&str]) {
    let record = rewrap::record_at(act, marks);
    let (ring, keys) = rewrap::open_vault(&act.world, &*store, &record, !act.begins);
    let parts = act.world.parts_with(&keys, store.clone());
    let repository = match Repository::open(parts.clone(), newest_pin(act, marks)) {
        Err(RepositoryError::NotFound) if act.begins => {
            let fingerprint = EntryHash::from_bytes([3; 32]);
            Repository::create(parts, &act.world.ring, fingerprint)
        }
        opened => opened,
    };
    let repository = repository.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(repository.read_only_because(), None, "{what}");
    let listed = expect_points(what, act, &repository, marks);
    expect_nothing_wrong(what, &repository, &act.damaged);
    if !act.damaged.is_empty() {
        let report = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
        assert!(report.lost_packs.is_empty(), "{what}: {report:?}");
    }
    if let Some(wanted) = &act.rewraps_to {
        rewrap::finish(&act.world, store, (ring, &keys), wanted);
    }
    go_on(what, &repository, &listed);
}

/// The newest head that was answered for.
fn newest_pin(act: &Act, marks: &[&str]) -> Option<HeadPin> {
    let made = act.made.iter().map(|(point, _)| point.head);
    let heads = made.chain(act.forgotten.iter().map(|(_, head, _)| *head));
    let answered = heads.filter(|head| stands(*head, marks));
    answered.chain(act.pin).max_by_key(|head| head.number)
}

fn stands(head: HeadPin, marks: &[&str]) -> bool {
    let entry = format!("stands log/{:010}", head.number);
    marks.contains(&entry.as_str())
}

/// Every point that must stand does, every point that stands is one that may, and all are whole.
fn expect_points(
    what: &str,
    act: &Act,
    repository: &Repository,
    marks: &[&str],
) -> BTreeMap<PointId, Files> {
    let listed: Vec<PointId> =
        repository.points().unwrap().into_iter().map(|point| point.id).collect();
    let mut known = act.points.clone();
    for point in act.points.keys() {
        assert!(listed.contains(point), "{what}: {point} is lost");
    }
    for (point, files) in &act.made {
        let must = stands(point.head, marks);
        assert!(!must || listed.contains(&point.id), "{what}: {} is lost", point.id);
        known.insert(point.id, files.clone());
    }
    for (point, head, files) in &act.forgotten {
        let is_gone = stands(*head, marks);
        assert!(!is_gone || !listed.contains(point), "{what}: {point} is back");
        known.insert(*point, files.clone());
    }
    known.retain(|point, _| listed.contains(point));
    assert_eq!(known.len(), listed.len(), "{what}: nobody knows one of {listed:?}");
    for (point, files) in &known {
        expect_whole(what, repository, *point, files);
    }
    known
}

fn expect_whole(what: &str, repository: &Repository, point: PointId, files: &Files) {
    let (report, made) = restore(repository, point, "").unwrap();
    assert_eq!(report.warnings, [], "{what}: {point}");
    assert!(made.files == *files, "{what}: {point} came back otherwise");
}

fn expect_nothing_wrong(what: &str, repository: &Repository, known: &[String]) {
    let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
    let others: Vec<_> =
        report.problems.iter().filter(|problem| !known.contains(&problem.object)).collect();
    assert!(others.is_empty(), "{what}: {others:?}");
}

/// The next forget, backup and prune do what they always do.
fn go_on(what: &str, repository: &Repository, listed: &BTreeMap<PointId, Files>) {
    let mut listed = listed.clone();
    let parent = listed.keys().next_back().copied();
    let mut tree = Tree::default();
    tree.file("after/the/crash", noise(99, 700));
    let next = backup(repository, &tree, parent).unwrap();
    if let Some((oldest, _)) = listed.pop_first() {
        repository.log().unwrap().forget(oldest.0, ForgetReason::Expired).unwrap();
    }
    repository.prune(&thorough(), PATIENCE, &Unwatched).unwrap();
    expect_nothing_wrong(what, repository, &[]);
    expect_whole(what, repository, next.id, &tree.contents());
    for (point, files) in &listed {
        expect_whole(what, repository, *point, files);
    }
}
