//! What comes back is what was there.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use custody_sources::{FolderOptions, TargetOptions};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use crate::bridge::{collect, is_root, read, restore};
use crate::tree::assert_same;

fn check(make: impl FnOnce(&Path)) {
    let temporary = tempfile::tempdir().unwrap();
    let (source, target) = (temporary.path().join("source"), temporary.path().join("target"));
    fs::create_dir(&source).unwrap();
    make(&source);
    let warnings = restore(&source, &target, TargetOptions::default());
    assert_eq!(warnings, []);
    assert_same(&source, &target);
}

fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) {
    let stamp = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_empty_folder() {
    check(|top| set_mode(top, 0o751));
}

#[test]
fn files_of_every_length() {
    check(|top| {
        for length in [0, 1, 511, 4096, 69_999, 70_000, 70_001, 1_000_000] {
            let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            fs::write(top.join(format!("{length}")), content).unwrap();
        }
    });
}

#[test]
fn names_of_every_kind() {
    check(|top| {
        let longest = [b'x'; 255];
        let names: [&[u8]; 12] = [
            b"new\nline",
            b"\x1b[31mred",
            b"\xff\xfe not UTF-8 \x80",
            b"trailing dot.",
            b"trailing space ",
            b"CON",
            b"case",
            b"CASE",
            "\u{202e}reversed".as_bytes(),
            "e\u{301}".as_bytes(),
            "\u{e9}".as_bytes(),
            &longest,
        ];
        for name in names {
            let folder = top.join(OsStr::from_bytes(name));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
        }
    });
}

#[test]
fn times_to_the_nanosecond_and_modes() {
    check(|top| {
        let mut path = top.to_path_buf();
        for (seconds, nanoseconds, mode) in
            [(0, 1, 0o600), (-86_400, 999_999_999, 0o444), (4_102_444_800, 123_456_789, 0o4755)]
        {
            path = path.join("folder");
            fs::create_dir(&path).unwrap();
            let file = path.join("file");
            fs::write(&file, "x").unwrap();
            set_mode(&file, mode);
            set_modified(&file, seconds, nanoseconds);
        }
        symlink("anywhere", top.join("link")).unwrap();
        set_modified(&top.join("link"), 77, 7);
        set_mode(&path, 0o2711);
        set_modified(&path, 5, 5);
        set_modified(path.parent().unwrap(), 6, 6);
        set_modified(top, 7, 7);
    });
}

#[test]
fn folders_that_cannot_be_written_to() {
    check(|top| {
        fs::create_dir(top.join("locked")).unwrap();
        fs::write(top.join("locked/file"), "x").unwrap();
        set_mode(&top.join("locked"), 0o555);
    });
}

#[test]
fn links_pipes_sockets_and_devices() {
    check(|top| {
        symlink("/etc/passwd", top.join("absolute")).unwrap();
        symlink("../../..", top.join("upward")).unwrap();
        symlink(OsStr::from_bytes(b"no\xffwhere\n"), top.join("dangling")).unwrap();
        mknodat(CWD, top.join("pipe"), FileType::Fifo, Mode::from_bits_retain(0o640), 0).unwrap();
        drop(UnixListener::bind(top.join("socket")).unwrap());
        if is_root() {
            let mode = Mode::from_bits_retain(0o620);
            let device = makedev(1, 3);
            mknodat(CWD, top.join("null"), FileType::CharacterDevice, mode, device).unwrap();
            let device = makedev(259, 300_000);
            mknodat(CWD, top.join("disk"), FileType::BlockDevice, mode, device).unwrap();
        }
    });
}

#[test]
fn hard_links_within_and_across_folders() {
    check(|top| {
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/one"), "shared").unwrap();
        fs::hard_link(top.join("a/one"), top.join("a/b/two")).unwrap();
        fs::hard_link(top.join("a/one"), top.join("three")).unwrap();
        symlink("target", top.join("a/link")).unwrap();
        fs::hard_link(top.join("a/link"), top.join("link")).unwrap();
        mknodat(CWD, top.join("a/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::hard_link(top.join("a/pipe"), top.join("pipe")).unwrap();
    });
}

#[test]
fn holes_stay_holes() {
    const MEBIBYTE: u64 = 1024 * 1024;
    check(|top| {
        for (name, data, length) in [
            ("all hole", vec![], 8 * MEBIBYTE),
            ("hole first", vec![4 * MEBIBYTE], 4 * MEBIBYTE + 5),
            ("hole last", vec![0], 4 * MEBIBYTE),
            ("between", vec![0, 2 * MEBIBYTE, 5 * MEBIBYTE], 7 * MEBIBYTE),
        ] {
            let file = File::create(top.join(name)).unwrap();
            for offset in data {
                file.write_all_at(b"data!", offset).unwrap();
            }
            file.set_len(length).unwrap();
        }
    });
}

#[test]
fn a_sparse_terabyte_is_not_read() {
    let temporary = tempfile::tempdir().unwrap();
    let file = File::create(temporary.path().join("big")).unwrap();
    file.set_len(1 << 40).unwrap();
    let (sink, _) = collect(&[temporary.path()], FolderOptions::default());
    let mut reader = sink.contents["big"].open().unwrap();
    let segment = reader.next(&mut [0; 16]).unwrap();
    assert_eq!(segment, custody_entries::Segment::Hole(1 << 40));
}

#[test]
fn attributes_and_acls() {
    // Version 2; owner rwx, user 1 r--, group r--, mask rw-, others ---.
    let acl: Vec<u8> = [
        2_u32.to_le_bytes().to_vec(),
        acl_entry(0x01, 7, u32::MAX),
        acl_entry(0x02, 4, 1),
        acl_entry(0x04, 4, u32::MAX),
        acl_entry(0x10, 6, u32::MAX),
        acl_entry(0x20, 0, u32::MAX),
    ]
    .concat();
    check(move |top| {
        fs::create_dir(top.join("folder")).unwrap();
        fs::write(top.join("folder/inherits"), "x").unwrap();
        fs::write(top.join("file"), "x").unwrap();
        fs::write(top.join("plain"), "x").unwrap();
        for path in ["", "folder", "file"] {
            xattr::set(top.join(path), "user.comment", b"a \0 value \xff").unwrap();
            xattr::set(top.join(path), "user.empty", b"").unwrap();
        }
        xattr::set(top.join("file"), "user.long", &[7; 2_000]).unwrap();
        xattr::set(top.join("file"), "system.posix_acl_access", &acl).unwrap();
        xattr::set(top.join("folder"), "system.posix_acl_default", &acl).unwrap();
        xattr::set(top.join("folder"), "system.posix_acl_access", &acl).unwrap();
        fs::write(top.join("folder/inherited"), "x").unwrap();
        fs::create_dir(top.join("folder/below")).unwrap();
        if is_root() {
            xattr::set(top.join("file"), "trusted.secret", b"root's").unwrap();
            // Version 2, effective, CAP_NET_RAW permitted.
            let capability = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
            xattr::set(top.join("plain"), "security.capability", &capability).unwrap();
            symlink("anywhere", top.join("link")).unwrap();
            xattr::set(top.join("link"), "trusted.link", b"on the link itself").unwrap();
        }
    });
}

fn acl_entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
}

#[test]
fn owners_and_their_setuid_programs() {
    if !is_root() {
        return;
    }
    check(|top| {
        let chown = |name: &str, user, group| {
            std::os::unix::fs::lchown(top.join(name), Some(user), Some(group)).unwrap();
        };
        fs::write(top.join("program"), "x").unwrap();
        chown("program", 12_345, 54_321);
        set_mode(&top.join("program"), 0o6755);
        fs::create_dir(top.join("folder")).unwrap();
        chown("folder", 1, 2);
        set_mode(&top.join("folder"), 0o3770);
        symlink("x", top.join("link")).unwrap();
        chown("link", 3, 4);
    });
}

#[test]
fn owners_names_are_known() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("file"), "x").unwrap();
    let (sink, _) = collect(&[temporary.path()], FolderOptions::default());
    let metadata = &sink.entry("file").metadata;
    if is_root() {
        assert_eq!(metadata.user.as_deref(), Some(&b"root"[..]));
        assert_eq!(metadata.group.as_deref(), Some(&b"root"[..]));
    }
    assert_eq!(metadata.uid, rustix::process::geteuid().as_raw());
}

