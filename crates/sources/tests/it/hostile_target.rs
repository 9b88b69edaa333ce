//! A target that someone prepared, and entries that want to leave it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use custody_entries::{Entry, EntryKind, EntryName, Landing, Metadata, Target};
use custody_sources::{FolderTarget, Overwrite, OwnerPolicy, TargetOptions};
use rustix::fs::{CWD, FileType, Mode};

use crate::bridge::{restore, shown, writer};

/// A source with files in two folders, a target and a folder outside that must stay as it is.
fn world() -> (tempfile::TempDir, [PathBuf; 3]) {
    let temporary = tempfile::tempdir().unwrap();
    let [source, target, outside] =
        ["source", "target", "outside"].map(|name| temporary.path().join(name));
    for folder in ["a/below", "b"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("file"), "from the point").unwrap();
    }
    for folder in [&target, &outside] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(outside.join("file"), "outside").unwrap();
    (temporary, [source, target, outside])
}

fn entry(name: &str, kind: EntryKind) -> Entry {
    let metadata = Metadata { mode: 0o755, ..Metadata::default() };
    Entry { name: EntryName::new(name).unwrap(), kind, metadata }
}

/// Files stay with whoever runs the tests.
const OWN: TargetOptions =
    TargetOptions { overwrite: Overwrite::Never, owner: OwnerPolicy::None, compare: false };

const EVERY_POLICY: [Overwrite; 3] = [Overwrite::Never, Overwrite::Older, Overwrite::Always];

#[test]
fn a_planted_link_in_place_of_a_folder_is_refused_and_the_rest_restored() {
    for overwrite in EVERY_POLICY {
        let (_temporary, [source, target, outside]) = world();
        symlink(&outside, target.join("a")).unwrap();
        let options = TargetOptions { overwrite, ..TargetOptions::default() };
        let warnings = restore(&source, &target, options);
        assert_eq!(warnings, [("TargetLinkInTheWay", "a".to_owned())]);
        assert_eq!(fs::read_to_string(target.join("b/file")).unwrap(), "from the point");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
    }
}

#[test]
fn a_planted_link_in_place_of_a_file_is_kept_or_replaced_but_never_written_through() {
    for overwrite in EVERY_POLICY {
        let (_temporary, [source, target, outside]) = world();
        fs::create_dir(target.join("b")).unwrap();
        symlink(outside.join("file"), target.join("b/file")).unwrap();
        let options = TargetOptions { overwrite, ..TargetOptions::default() };
        let warnings = restore(&source, &target, options);
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
        let is_link = fs::symlink_metadata(target.join("b/file")).unwrap().is_symlink();
        assert_eq!(is_link, overwrite != Overwrite::Always);
        let is_warned = warnings == [("TargetExists", "b/file".to_owned())];
        assert_eq!(is_warned, overwrite == Overwrite::Never, "{warnings:?}");
    }
}

#[test]
fn a_folder_swapped_for_a_link_after_it_was_entered_leads_nowhere() {
    let (_temporary, [_, target, outside]) = world();
    let mut restored = FolderTarget::open(&target, OWN).unwrap();
    restored.folder(&entry("a", EntryKind::Folder)).unwrap();
    fs::rename(target.join("a"), target.join("moved")).unwrap();
    symlink(&outside, target.join("a")).unwrap();
    let file = entry("new", EntryKind::File { size: 3 });
    let mut writer = writer(restored.file(&file).unwrap());
    writer.write_at(0, b"abc").unwrap();
    writer.finish().unwrap();
    restored.leave().unwrap();
    assert!(!outside.join("new").exists());
    assert_eq!(fs::read_to_string(target.join("moved/new")).unwrap(), "abc");
}

#[test]
fn hard_links_lead_only_to_what_was_restored() {
    let (_temporary, [_, target, outside]) = world();
    fs::write(target.join("kept"), "another file of another time").unwrap();
    symlink(&outside, target.join("link")).unwrap();
    let mut restored = FolderTarget::open(&target, OWN).unwrap();
    let file = entry("hard", EntryKind::File { size: 7 });
    for earlier in ["../outside/file", "/etc/passwd", "a//b", ".", "", "link/file", "kept", "none"]
    {
        assert_eq!(restored.hard_link(&file, earlier.as_bytes()).unwrap(), Landing::Skipped);
        let warnings = shown(&restored.take_warnings());
        assert_eq!(warnings, [("TargetLinkNotMade", "hard".to_owned())], "{earlier}");
        assert!(!target.join("hard").exists());
    }
}

#[test]
fn links_of_a_point_lead_outside_but_nothing_is_restored_through_them() {
    let (_temporary, [_, target, outside]) = world();
    let mut restored = FolderTarget::open(&target, OWN).unwrap();
    let link = entry("a", EntryKind::Symlink { target: b"../outside".to_vec() });
    assert_eq!(restored.other(&link).unwrap(), Landing::Made);
    assert_eq!(restored.folder(&entry("a", EntryKind::Folder)).unwrap(), Landing::Skipped);
    assert_eq!(shown(&restored.take_warnings()), [("TargetLinkInTheWay", "a".to_owned())]);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
}

#[test]
fn a_file_in_place_of_a_folder_and_the_reverse_lose_nothing_unasked() {
    let (_temporary, [source, target, _]) = world();
    fs::write(target.join("a"), "a file").unwrap();
    fs::create_dir_all(target.join("b/file/full")).unwrap();
    let kept = ["a", "b/file"].map(|path| ("TargetExists", path.to_owned()));
    assert_eq!(restore(&source, &target, TargetOptions::default()), kept);
    let options = TargetOptions { overwrite: Overwrite::Always, ..TargetOptions::default() };
    assert_eq!(restore(&source, &target, options), kept[1..]);
    assert!(target.join("a/below/file").is_file());
    assert!(target.join("b/file/full").is_dir());
}

#[test]
fn only_files_below_the_top_are_read_back() {
    let (_temporary, [_, target, outside]) = world();
    fs::create_dir(target.join("a")).unwrap();
    fs::write(target.join("a/file"), "restored").unwrap();
    symlink("file", target.join("a/link")).unwrap();
    symlink(&outside, target.join("out")).unwrap();
    let pipe = target.join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let files = FolderTarget::open(&target, OWN).unwrap().placed_files().unwrap();
    let read = |path: &[u8], offset| {
        let mut room = [0; 4];
        files.read(path, offset, &mut room).then_some(room)
    };
    assert_eq!(read(b"a/file", 0), Some(*b"rest"));
    assert_eq!(read(b"a/file", 4), Some(*b"ored"));
    assert_eq!(read(b"a/file", 5), None, "it ends before");
    for path in ["a", "a/link", "out/file", "../outside/file", "/etc/hostname", "none", "pipe"] {
        assert_eq!(read(path.as_bytes(), 0), None, "{path}");
    }
}
