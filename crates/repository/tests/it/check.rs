//! A check goes on past what is wrong, blames nothing that is well, and overlooks nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use custody_blob_store::{BlobName, BlobStore};
use custody_repository::log::ForgetReason;
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{
    CheckLevel, CheckReport, PointId, Progress, Repository, Status, Unwatched, check_without_keys,
};

use crate::bad_sectors::BadSector;
use crate::tree::{Tree, noise};
use crate::world::{ON_DISK, THREADS, World, backup, restore};

const LEVELS: [CheckLevel; 2] = [CheckLevel::Structure, CheckLevel::Data];

/// Files in [`several_groups`], about ten of them in each group.
const FILES: u64 = 40;

/// One point over one pack with several groups.
fn several_groups(on_disk: bool) -> (World, Tree, PointId) {
    let world = World::on_disk(on_disk);
    let repository = world.create();
    let mut tree = Tree::default();
    for number in 0..FILES {
        tree.file(&format!("file-{number:02}"), noise(number, 100_000));
    }
    let point = backup(&repository, &tree, None).unwrap().id;
    (world, tree, point)
}

fn the_pack(world: &World) -> (BlobName, Vec<u8>) {
    let packs = world.objects().into_iter().filter(|(name, _)| name.as_str().starts_with("packs/"));
    packs.max_by_key(|(_, bytes)| bytes.len()).unwrap()
}

fn checked(repository: &Repository, level: CheckLevel) -> CheckReport {
    repository.check(level, THREADS, &Unwatched).unwrap()
}

fn keyless(world: &World) -> CheckReport {
    check_without_keys(&*world.store, &Unwatched).unwrap()
}

fn objects(report: &CheckReport) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.object.as_str()).collect()
}