#[test]
fn one_file_and_several_paths_lie_in_a_made_up_top() {
    let temporary = tempfile::tempdir().unwrap();
    let top = temporary.path();
    fs::create_dir_all(top.join("x/photos/2026")).unwrap();
    fs::write(top.join("x/photos/2026/a"), "one").unwrap();
    fs::write(top.join("letter"), "two").unwrap();
    symlink("letter", top.join("link")).unwrap();
    let check = |paths: &[&str], expected: &[&str], has_root: bool| {
        let paths: Vec<_> = paths.iter().map(|path| top.join(path)).collect();
        let paths: Vec<_> = paths.iter().map(AsRef::as_ref).collect();
        let (sink, _) = collect(&paths, FolderOptions::default());
        assert_eq!(sink.paths(), expected);
        assert_eq!(sink.root.is_some(), has_root);
        for (path, content) in &sink.contents {
            assert_eq!(content.path(), path.as_bytes());
            assert_eq!(read(&**content).0.len(), 3);
        }
    };
    check(&["x/photos"], &["2026", "2026/a"], true);
    check(&["letter"], &["letter"], false);
    check(&["link"], &["link"], false);
    let both = ["letter", "photos", "photos/2026", "photos/2026/a"];
    check(&["x/photos", "letter"], &both, false);
}
