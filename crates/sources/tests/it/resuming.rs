//! Restoring into a tree that is partly there: only what differs is written, and a restore that was
//! killed is gone on with.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use custody_entries::{
    Entry, EntryKind, EntryName, FilePlace, FileWriter, Metadata, StandingFile, Target, TimeSpec,
};
use custody_sources::{FolderTarget, Overwrite, OwnerPolicy, TargetOptions};

use crate::bridge::{is_root, restore, shown, writer};
use crate::tree::assert_same;

/// Longer than what is written again without looking.
const LARGE: u64 = 17 << 20;
const PART: usize = 1 << 16;

fn target() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("target");
    (temporary, target)
}

fn options(overwrite: Overwrite, compare: bool) -> TargetOptions {
    TargetOptions { overwrite, compare, owner: OwnerPolicy::None }
}

fn large() -> Entry {
    let modified = TimeSpec { seconds: 1_000, nanoseconds: 7 };
    let metadata = Metadata { mode: 0o640, modified, ..Metadata::default() };
    Entry {
        name: EntryName::new("large").unwrap(),
        kind: EntryKind::File { size: LARGE },
        metadata,
    }
}

/// What `large` holds at a part.
fn part(number: u64) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap() + 1; PART]
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes all parts but the last ones of `large`, each only if it is not there; how many were.
fn write(writer: &mut dyn FileWriter, parts: u64) -> u64 {
    let mut there = 0;
    for number in 0..parts {
        let offset = number * PART as u64;
        if writer.take_over(offset, PART, &mut |bytes| bytes == part(number)).unwrap() {
            there += 1;
        } else {
            writer.write_at(offset, &part(number)).unwrap();
        }
    }
    let hole = parts * PART as u64;
    writer.hole(hole, LARGE - hole).unwrap();
    there
}

/// Leaves what a restore leaves that stops after so many parts.
fn interrupt(target: &Path, parts: u64) {
    let mut stopped = FolderTarget::open(target, options(Overwrite::Never, false)).unwrap();
    let mut writer = writer(stopped.file(&large()).unwrap());
    for number in 0..parts {
        writer.write_at(number * PART as u64, &part(number)).unwrap();
    }
    writer.suspend();
}

#[test]
fn a_large_file_is_gone_on_with_and_every_part_of_it_is_looked_at() {
    const PARTS: u64 = 270;
    let check = |spoil: &dyn Fn(&fs::File), expected: u64| {
        let (_temporary, target) = target();
        interrupt(&target, 200);
        let left = names(&target);
        assert_eq!(left.len(), 2, "{left:?}");
        let large_left = left.iter().find(|name| name.contains("-large-")).unwrap();
        let half = fs::File::options().write(true).open(target.join(large_left)).unwrap();
        spoil(&half);
        let mut resumed = FolderTarget::open(&target, options(Overwrite::Never, false)).unwrap();
        let mut writer = writer(resumed.file(&large()).unwrap());
        assert_eq!(write(&mut *writer, PARTS), expected);
        assert_eq!(writer.finish().unwrap(), []);
        assert_eq!(resumed.complete(), []);
        let file = target.join("large");
        let bytes = fs::read(&file).unwrap();
        assert_eq!(bytes.len() as u64, LARGE);
        for number in 0..PARTS {
            let at = usize::try_from(number).unwrap() * PART;
            assert!(bytes[at..at + PART] == part(number), "part {number}");
        }
        let rest = usize::try_from(PARTS).unwrap() * PART;
        assert!(bytes[rest..].iter().all(|byte| *byte == 0), "the hole is one");
        assert_eq!(fs::metadata(&file).unwrap().mtime(), 1_000);
        assert_eq!(names(&target), ["large"]);
    };
    check(&|_| (), 200);
    check(&|half| half.write_all_at(b"wrong", 3).unwrap(), 199);
    check(&|half| half.set_len(100 * PART as u64 + 5).unwrap(), 100);
    // What lies where a hole belongs, and beyond the end, goes.
    check(&|half| half.write_all_at(b"junk", 271 * PART as u64).unwrap(), 200);
    check(&|half| half.set_len(LARGE * 2).unwrap(), 200);
    // Others may have written to it: nothing of it is taken.
    check(&|half| half.set_permissions(Permissions::from_mode(0o666)).unwrap(), 0);
}