#[test]
fn one_object_that_cannot_be_read_is_counted_and_the_rest_is_checked() {
    for on_disk in ON_DISK {
        let (world, tree, point) = several_groups(on_disk);
        let sound = checked(&world.open().unwrap(), CheckLevel::Data);
        for (name, bytes) in world.objects() {
            if name.as_str() == "custody-repository" {
                continue; // Without it nothing tells that this is a repository.
            }
            let store = Arc::new(BadSector::new(world.store.clone()));
            store.break_at(&name, bytes.len() as u64 / 2);
            let repository = world.open_over(store.clone()).unwrap();
            let report = checked(&repository, CheckLevel::Data);
            assert!(objects(&report).contains(&name.as_str()), "{name}: {:?}", report.problems);
            assert!(report.objects + 3 >= sound.objects, "{name}: {} objects", report.objects);
            checked(&repository, CheckLevel::Structure);
            let report = check_without_keys(&*store, &Unwatched).unwrap();
            assert_eq!(
                objects(&report).contains(&name.as_str()),
                !name.as_str().starts_with("keys/"),
                "{name} without keys"
            );
            if let Ok((report, made)) = restore(&repository, point, "") {
                let whole = made.files.iter().all(|(path, bytes)| tree.contents()[path] == *bytes);
                assert!(
                    whole && (made.files.len() + report.warnings.len()) as u64 >= FILES,
                    "{name}"
                );
            }
            for (mark, _) in world.objects() {
                if mark.as_str().starts_with("bad/") {
                    world.store.delete(&mark).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_bad_sector_costs_only_the_groups_that_it_lies_in() {
    for on_disk in ON_DISK {
        let (world, _, point) = several_groups(on_disk);
        let (pack, bytes) = the_pack(&world);
        let store = Arc::new(BadSector::new(world.store.clone()));
        store.break_at(&pack, bytes.len() as u64 / 2);
        let repository = world.open_over(store).unwrap();
        let report = checked(&repository, CheckLevel::Data);
        let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
        assert!(problem.what.contains("Input/output error"), "{}", problem.what);
        assert!((1..FILES / 2).contains(&problem.files_total), "{:?}", problem.files);
        let (report, made) = restore(&repository, point, "").unwrap();
        assert_eq!(made.files.len() as u64, FILES - problem.files_total);
        assert_eq!(report.warnings.len() as u64, problem.files_total);
    }
}

#[test]
fn of_a_pack_of_wrong_length_only_what_cannot_be_read_is_lost() {
    for on_disk in ON_DISK {
        let (world, mut tree, first) = several_groups(on_disk);
        let (pack, bytes) = the_pack(&world);
        // Its listing lies in another pack.
        tree.file("one-more", "text");
        let point = backup(&world.open().unwrap(), &tree, Some(first)).unwrap().id;
        let check = |stands: &[u8], lost: std::ops::Range<u64>| {
            world.store.replace(&pack, stands).unwrap();
            let repository = world.open().unwrap();
            let readable = restore(&repository, point, "").unwrap().1.files.len() as u64;
            for level in LEVELS {
                let report = checked(&repository, level);
                let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
                assert_eq!(problem.object, pack.as_str());
                let here = problem.files.iter().filter(|file| file.point == point);
                let files = here.count() as u64;
                assert_eq!(files, FILES + 1 - readable, "{level:?}: {:?}", problem.files);
                assert!(lost.contains(&files), "{level:?}: {:?}", problem.files);
            }
        };
        check(&bytes[..bytes.len() - 1], 0..1);
        check(&[bytes.as_slice(), b"more"].concat(), 0..1);
        check(&bytes[..bytes.len() * 3 / 5], 1..FILES);
        world.store.replace(&pack, &bytes).unwrap();
        assert_eq!(checked(&world.open().unwrap(), CheckLevel::Data).problems, []);
        assert_eq!(checked(&world.open().unwrap(), CheckLevel::Structure).problems, []);
    }
}

/// Prunes when work has been reported so many times.
struct Pruning<'r> {
    repository: &'r Repository,
    left: AtomicI32,
}

impl Progress for Pruning<'_> {
    fn report(&self, _status: &Status) {
        if self.left.fetch_sub(1, Relaxed) == 1 {
            self.repository.prune(&thorough(), Duration::from_mins(10), &Unwatched).unwrap();
        }
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn thorough() -> PruneOptions {
    PruneOptions { unused_percent_max: 0, rewrite_unused_percent_min: 0, ..PruneOptions::default() }
}

/// A point that is kept and one that is forgotten, with packs that prune deletes and copies.
pub(crate) fn prunable(on_disk: bool) -> World {
    let world = World::on_disk(on_disk);
    let repository = world.create();
    let mut tree = Tree::default();
    tree.file("docs/stays", noise(1, 200_000));
    tree.file("docs/goes", noise(2, 400_000));
    let first = backup(&repository, &tree, None).unwrap();
    tree.items.remove("docs/goes");
    backup(&repository, &tree, Some(first.id)).unwrap();
    repository.log().unwrap().forget(first.id.0, ForgetReason::Requested).unwrap();
    world
}

#[test]
fn what_is_pruned_during_a_check_is_not_missed() {
    for on_disk in ON_DISK {
        for level in LEVELS {
            for moment in 1.. {
                let world = prunable(on_disk);
                let (pruner, checker) = (world.open().unwrap(), world.open().unwrap());
                let progress = Pruning { repository: &pruner, left: AtomicI32::new(moment) };
                let report = checker.check(level, THREADS, &progress).unwrap();
                assert_eq!(report.problems, [], "{level:?}, prune at report {moment}");
                if progress.left.load(Relaxed) > 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_is_pruned_during_a_check_without_keys_is_not_missed() {
    for on_disk in ON_DISK {
        for moment in 1.. {
            let world = prunable(on_disk);
            let pruner = world.open().unwrap();
            let progress = Pruning { repository: &pruner, left: AtomicI32::new(moment) };
            let report = check_without_keys(&*world.store, &progress).unwrap();
            assert_eq!(report.problems, [], "prune at report {moment}");
            if progress.left.load(Relaxed) > 0 {
                break;
            }
        }
    }
}

#[test]
fn what_is_missing_and_was_not_pruned_is_missed_even_if_a_prune_ran() {
    for on_disk in ON_DISK {
        let world = prunable(on_disk);
        let (pruner, checker) = (world.open().unwrap(), world.open().unwrap());
        let ring: BlobName = "keys/ring-0000000001.copy".parse().unwrap();
        world.store.delete(&ring).unwrap();
        let progress = Pruning { repository: &pruner, left: AtomicI32::new(2) };
        let report = checker.check(CheckLevel::Data, THREADS, &progress).unwrap();
        assert_eq!(objects(&report), [ring.as_str()]);
    }
}

#[test]
fn without_keys_whatever_the_log_names_is_missed() {
    for on_disk in ON_DISK {
        let (world, _, _) = several_groups(on_disk);
        for (name, bytes) in world.objects() {
            let named = ["packs/", "index/", "points/"];
            if !named.iter().any(|prefix| name.as_str().starts_with(prefix)) {
                continue;
            }
            world.store.delete(&name).unwrap();
            let report = keyless(&world);
            assert_eq!(objects(&report), [name.as_str()]);
            world.store.create(&name, &bytes).unwrap();
        }
        let entry: BlobName = "log/0000000002".parse().unwrap();
        world.store.delete(&entry).unwrap();
        assert_eq!(objects(&keyless(&world)), [entry.as_str()]);
    }
}

#[test]
fn a_changed_digit_of_the_marker_is_noticed() {
    for on_disk in ON_DISK {
        let (world, _, _) = several_groups(on_disk);
        let marker: BlobName = "custody-repository".parse().unwrap();
        let genuine = world.store.read(&marker).unwrap().unwrap();
        let start = genuine.len() - "2026-11-22T06:00:00Z\n".len();
        for at in start..genuine.len() {
            for digit in b'0'..=b'9' {
                let mut changed = genuine.clone();
                changed[at] = digit;
                if !genuine[at].is_ascii_digit() || changed == genuine {
                    continue;
                }
                world.store.replace(&marker, &changed).unwrap();
                let Ok(repository) = world.open() else { continue };
                assert_eq!(
                    objects(&checked(&repository, CheckLevel::Structure)),
                    [marker.as_str()]
                );
                assert_eq!(objects(&keyless(&world)), [marker.as_str()]);
            }
        }
    }
}

#[test]
fn a_marker_that_was_written_a_little_after_the_log_began_is_sound() {
    for on_disk in ON_DISK {
        let (world, _, _) = several_groups(on_disk);
        let marker: BlobName = "custody-repository".parse().unwrap();
        let text = String::from_utf8(world.store.read(&marker).unwrap().unwrap()).unwrap();
        let check = |created: &str, is_sound: bool| {
            let changed = text.replace("06:00:00Z", created);
            world.store.replace(&marker, changed.as_bytes()).unwrap();
            let report = checked(&world.open().unwrap(), CheckLevel::Structure);
            assert_eq!(report.problems.is_empty(), is_sound, "{created}: {:?}", report.problems);
        };
        check("06:00:00.012345678Z", true);
        check("06:00:00.012Z", false);
        check("06:01:00.000000001Z", false);
        check("05:59:59.999999999Z", false);
    }
}

#[test]
fn what_the_log_does_not_name_is_counted() {
    for on_disk in ON_DISK {
        let (world, _, _) = several_groups(on_disk);
        let garbage = |report: &CheckReport| (report.garbage_objects, report.garbage_bytes);
        let repository = world.open().unwrap();
        assert_eq!(garbage(&checked(&repository, CheckLevel::Structure)), (0, 0));
        assert_eq!(garbage(&keyless(&world)), (0, 0));
        let digits = "ab".repeat(32);
        for name in [format!("packs/ab/{digits}"), format!("index/{digits}")] {
            world.store.create(&name.parse().unwrap(), b"left by a crash").unwrap();
        }
        for level in LEVELS {
            let report = checked(&repository, level);
            assert_eq!((garbage(&report), report.problems.len()), ((2, 30), 0));
        }
        assert_eq!(garbage(&keyless(&world)), (2, 30));
    }
}
