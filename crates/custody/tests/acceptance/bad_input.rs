//! Bad input: a clear error, a documented exit code, nothing lost, nothing written outside.

use std::fs;
use std::os::unix::fs::symlink;

use crate::site::{Site, files};

#[test]
fn what_is_not_there_is_said() {
    let site = Site::protected();
    let nowhere = site.path("nowhere");
    let target = site.path("t");
    let check = |arguments: &[&str], exit: i32| {
        let ran = site.run(arguments);
        assert_eq!(ran.code, exit, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("error"), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{arguments:?}: {}", ran.stderr);
    };
    check(&["protect", site.text(&nowhere)], 5);
    check(&["restore", "unknown", "--to", site.text(&target)], 5);
    check(&["restore", "docs", "--point", "ffffffff", "--to", site.text(&target)], 5);
    check(&["cat", "docs", "no/such/file"], 5);
    check(&["ls", "docs", "../.."], 5);
    check(&["restore", "docs", "--to", "/proc/no-such-place"], 1);
    check(&["forget", "docs"], 2);
    check(&["forget", "docs", "--point", "ffffffff", "--yes"], 5);
    check(&["no-such-command"], 2);
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1);
}

/// Without a terminal and without `--yes` nothing is destroyed, and nothing hangs.
#[test]
fn destruction_wants_a_word() {
    let site = Site::protected();
    let vault = site.key_vault();
    site.write("letter.txt", b"a second version");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let key = ["--vault-name", vault.as_str(), "--name", "backup"];
    let mut delete = vec!["keyvault", "key", "delete"];
    delete.extend(key);
    let mut disable = vec!["keyvault", "key", "set-attributes", "--enabled", "false"];
    disable.extend(key);
    for arguments in [vec!["forget", "docs", "--keep-last", "1"], delete, disable] {
        let ran = site.run(&arguments);
        assert_eq!(ran.code, 10, "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 2);
    site.assert_restores("back");
}

#[test]
fn a_corrupt_configuration_is_said_with_its_place() {
    let site = Site::protected();
    let config = site.data().join("config.toml");
    fs::write(&config, "no_such_key = 1\n").unwrap();
    let ran = site.run(&["points"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("no_such_key") && ran.stderr.contains("config.toml"),
        "{}",
        ran.stderr
    );
    fs::remove_file(config).unwrap();
    site.ok(&["points"]);
}

/// A planted link in the target is never followed.
#[test]
fn nothing_is_written_outside_the_target() {
    let site = Site::protected();
    let outside = site.path("outside");
    let target = site.path("target");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&target).unwrap();
    symlink(&outside, target.join("sub")).unwrap();
    let ran = site.run(&["restore", "docs", "--to", site.text(&target)]);
    assert_eq!(ran.code, 3, "completed with warnings: {}", ran.stderr);
    assert!(files(&outside).is_empty(), "nothing went through the link");
    assert_eq!(fs::read(target.join("letter.txt")).unwrap(), b"the only copy");
}

/// Names of files cannot command the terminal.
#[test]
fn hostile_names_are_escaped() {
    let site = Site::new();
    site.write("esc\x1b[2J", b"x");
    site.write("line\nbreak", b"x");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let mut arguments = vec!["ls", "docs"];
    let plain = site.ok(&arguments);
    arguments.extend(["-o", "table"]);
    for shown in [plain, site.ok(&arguments)] {
        assert!(!shown.contains(&0x1b), "{}", String::from_utf8_lossy(&shown).escape_debug());
    }
}

/// A full disk fails the job cleanly; with room again everything works.
#[test]
fn a_full_store_fails_cleanly() {
    let site = Site::protected();
    let disk = site.path("small-disk");
    fs::create_dir_all(&disk).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(&disk)
        .status()
        .unwrap();
    assert!(mounted.success(), "this test mounts a small tmpfs and needs to run as root");
    let store = disk.join("store");
    let big: Vec<u8> =
        (0..3_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    site.write("big", &big);
    let source = site.source();
    let mut protect = vec!["protect", site.text(&source), "--item", "full", "--vault", "small"];
    protect.extend(["--store", site.text(&store)]);
    let ran = site.run(&protect);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&disk).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(ran.code, 14, "{}", ran.stderr);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
}
