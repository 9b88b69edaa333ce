//! A tree that changes while it is read, against the reader.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use custody_entries::{EntryKind, Segment, Settlement};
use custody_sources::FolderOptions;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::bridge::{collect, collect_while, is_root, read};

const SECRET: &str = "outside the source";

/// A source with `folder/file` and `other/file`, and a folder outside with the same names.
fn world() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let (source, outside) = (temporary.path().join("source"), temporary.path().join("outside"));
    for folder in ["folder", "other"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("file"), "inside").unwrap();
    }
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), SECRET).unwrap();
    (temporary, source, outside)
}

#[test]
fn a_folder_swapped_for_a_link_before_it_is_entered_is_told_as_a_link() {
    let (_temporary, source, outside) = world();
    let other = source.join("other");
    let swap = move |path: &str| {
        if path == "folder" {
            fs::remove_dir_all(&other).unwrap();
            symlink(&outside, &other).unwrap();
        }
    };
    let (sink, _) = collect_while(&[&source], FolderOptions::default(), Some(Box::new(swap)));
    assert_eq!(sink.paths(), ["folder", "folder/file", "other"]);
    assert!(matches!(sink.entry("other").kind, EntryKind::Symlink { .. }));
}

#[test]
fn a_folder_swapped_for_a_link_while_inside_leads_nowhere_else() {
    let (_temporary, source, outside) = world();
    let folder = source.join("folder");
    let swap = {
        let (source, folder) = (source.clone(), folder.clone());
        move |path: &str| {
            if path == "folder" {
                fs::rename(&folder, source.join("zz moved")).unwrap();
                symlink(&outside, &folder).unwrap();
            }
        }
    };
    let (sink, _) = collect_while(&[&source], FolderOptions::default(), Some(Box::new(swap)));
    // The folder that was entered is still the one that is read, wherever it lies now.
    assert_eq!(read(&*sink.contents["folder/file"]).0, b"inside");
}

#[test]
fn a_folder_opened_again_must_be_the_same() {
    let (_temporary, source, outside) = world();
    // More folders than are kept open, so that the first ones must be opened again.
    for number in 0..300 {
        let folder = source.join(format!("x{number:03}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "inside").unwrap();
    }
    let (sink, _) = collect(&[&source], FolderOptions::default());
    fs::rename(source.join("folder"), source.join("zz moved")).unwrap();
    symlink(&outside, source.join("folder")).unwrap();
    fs::rename(source.join("other"), source.join("zz moved too")).unwrap();
    fs::rename(&outside, source.join("other")).unwrap();
    for path in ["folder/file", "other/file"] {
        let error = sink.contents[path].open().err().unwrap();
        assert_eq!(error.code, "SourceEntryVanished", "{error}");
    }
    for number in 0..300 {
        assert_eq!(read(&*sink.contents[&format!("x{number:03}/file")]).0, b"inside");
    }
}

#[test]
fn a_file_replaced_before_it_is_opened_is_never_followed_nor_waited_for() {
    let check = |replace: &dyn Fn(&Path)| {
        let (_temporary, source, outside) = world();
        symlink(outside.join("file"), source.join("link to secret")).unwrap();
        let (sink, _) = collect(&[&source], FolderOptions::default());
        let file = source.join("folder/file");
        fs::remove_file(&file).unwrap();
        replace(&file);
        let error = sink.contents["folder/file"].open().err().unwrap();
        assert_eq!(error.code, "SourceEntryVanished", "{error}");
        assert!(error.message.contains("folder/file"), "{error}");
    };
    check(&|_| ());
    check(&|file| symlink("../../outside/file", file).unwrap());
    check(&|file| mknodat(CWD, file, FileType::Fifo, Mode::RWXU, 0).unwrap());
    check(&|file| fs::create_dir(file).unwrap());
}

#[test]
fn a_file_that_changes_while_it_is_read_does_not_settle() {
    let check = |change: &dyn Fn(&Path), expected: Settlement| {
        let (_temporary, source, _) = world();
        let file = source.join("folder/file");
        fs::write(&file, vec![1; 50_000]).unwrap();
        let (sink, _) = collect(&[&source], FolderOptions::default());
        let mut reader = sink.contents["folder/file"].open().unwrap();
        let mut buffer = vec![0; 10_000];
        assert_eq!(reader.next(&mut buffer).unwrap(), Segment::Data(10_000));
        change(&file);
        let mut total = 10_000;
        while let Segment::Data(length) = reader.next(&mut buffer).unwrap() {
            total += length;
        }
        assert!(total <= 50_000, "what is appended is not read");
        assert_eq!(reader.settle().unwrap(), expected);
    };
    let append = |file: &Path, text: &str| {
        fs::OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let shrink = |file: &Path| {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(20_000).unwrap();
    };
    let rewrite_with_old_time = |file: &Path| {
        let time = fs::metadata(file).unwrap().modified().unwrap();
        fs::write(file, vec![2; 50_000]).unwrap();
        fs::OpenOptions::new().write(true).open(file).unwrap().set_modified(time).unwrap();
    };
    check(&|_| (), Settlement::Steady);
    check(&|file| append(file, "more"), Settlement::Changed);
    check(&shrink, Settlement::Changed);
    check(&rewrite_with_old_time, Settlement::Changed);
    check(&|file| drop(fs::read(file).unwrap()), Settlement::Steady);
}

#[test]
fn a_file_replaced_by_another_before_it_is_opened_does_not_settle() {
    let (_temporary, source, _) = world();
    let (sink, _) = collect(&[&source], FolderOptions::default());
    let file = source.join("folder/file");
    fs::write(source.join("new"), "inside").unwrap();
    fs::rename(source.join("new"), &file).unwrap();
    assert_eq!(read(&*sink.contents["folder/file"]).2, Settlement::Changed);
}

#[test]
fn entries_that_vanish_meanwhile_are_warned_about_and_the_rest_is_taken() {
    let (_temporary, source, _) = world();
    let gone = source.join("other");
    let remove = move |path: &str| {
        if path == "folder" {
            fs::remove_dir_all(&gone).unwrap();
        }
    };
    fs::write(source.join("z"), "last").unwrap();
    let (sink, walked) =
        collect_while(&[&source], FolderOptions::default(), Some(Box::new(remove)));
    assert_eq!(sink.paths(), ["folder", "folder/file", "z"]);
    assert_eq!(sink.warned(), [("SourceEntryVanished", "other".to_owned())]);
    assert_eq!(walked.summary().warnings, 1);
}

#[test]
fn what_cannot_be_read_is_warned_about_and_the_rest_is_taken() {
    if is_root() {
        return; // root may read everything
    }
    let (_temporary, source, _) = world();
    let lock = |path: &str| {
        fs::set_permissions(source.join(path), Permissions::from_mode(0o000)).unwrap();
    };
    lock("other");
    lock("folder/file");
    let (sink, _) = collect(&[&source], FolderOptions::default());
    assert_eq!(sink.paths(), ["folder", "folder/file"]);
    assert_eq!(sink.warned(), [("SourceEntryUnreadable", "other".to_owned())]);
    let error = sink.contents["folder/file"].open().err().unwrap();
    assert_eq!(error.code, "SourceEntryUnreadable");
}
