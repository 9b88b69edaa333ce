//! Overwriting, resuming, giving up, and doing without privileges.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use custody_entries::{Entry, EntryKind, EntryName, Metadata, Target, TimeSpec};
use custody_sources::{FolderTarget, Overwrite, OwnerPolicy, TargetOptions};

use crate::bridge::{is_root, restore, writer};
use crate::tree::assert_same;

fn world() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let (source, target) = (temporary.path().join("source"), temporary.path().join("target"));
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("folder/file"), "from the point").unwrap();
    fs::write(source.join("second"), "from the point").unwrap();
    (temporary, source, target)
}

fn file(name: &str, size: u64) -> Entry {
    let metadata = Metadata { mode: 0o600, ..Metadata::default() };
    Entry { name: EntryName::new(name).unwrap(), kind: EntryKind::File { size }, metadata }
}

fn set_modified(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn what_stands_there_is_overwritten_as_the_policy_says() {
    let check = |overwrite, seconds, replaced: bool, warned: bool| {
        let (_temporary, source, target) = world();
        set_modified(&source.join("folder/file"), 1_000);
        fs::create_dir_all(target.join("folder")).unwrap();
        fs::write(target.join("folder/file"), "stood there").unwrap();
        set_modified(&target.join("folder/file"), seconds);
        let options = TargetOptions { overwrite, ..TargetOptions::default() };
        let warnings = restore(&source, &target, options);
        let content = fs::read_to_string(target.join("folder/file")).unwrap();
        assert_eq!(content == "from the point", replaced, "{overwrite:?} {seconds}");
        let expected = [("TargetExists", "folder/file".to_owned())];
        assert_eq!(warnings, expected[usize::from(!warned)..]);
        assert_eq!(fs::read_to_string(target.join("second")).unwrap(), "from the point");
    };
    check(Overwrite::Never, 999, false, true);
    check(Overwrite::Never, 1_000, false, true);
    check(Overwrite::Older, 999, true, false);
    check(Overwrite::Older, 1_000, false, false);
    check(Overwrite::Older, 1_001, false, false);
    check(Overwrite::Always, 1_001, true, false);
}

#[test]
fn a_second_restore_keeps_everything_without_a_warning() {
    let (_temporary, source, target) = world();
    std::os::unix::fs::symlink("second", source.join("link")).unwrap();
    fs::hard_link(source.join("second"), source.join("third")).unwrap();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    let before = fs::metadata(target.join("second")).unwrap().ino();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    assert_eq!(fs::metadata(target.join("second")).unwrap().ino(), before);
    assert_same(&source, &target);
}

#[test]
fn a_restore_that_was_killed_is_resumed_and_leaves_nothing_behind() {
    let (_temporary, source, target) = world();
    let mut killed = FolderTarget::open(&target, TargetOptions::default()).unwrap();
    killed.root(&Metadata::default()).unwrap();
    let mut folder = file("folder", 0);
    folder.kind = EntryKind::Folder;
    killed.folder(&folder).unwrap();
    let mut writer = writer(killed.file(&file("file", 14)).unwrap());
    writer.write_at(0, b"from").unwrap();
    let part = fs::read_dir(target.join("folder")).unwrap().next().unwrap().unwrap().path();
    // A kill runs no destructor: put back what dropping takes away.
    drop(writer);
    drop(killed);
    assert!(!part.exists(), "a dropped writer leaves nothing behind");
    fs::write(&part, "from").unwrap();
    fs::set_permissions(target.join("folder"), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    assert_same(&source, &target);
}

#[test]
fn the_temporary_file_of_a_living_restore_is_left_alone() {
    let (_temporary, source, target) = world();
    let mut living = FolderTarget::open(&target, TargetOptions::default()).unwrap();
    let mut writer = writer(living.file(&file("third", 5)).unwrap());
    writer.write_at(0, b"alive").unwrap();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    writer.finish().unwrap();
    assert_eq!(fs::read_to_string(target.join("third")).unwrap(), "alive");
    assert_eq!(fs::read_to_string(target.join("second")).unwrap(), "from the point");
}

#[test]
fn a_folder_gets_its_time_when_its_last_file_is_finished() {
    let (_temporary, _, target) = world();
    let mut restored = FolderTarget::open(
        &target,
        TargetOptions { owner: OwnerPolicy::None, ..TargetOptions::default() },
    )
    .unwrap();
    let mut folder = file("folder", 0);
    folder.kind = EntryKind::Folder;
    folder.metadata.mode = 0o500;
    folder.metadata.modified = TimeSpec { seconds: 5, nanoseconds: 7 };
    restored.folder(&folder).unwrap();
    let mut writer = writer(restored.file(&file("late", 4)).unwrap());
    restored.leave().unwrap();
    let finisher = std::thread::spawn(move || {
        writer.write_at(0, b"late").unwrap();
        writer.finish().unwrap()
    });
    assert_eq!(finisher.join().unwrap(), []);
    let status = fs::metadata(target.join("folder")).unwrap();
    assert_eq!((status.mtime(), status.mtime_nsec(), status.mode() & 0o777), (5, 7, 0o500));
    assert_eq!(restored.take_warnings(), []);
    restored.sync().unwrap();
}

#[test]
fn a_top_that_held_something_keeps_its_own_metadata() {
    let (_temporary, source, target) = world();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "x").unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(restore(&source, &target, TargetOptions::default()), []);
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn a_target_that_is_no_folder_or_cannot_be_written_to_is_refused() {
    let (_temporary, source, _) = world();
    let check = |path: &Path| {
        let error = FolderTarget::open(path, TargetOptions::default()).err().unwrap();
        assert_eq!(error.code, "TargetRefused", "{error}");
    };
    check(&source.join("second"));
    check(&source.join("second/below"));
    check(Path::new("/proc/self/restored"));
    if !is_root() {
        check(Path::new("/"));
    }
}

#[test]
fn a_write_that_the_file_system_refuses_ends_the_restore_and_leaves_nothing() {
    let (_temporary, _, target) = world();
    let mut restored = FolderTarget::open(&target, TargetOptions::default()).unwrap();
    let mut writer = writer(restored.file(&file("big", u64::MAX / 2)).unwrap());
    let error = writer.write_at(u64::MAX / 2 - 1, b"x").unwrap_err();
    assert_eq!(error.code, "TargetFailed");
    drop(writer);
    assert!(!target.join("big").exists());
}

#[test]
fn owners_follow_the_policy_and_setuid_follows_the_owner() {
    if !is_root() {
        return;
    }
    let check = |owner, name: Option<&str>, expected: (u32, u32)| {
        let (_temporary, _, target) = world();
        let options = TargetOptions { owner, ..TargetOptions::default() };
        let mut restored = FolderTarget::open(&target, options).unwrap();
        let mut program = file("program", 0);
        program.metadata.mode = 0o4755;
        program.metadata.uid = 4_321;
        program.metadata.user = name.map(|name| name.as_bytes().to_vec());
        let warnings = writer(restored.file(&program).unwrap()).finish().unwrap();
        let status = fs::metadata(target.join("program")).unwrap();
        assert_eq!((status.uid(), status.mode() & 0o7777), expected);
        assert_eq!(warnings.is_empty(), expected.1 & 0o4000 != 0);
    };
    check(OwnerPolicy::Numeric, Some("root"), (4_321, 0o4755));
    check(OwnerPolicy::Name, Some("root"), (0, 0o4755));
    check(OwnerPolicy::Name, Some("nobody of that name"), (4_321, 0o4755));
    check(OwnerPolicy::None, Some("root"), (0, 0o755));
}

#[test]
fn what_an_unprivileged_user_cannot_set_is_warned_about() {
    if is_root() {
        return;
    }
    let (_temporary, _, target) = world();
    let mut restored = FolderTarget::open(&target, TargetOptions::default()).unwrap();
    let mut program = file("program", 0);
    program.metadata.mode = 0o4755;
    let warnings = writer(restored.file(&program).unwrap()).finish().unwrap();
    let codes: Vec<_> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["TargetOwnerNotSet", "TargetModeNotSet"]);
    assert_eq!(fs::metadata(target.join("program")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(restored.warning_counts().values().sum::<u64>(), 2);
}