#[test]
fn what_is_left_of_a_large_file_goes_if_the_restore_does_not_want_it() {
    let (_temporary, target) = target();
    interrupt(&target, 3);
    let mut other = FolderTarget::open(&target, options(Overwrite::Never, false)).unwrap();
    let mut small = large();
    small.kind = EntryKind::File { size: 1 };
    let mut writer = writer(other.file(&small).unwrap());
    writer.write_at(0, b"x").unwrap();
    writer.finish().unwrap();
    assert_eq!(names(&target).len(), 3, "it is kept until the end");
    assert_eq!(other.complete(), []);
    assert_eq!(names(&target), ["large"]);
}

#[test]
fn two_restores_of_one_large_file_do_not_share_what_is_half_written() {
    let (_temporary, target) = target();
    let open = || FolderTarget::open(&target, options(Overwrite::Always, false)).unwrap();
    let (mut one, mut other) = (open(), open());
    let (mut first, mut second) =
        (writer(one.file(&large()).unwrap()), writer(other.file(&large()).unwrap()));
    assert_eq!(write(&mut *first, 1), 0);
    assert_eq!(write(&mut *second, 2), 0);
    assert_eq!(second.finish().unwrap(), []);
    assert_eq!(shown(&first.finish().unwrap()), [("TargetExists", "large".to_owned())]);
    assert_eq!((one.complete(), other.complete()), (Vec::new(), Vec::new()));
    assert_eq!(names(&target), ["large"]);
    let bytes = fs::read(target.join("large")).unwrap();
    assert!(bytes[..2 * PART] == [part(0), part(1)].concat(), "the first to end, whole");
}

/// A file of the right size, time and permissions, with this content.
fn stand(target: &Path, bytes: &[u8]) -> (PathBuf, Entry) {
    fs::create_dir_all(target).unwrap();
    let path = target.join("file");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let modified = TimeSpec { seconds: 1_000, nanoseconds: 0 };
    let metadata = Metadata { mode: 0o640, modified, ..Metadata::default() };
    let kind = EntryKind::File { size: bytes.len() as u64 };
    (path, Entry { name: EntryName::new("file").unwrap(), kind, metadata })
}

fn standing(place: FilePlace) -> Box<dyn StandingFile> {
    match place {
        FilePlace::Standing(standing) => standing,
        _ => panic!("it is not compared"),
    }
}

#[test]
fn a_file_that_looks_right_is_compared_if_that_is_asked_for() {
    for overwrite in [Overwrite::Never, Overwrite::Older, Overwrite::Always] {
        let (_temporary, target) = target();
        let (path, entry) = stand(&target, b"right\0\0\0");
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        let mut plain = FolderTarget::open(&target, options(overwrite, false)).unwrap();
        assert!(matches!(plain.file(&entry).unwrap(), FilePlace::TakenOver), "{overwrite:?}");
        drop(plain);
        let mut comparing = FolderTarget::open(&target, options(overwrite, true)).unwrap();
        let mut found = standing(comparing.file(&entry).unwrap());
        assert!(found.holds(0, 5, &mut |bytes| bytes == b"right"));
        assert!(!found.holds(0, 5, &mut |bytes| bytes == b"wrong"));
        assert!(!found.holds(0, 9, &mut |_| true), "it is not that long");
        assert!(found.is_hollow(5, 3) && !found.is_hollow(4, 4) && !found.is_hollow(5, 4));
        assert_eq!(found.keep().unwrap(), []);
        assert_eq!(inode(), before);
        let found = standing(comparing.file(&entry).unwrap());
        let replaced = found.replace().unwrap();
        assert_eq!(replaced.is_some(), overwrite == Overwrite::Always);
        if let Some(mut writer) = replaced {
            writer.write_at(0, b"mended").unwrap();
            writer.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"mended\0\0");
        } else {
            let warned = shown(&comparing.take_warnings());
            assert_eq!(warned, [("TargetExists", "file".to_owned())]);
            assert_eq!(inode(), before);
        }
    }
}

