//! What is restored is what was there.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::site::{Site, files};

fn shell(folder: &Path, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(folder).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Everything that a Linux file system can hold (as root).
fn furnish(source: &Path) {
    fs::write(source.join("empty"), b"").unwrap();
    fs::write(source.join("one"), b"1").unwrap();
    fs::write(source.join("big"), vec![7_u8; 3_000_000]).unwrap();
    fs::write(source.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\xfe")), b"x").unwrap();
    fs::write(source.join("new\nline"), b"x").unwrap();
    fs::write(source.join("esc\x1b[31m"), b"x").unwrap();
    fs::write(source.join("n".repeat(255)), b"x").unwrap();
    fs::create_dir_all(source.join("a/b/c/d")).unwrap();
    fs::write(source.join("a/b/c/d/deep"), b"deep").unwrap();
    symlink("a/b", source.join("link")).unwrap();
    symlink("../outside", source.join("dangling")).unwrap();
    fs::hard_link(source.join("big"), source.join("a/hard")).unwrap();
    fs::set_permissions(source.join("one"), fs::Permissions::from_mode(0o4750)).unwrap();
    let script = "
        truncate -s 20M sparse && printf middle | dd of=sparse bs=1 seek=10000000 conv=notrunc 2>/dev/null
        mkfifo fifo
        mknod null c 1 3
        setfattr -n user.comment -v 'a comment' one
        setfattr -n user.folder -v yes a
        setfacl -m u:1234:r one
        setfacl -d -m g:4321:rx a
        chown 1000:1001 a/b/c/d/deep
        chown -h 1002:1003 link
        chmod 1777 a/b
        touch -h -d '2001-02-03T04:05:06.123456789Z' link
        touch -d '1969-12-31T23:00:00.5Z' empty
        touch -d '2030-01-01T00:00:00.000000001Z' a/b
    ";
    shell(source, script);
}

#[test]
fn a_furnished_tree_comes_back_as_it_was() {
    let site = Site::new();
    furnish(&site.source());
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    site.assert_restores("back");
    let sparse = site.path("back/sparse").metadata().unwrap();
    assert!(sparse.blocks() * 512 < 1 << 20, "sparse stays sparse: {} blocks", sparse.blocks());
    let (big, hard) = (site.path("back/big"), site.path("back/a/hard"));
    assert_eq!(big.metadata().unwrap().ino(), hard.metadata().unwrap().ino());
}

#[test]
fn one_file_and_one_folder_without_the_rest() {
    let site = Site::protected();
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
    let listed = site.json(&["ls", "docs", "sub"]);
    assert_eq!(listed[0]["name"], "notes.txt", "{listed}");
    let target = site.path("part");
    site.ok(&["restore", "docs", "--to", site.text(&target), "--path", "sub"]);
    assert!(files(&target).iter().any(|path| path.ends_with("notes.txt")));
    assert!(!files(&target).iter().any(|path| path.ends_with("letter.txt")));
}

#[test]
fn an_unchanged_source_stores_nothing_new_and_old_points_stay() {
    let site = Site::protected();
    let before = site.json(&["points", "docs"]);
    site.write("letter.txt", b"a second version");
    let second = site.json(&["protect", site.text(&site.source()), "--item", "docs"]);
    assert!(second["recoveryPoint"]["id"].is_string(), "{second}");
    let first = before[0]["id"].as_str().unwrap();
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"a second version");
    assert_eq!(site.ok(&["cat", "docs", "letter.txt", "--point", first]), b"the only copy");
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 2);
}

#[test]
fn forget_and_prune_free_room_and_keep_the_rest() {
    let site = Site::protected();
    let random = [0x5a_u8; 100]; // grows below into data that nothing else shares
    let mut state = 0x9E37_79B9_u32;
    let junk: Vec<u8> = random
        .iter()
        .cycle()
        .take(4_000_000)
        .map(|byte| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            byte ^ state.to_le_bytes()[3]
        })
        .collect();
    site.write("junk", &junk);
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    fs::remove_file(site.source().join("junk")).unwrap();
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let size = |site: &Site| -> u64 {
        files(&site.repository()).iter().map(|path| path.metadata().unwrap().len()).sum()
    };
    let full = size(&site);
    let plan = site.json(&["forget", "docs", "--keep-last", "1", "--dry-run"]);
    assert!(plan.to_string().contains("forget"), "{plan}");
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 3);
    site.ok(&["forget", "docs", "--keep-last", "1", "--yes"]);
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1);
    site.ok(&["prune"]);
    assert!(size(&site) + 3_000_000 < full, "{} of {full}", size(&site));
    site.ok(&["verify", "--read-data"]);
    site.assert_restores("back");
}

