//! Trees and targets that are hard on a backup (larger ones: `cargo xtask bench trees`).

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use crate::site::Site;

const TIB: u64 = 1 << 40;

/// A terabyte of hole with data at its beginning, in its middle, at its end or nowhere: it costs
/// what the data cost.
#[test]
fn a_sparse_terabyte_is_backed_up_and_restored_as_one() {
    let site = Site::new();
    for (name, data) in [("hollow", vec![]), ("ends", vec![0, TIB - 4]), ("middle", vec![TIB / 2])]
    {
        let file = File::create(site.source().join(name)).unwrap();
        file.set_len(TIB).unwrap();
        for at in data {
            file.write_all_at(b"data", at).unwrap();
        }
    }
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let target = site.path("back");
    let to = site.text(&target).to_owned();
    site.ok(&["restore", "docs", "--to", &to]);
    let again = site.json(&["restore", "docs", "--to", &to, "--verify-existing"]);
    assert_eq!(again["result"]["comparedFiles"], 3, "{again}");
    for (name, at) in
        [("ends", Some(TIB - 4)), ("ends", Some(0)), ("middle", Some(TIB / 2)), ("hollow", None)]
    {
        let file = File::open(target.join(name)).unwrap();
        let status = file.metadata().unwrap();
        assert_eq!(status.len(), TIB, "{name}");
        assert!(status.blocks() < 64, "{name}: {} blocks", status.blocks());
        if let Some(at) = at {
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, at).unwrap();
            assert_eq!(&bytes, b"data", "{name} at {at}");
        }
    }
}

/// Deeper than any path reaches; what is not far from the top is compared name by name.
#[test]
fn folders_deeper_than_a_path_can_be_long() {
    const LEVELS: usize = 300;
    const NAME: &str = "a folder name of some length, so that the path is far too long";
    let site = Site::new();
    let script = format!(
        "i=0; while [ $i -lt {LEVELS} ]; do mkdir '{NAME}'; cd -P './{NAME}'; echo $i > file; i=$((i+1)); done"
    );
    let made = Command::new("bash").args(["-c", &script]).current_dir(site.source()).status();
    assert!(made.unwrap().success());
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    site.ok(&["verify", "--read-data"]);
    let target = site.path("back");
    site.ok(&["restore", "docs", "--to", site.text(&target)]);
    for top in [site.source(), target] {
        assert_eq!(levels(&top, NAME), LEVELS);
    }
}

/// How many folders of that name lie in one another, each with its file; they are taken away.
fn levels(top: &Path, name: &str) -> usize {
    let (level, raised) = (top.join(name), top.join("raised"));
    let mut levels = 0;
    while level.exists() {
        assert_eq!(fs::read_to_string(level.join("file")).unwrap(), format!("{levels}\n"));
        let has_more = fs::rename(level.join(name), &raised).is_ok();
        fs::remove_dir_all(&level).unwrap();
        if has_more {
            fs::rename(&raised, &level).unwrap();
        }
        levels += 1;
    }
    levels
}

#[test]
fn very_many_files_in_one_folder() {
    const FILES: usize = 20_000;
    let site = Site::new();
    for number in 0..FILES {
        fs::write(site.source().join(format!("file {number}")), number.to_string()).unwrap();
    }
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let target = site.path("back");
    site.ok(&["restore", "docs", "--to", site.text(&target)]);
    for number in (0..FILES).step_by(997) {
        let text = fs::read_to_string(target.join(format!("file {number}"))).unwrap();
        assert_eq!(text, number.to_string());
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), FILES);
}

/// A full target ends the restore; with room again the same command goes on.
#[test]
fn a_full_target_is_said_and_gone_on_with_when_there_is_room() {
    let site = Site::new();
    let noise: Vec<u8> =
        (0..8_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    site.write("large", &noise);
    site.write("a/first", b"small");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let disk = site.path("small-disk");
    fs::create_dir_all(&disk).unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk).status().unwrap()
    };
    assert!(mount("size=24m").success(), "this test mounts a small tmpfs and needs to run as root");
    let target = disk.join("back");
    let line = ["restore", "docs", "--to", site.text(&target)];
    let full = site.run(&line);
    let is_absent = !target.join("large").exists();
    let remounted = mount("remount,size=64m");
    let resumed = site.run(&[&line[..], &["-o", "json"]].concat());
    let same = fs::read(target.join("large")).unwrap_or_default() == noise;
    let left = fs::read_dir(&target).map_or(0, Iterator::count);
    let unmounted = Command::new("umount").arg("-l").arg(&disk).status().unwrap();
    assert!(unmounted.success() && remounted.success());
    assert_eq!(full.code, 14, "{}", full.stderr);
    assert!(full.stderr.contains("TargetFull"), "{}", full.stderr);
    assert!(is_absent, "nothing half written under its own name");
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(same, "not the same bytes");
    assert_eq!(left, 2, "nothing is left of the first attempt");
    let told: serde_json::Value = serde_json::from_slice(&resumed.stdout).unwrap();
    let reused = told["result"]["reusedBytes"].as_u64().unwrap();
    assert!(reused > 10_000_000, "what was written is not written again: {told}");
}

/// The flag itself is not stored. One that stands in the way is said, and the rest restored.
#[test]
fn an_immutable_file_in_the_way_is_said() {
    let site = Site::protected();
    let target = site.path("back");
    let to = site.text(&target).to_owned();
    site.ok(&["restore", "docs", "--to", &to]);
    let letter = target.join("letter.txt");
    fs::write(&letter, "kept as it is").unwrap();
    fs::write(target.join("sub/notes.txt"), "not these").unwrap();
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&letter).status();
    if !chattr("+i").is_ok_and(|status| status.success()) {
        // Neither can a restore meet the flag on such a machine; what it would say is
        // `TargetEntryRefused`, as for every entry that the system refuses (policies.rs).
        println!("not shown here: {} takes no immutable flag", letter.display());
        return;
    }
    let ran = site.run(&["restore", "docs", "--to", &to, "--overwrite", "always"]);
    assert!(chattr("-i").unwrap().success());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("TargetEntryRefused"), "{}", ran.stderr);
    assert_eq!(fs::read(&letter).unwrap(), b"kept as it is");
    assert_eq!(fs::read(target.join("sub/notes.txt")).unwrap(), b"some notes\n".repeat(1000));
}
