//! What is left out by choice, and what is refused before anything is read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use custody_entries::Source;
use custody_sources::{FolderOptions, FolderSource, LeftOutReason, Marker};

use crate::bridge::{Collected, collect, is_root};

fn world(files: &[&str]) -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    for file in files {
        let path = temporary.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "0123456789").unwrap();
    }
    temporary
}

#[test]
fn entries_come_depth_first_in_byte_order() {
    let temporary = world(&["b/x", "a.c", "a/2", "a/10", "Z", "a-b/y"]);
    let (sink, source) = collect(&[temporary.path()], FolderOptions::default());
    let expected = ["Z", "a", "a/10", "a/2", "a-b", "a-b/y", "a.c", "b", "b/x"];
    assert_eq!(sink.paths(), expected);
    let summary = source.summary();
    assert_eq!((summary.files, summary.folders, summary.other, summary.bytes), (6, 3, 0, 60));
    assert_eq!(sink.contents["a/2"].path(), b"a/2");
}

#[test]
fn patterns_leave_out_what_they_match() {
    let files = ["a.log", "build/out", "keep.log", "src/build/out", "src/main.rs", "tmp/x/y"];
    let check = |exclude: &[&str], include: &[&str], expected: &[&str], excluded: u64| {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let options = FolderOptions {
            exclude: own(exclude),
            include: own(include),
            ..FolderOptions::default()
        };
        let temporary = world(&files);
        let (sink, source) = collect(&[temporary.path()], options);
        let files = sink.paths().into_iter().filter(|path| files.contains(path));
        assert_eq!(files.collect::<Vec<_>>(), expected);
        assert_eq!(source.summary().excluded_by_pattern, excluded);
    };
    check(&[], &[], &files, 0);
    check(&["*.log"], &["keep.log"], &files[1..], 1);
    check(&["/build"], &[], &[&files[..1], &files[2..]].concat(), 1);
    check(&["build/"], &[], &[&files[..1], &files[2..3], &files[4..]].concat(), 2);
    check(&["*"], &[], &[], 5);
    check(&["tmp"], &["tmp/x/y"], &files[..5], 1);
}

#[test]
fn the_content_of_tagged_caches_is_left_out() {
    let temporary = world(&["cache/a", "cache/below/b", "fake/a", "taken"]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache";
    fs::write(temporary.path().join("cache/CACHEDIR.TAG"), tag).unwrap();
    fs::write(temporary.path().join("fake/CACHEDIR.TAG"), "Signature: none").unwrap();
    let options = FolderOptions { exclude_caches: true, ..FolderOptions::default() };
    let (sink, source) = collect(&[temporary.path()], options);
    let expected = ["cache", "cache/CACHEDIR.TAG", "fake", "fake/CACHEDIR.TAG", "fake/a", "taken"];
    assert_eq!(sink.paths(), expected);
    assert_eq!(left_out(&source), [("cache".to_owned(), LeftOutReason::Cache)]);
    let (sink, _) = collect(&[temporary.path()], FolderOptions::default());
    assert!(sink.paths().contains(&"cache/below/b"));
}

#[test]
fn custodys_own_is_left_out_by_inode_and_by_marker() {
    let temporary = world(&["data/x", "seal", "store/custody-repository", "kept/x"]);
    let top = temporary.path();
    fs::write(top.join("kept/custody-repository"), "not ours").unwrap();
    fs::write(top.join("store/custody-repository"), "custody repository 1").unwrap();
    fs::hard_link(top.join("seal"), top.join("kept/seal under another name")).unwrap();
    std::os::unix::fs::symlink("data", top.join("link to data")).unwrap();
    let place = |path: &str| {
        let status = fs::metadata(top.join(path)).unwrap();
        (status.dev(), status.ino())
    };
    let options = FolderOptions {
        always_excluded: vec![place("link to data"), place("seal")],
        own_markers: vec![Marker {
            file_name: "custody-repository".to_owned(),
            signature: b"custody repository".to_vec(),
        }],
        ..FolderOptions::default()
    };
    let (sink, source) = collect(&[top], options.clone());
    assert_eq!(sink.paths(), ["kept", "kept/custody-repository", "kept/x", "link to data"]);
    let own = |path: &str| (path.to_owned(), LeftOutReason::Own);
    let expected = ["data", "kept/seal under another name", "seal", "store"].map(own);
    assert_eq!(left_out(&source), expected);
    assert_eq!(source.summary().left_out_count, 4);
    for path in ["data", "store"] {
        let mut source = FolderSource::new(&[top.join(path)], options.clone()).unwrap();
        let error = source.walk(&mut Collected::default()).unwrap_err();
        assert_eq!(error.code, "SourceIsOwn");
    }
}

#[test]
fn another_file_system_is_left_out_on_request() {
    // In most places /dev/shm is a file system of its own, mounted in another one.
    let (dev, shm) = (Path::new("/dev"), Path::new("/dev/shm"));
    let device = |path: &Path| fs::metadata(path).map(|status| status.dev()).ok();
    if !is_root() || device(shm).is_none() || device(dev) == device(shm) {
        return;
    }
    let options = FolderOptions { one_file_system: true, ..FolderOptions::default() };
    let (sink, source) = collect(&[dev], options);
    assert!(sink.paths().contains(&"shm"));
    assert!(!sink.paths().iter().any(|path| path.starts_with("shm/")));
    assert!(left_out(&source).contains(&("shm".to_owned(), LeftOutReason::OtherFileSystem)));
}

#[test]
fn unclear_and_missing_paths_are_refused() {
    let temporary = world(&["a/same", "b/same"]);
    let code = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(|path| temporary.path().join(path)).collect();
        let source = FolderSource::new(&paths, FolderOptions::default());
        let walked = source.and_then(|mut source| source.walk(&mut Collected::default()));
        walked.err().map(|error| error.code)
    };
    assert_eq!(code(&["a", "b"]), None);
    assert_eq!(code(&["a/.."]), None);
    assert_eq!(code(&["a/same", "b/same"]), Some("SourceNameClash"));
    assert_eq!(code(&["a", "a"]), Some("SourceNameClash"));
    assert_eq!(code(&["a", "b/.."]), Some("SourceNotFound"));
    assert_eq!(code(&["missing"]), Some("SourceNotFound"));
    assert_eq!(code(&["a", "missing"]), Some("SourceNotFound"));
    assert_eq!(code(&["a/same/below"]), Some("SourceUnreadable"));
    assert_eq!(code(&[]), Some("SourceNotFound"));
}

fn left_out(source: &FolderSource) -> Vec<(String, LeftOutReason)> {
    let show = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    source.summary().left_out.iter().map(|one| (show(&one.path), one.reason)).collect()
}