#[test]
fn custodys_own_folders_are_left_out_wherever_they_lie() {
    let site = Site::new();
    site.write("letter.txt", b"hello");
    // Everything of custody's lies beneath the source here, and a link leads to it too.
    symlink(site.data(), site.path("source/link-to-data")).unwrap();
    let everything = site.path("");
    let shown = site.run(&["protect", site.text(&everything), "--item", "all"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let target = site.path("back");
    site.ok(&["restore", "all", "--to", site.text(&target)]);
    let names: Vec<String> =
        files(&target).iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.ends_with("source/letter.txt")), "{names:?}");
    for own in ["keys.db", "records.db", ".seal", "custody-repository"] {
        assert!(!names.iter().any(|name| name.ends_with(own)), "{own} in {names:?}");
    }
}

#[test]
fn patterns_leave_out_and_a_dry_run_shows_it() {
    let site = Site::new();
    site.write("keep.txt", b"1");
    site.write("drop.tmp", b"2");
    site.write("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    site.write("cache/blob", b"3");
    let source = site.source();
    let arguments =
        ["protect", site.text(&source), "--item", "docs", "--exclude", "*.tmp", "--exclude-caches"];
    let mut dry = arguments.to_vec();
    dry.push("--dry-run");
    let shown = String::from_utf8(site.ok(&dry)).unwrap();
    assert!(shown.contains("keep.txt") && !shown.contains("drop.tmp"), "{shown}");
    assert_eq!(site.json(&["points"]).as_array().map(Vec::len), Some(0));
    site.ok(&arguments);
    let target = site.path("back");
    site.ok(&["restore", "docs", "--to", site.text(&target)]);
    let names = files(&target);
    assert!(names.iter().any(|path| path.ends_with("keep.txt")));
    assert!(!names.iter().any(|path| path.ends_with("drop.tmp") || path.ends_with("blob")));
}

/// The same command again writes what differs, and says what it found.
#[test]
fn only_what_differs_is_written() {
    let site = Site::protected();
    site.write("large", &vec![5; 20_000_000]);
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let target = site.path("back");
    let to = site.text(&target).to_owned();
    let restore = |options: &[&str]| {
        let mut line = vec!["restore", "docs", "--to", to.as_str()];
        line.extend(options);
        let told = site.json(&line);
        let result = told["result"].clone();
        ["files", "replacedFiles", "takenOverFiles", "comparedFiles", "keptFiles"]
            .map(|name| result[name].as_u64().unwrap())
    };
    let all = u64::try_from(files(&site.source()).len()).unwrap();
    assert_eq!(restore(&[]), [all, 0, 0, 0, 0]);
    assert_eq!(restore(&[]), [0, 0, all, 0, 0]);
    assert_eq!(restore(&["--verify-existing"]), [0, 0, all, all, 0]);
    // A byte that neither size nor time tells of.
    let large = target.join("large");
    let time = large.metadata().unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(&large).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", 19_999_999).unwrap();
    file.set_modified(time).unwrap();
    fs::write(target.join("letter.txt"), "somebody else's").unwrap();
    fs::remove_file(target.join("sub/notes.txt")).unwrap();
    let kept = site.run(&["restore", "docs", "--to", &to]);
    assert_eq!(kept.code, 3, "{}", kept.stderr);
    assert!(kept.stderr.contains("TargetExists"), "{}", kept.stderr);
    assert_eq!(fs::read(target.join("letter.txt")).unwrap(), b"somebody else's");
    fs::remove_file(target.join("sub/notes.txt")).unwrap();
    let line = ["restore", "docs", "--to", &to, "--overwrite", "always", "--verify-existing"];
    let told = String::from_utf8(site.ok(&line)).unwrap();
    assert!(told.contains("2 of them replaced"), "{told}");
    assert!(told.contains("it stood there already, and right"), "{told}");
    crate::tree::assert_equal(&site.source().join("sub"), &target.join("sub"));
    for file in ["large", "letter.txt"] {
        let [wanted, found] =
            [site.source(), target.clone()].map(|top| fs::read(top.join(file)).unwrap());
        assert!(wanted == found, "{file}");
    }
    // What stood there before keeps its own: the mark that was set meanwhile shows nowhere.
    assert_eq!(fs::read_dir(&target).unwrap().count(), 3);
}