/// What stood in a file before a power cut may be zeros of the right length; its time tells nothing.
#[test]
fn after_a_power_cut_everything_is_compared_unasked() {
    let check = |mark: Option<&str>, compares: bool, mends: bool| {
        let (_temporary, target) = target();
        let (_, entry) = stand(&target, b"0000");
        let mut first = FolderTarget::open(&target, options(Overwrite::Never, false)).unwrap();
        first.folder(&Entry { kind: EntryKind::Folder, ..large() }).unwrap();
        drop(first);
        let name = target.join(".custody-restore-unfinished");
        let own = fs::read_to_string(&name).unwrap();
        assert!(own.starts_with("boot ") && own.len() > 30, "{own}");
        match mark {
            Some(mark) => fs::write(&name, mark).unwrap(),
            None => fs::remove_file(&name).unwrap(),
        }
        let mut resumed = FolderTarget::open(&target, options(Overwrite::Never, false)).unwrap();
        assert_eq!(resumed.compares(), compares, "{mark:?}");
        if compares {
            let replaced = standing(resumed.file(&entry).unwrap()).replace().unwrap();
            assert_eq!(replaced.is_some(), mends, "{mark:?}");
        }
        resumed.complete();
        assert!(!name.exists());
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    check(None, false, false);
    check(Some(&format!("boot {boot}")), false, false);
    check(Some("boot another\n"), true, false);
    check(Some("top own\nboot another\n"), true, true);
    check(Some(""), true, true);
}

#[test]
fn metadata_alone_are_set_without_writing_and_never_through_another_name() {
    let (_temporary, target) = target();
    let (path, mut entry) = stand(&target, b"content");
    entry.metadata.mode = 0o600;
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let inode = fs::metadata(&path).unwrap().ino();
    let place = |overwrite| {
        let mut target = FolderTarget::open(&target, options(overwrite, false)).unwrap();
        target.file(&entry).unwrap()
    };
    assert!(matches!(place(Overwrite::Never), FilePlace::Kept));
    assert!(matches!(place(Overwrite::Older), FilePlace::Kept));
    assert_eq!(mode(), 0o640);
    let outside = target.parent().unwrap().join("outside");
    fs::hard_link(&path, &outside).unwrap();
    assert!(matches!(place(Overwrite::Always), FilePlace::Replaced(_)));
    assert_eq!(mode(), 0o640, "nothing but a new file may look otherwise");
    fs::remove_file(outside).unwrap();
    assert!(matches!(place(Overwrite::Always), FilePlace::TakenOver));
    assert_eq!((mode(), fs::metadata(&path).unwrap().ino()), (0o600, inode));
}

/// The replaced file's own bytes are used as far as they are right, and it stands until the new
/// one does.
#[test]
fn a_replaced_file_gives_what_of_it_is_right() {
    let (_temporary, target) = target();
    fs::create_dir(&target).unwrap();
    let path = target.join("large");
    let mut old = Vec::new();
    for number in 0..100 {
        old.extend(if number % 10 == 3 { vec![255; PART] } else { part(number) });
    }
    fs::write(&path, &old).unwrap();
    let mut replacing = FolderTarget::open(&target, options(Overwrite::Always, false)).unwrap();
    let FilePlace::Replaced(mut writer) = replacing.file(&large()).unwrap() else {
        panic!("it is replaced")
    };
    assert_eq!(write(&mut *writer, 150), 90);
    assert!(fs::read(&path).unwrap() == old, "it stands until the new one does");
    writer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!((0..150).all(|number| {
        let at = usize::try_from(number).unwrap() * PART;
        bytes[at..at + PART] == part(number)
    }));
}

/// A whole tree, with every kind of change that others may have made to it in between.
#[test]
fn a_tree_is_made_right_again_and_what_is_right_is_not_touched() {
    let temporary = tempfile::tempdir().unwrap();
    let (source, target) = (temporary.path().join("source"), temporary.path().join("target"));
    fs::create_dir_all(source.join("a/b")).unwrap();
    for file in ["a/same", "a/longer", "a/younger", "a/gone", "a/b/mode", "owner"] {
        fs::write(source.join(file), file).unwrap();
    }
    std::os::unix::fs::symlink("same", source.join("a/link")).unwrap();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    let same = fs::metadata(target.join("a/same")).unwrap();
    let link = fs::symlink_metadata(target.join("a/link")).unwrap();
    fs::write(target.join("a/longer"), "much longer than before").unwrap();
    fs::write(target.join("a/younger"), "a/yOunger").unwrap();
    fs::remove_file(target.join("a/gone")).unwrap();
    fs::set_permissions(target.join("a/b/mode"), Permissions::from_mode(0o777)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(target.join("owner"), Some(1234), Some(1234)).unwrap();
    }
    let always = TargetOptions { overwrite: Overwrite::Always, ..TargetOptions::default() };
    assert_eq!(restore(&source, &target, always), []);
    assert_same(&source, &target);
    let after = fs::metadata(target.join("a/same")).unwrap();
    assert_eq!((after.ino(), after.ctime_nsec()), (same.ino(), same.ctime_nsec()));
    assert_eq!(fs::symlink_metadata(target.join("a/link")).unwrap().ino(), link.ino());
}
