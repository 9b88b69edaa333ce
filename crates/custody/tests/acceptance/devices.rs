//! Block devices and images, on loop devices where this machine has them. Where it has none, what
//! reads and writes devices is shown by the unit tests of `custody-sources` (`device.rs`,
//! `device_target.rs`) over files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::site::Site;

const SIZE: u64 = 24 << 20;

/// A loop device over a file, as long as this lives.
struct Loop {
    device: PathBuf,
    backing: PathBuf,
}

impl Loop {
    fn over(backing: &Path) -> Option<Self> {
        let said = Command::new("losetup").args(["--show", "-f"]).arg(backing).output().ok()?;
        let device = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim().to_owned());
        let made = said.status.success() && device.exists();
        if !made {
            println!("not shown here: no loop device: {}", String::from_utf8_lossy(&said.stderr));
        }
        made.then(|| Self { device, backing: backing.to_owned() })
    }

    /// Writes to the device and past every cache.
    fn write(&self, bytes: &[u8], at: u64) {
        let device = File::options().write(true).open(&self.device).unwrap();
        device.write_all_at(bytes, at).unwrap();
        device.sync_all().unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.backing).unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

fn backing(site: &Site, name: &str, fill: u8) -> PathBuf {
    let path = site.path(name);
    fs::write(&path, vec![fill; usize::try_from(SIZE).unwrap()]).unwrap();
    path
}

#[test]
fn a_device_is_one_file_and_comes_back_as_a_file_and_onto_a_device() {
    let site = Site::new();
    let (Some(disk), Some(other)) =
        (Loop::over(&backing(&site, "disk", 0)), Loop::over(&backing(&site, "other", 0xee)))
    else {
        return;
    };
    disk.write(&vec![7; 300_000], 1 << 20);
    disk.write(b"the last bytes", SIZE - 14);
    let shown = disk.device.to_str().unwrap();
    let protected = site.json(&["protect", shown, "--item", "disk"]);
    assert_eq!(protected["recoveryPoint"]["files"], 1, "{protected}");
    assert_eq!(protected["recoveryPoint"]["size"], SIZE);
    let since = protected["recoveryPoint"]["id"].as_str().unwrap().to_owned();
    let target = site.path("back");
    site.ok(&["restore", "disk", "--to", site.text(&target)]);
    let file = target.join(disk.device.file_name().unwrap());
    assert!(fs::read(&file).unwrap() == disk.bytes(), "not the same bytes");
    let room = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512;
    assert!(room < 1 << 20, "zeros are holes in the file: {room} bytes");

    // Onto another device: only when that is said, and confirmed.
    let onto = other.device.to_str().unwrap();
    site.fails(&["restore", "disk", "--to-device", onto], 10, "confirmation");
    assert!(other.bytes().iter().all(|byte| *byte == 0xee));
    site.ok(&["restore", "disk", "--to-device", onto, "--yes"]);
    assert!(other.bytes() == disk.bytes(), "not the same bytes");

    // What a list says has changed is read; the rest comes from the point before.
    disk.write(b"changed", 5 << 20);
    let id_of = |answer: &serde_json::Value| answer["recoveryPoint"]["id"].as_str().unwrap().len();
    assert_eq!(id_of(&protected), 64);
    let list = site.path("changed.txt");
    let text =
        format!("custody changed blocks 1\nsince {since}\nsize {SIZE}\n{} 7\nend\n", 5 << 20);
    fs::write(&list, &text).unwrap();
    let line = ["protect", shown, "--item", "disk", "--changed-blocks", site.text(&list)];
    let second = site.json(&line);
    assert_eq!(second["warningCount"], 0, "{second}");
    assert!(second["recoveryPoint"]["newBytes"].as_u64().unwrap() <= 65_536 + 8_192, "{second}");
    let again = site.json(&["restore", "disk", "--to-device", onto, "--yes"]);
    assert!(other.bytes() == disk.bytes(), "not the same bytes");
    assert!(again["result"]["reusedBytes"].as_u64().unwrap() > 300_000, "{again}");
    // The same list once more starts from a point that is not the newest.
    let ran = site.run(&line);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("SourceHintsUnused"), "{}", ran.stderr);
    fs::write(&list, text.replace("end\n", "")).unwrap();
    site.fails(&line, 2, "SourceHintsInvalid");
}

#[test]
fn what_is_no_device_or_too_small_is_refused() {
    let site = Site::protected();
    site.fails(&["restore", "docs", "--to-device", "/dev/null", "--yes"], 6, "TargetDeviceUnfit");
    let file = site.path("file");
    fs::write(&file, "no device").unwrap();
    let onto = site.text(&file).to_owned();
    site.fails(&["restore", "docs", "--to-device", &onto, "--yes"], 6, "TargetDeviceUnfit");
    assert_eq!(fs::read(&file).unwrap(), b"no device");
    let Some(small) = Loop::over(&backing(&site, "small", 1)) else { return };
    let onto = small.device.to_str().unwrap();
    // Two files and one device: which one must be said.
    let ran = site.run(&["restore", "docs", "--to-device", onto, "--yes"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    let line = ["restore", "docs", "--path", "letter.txt", "--to-device", onto, "--yes"];
    site.ok(&line);
    assert!(small.bytes().starts_with(b"the only copy\x01"));
    site.write("large", &vec![3; usize::try_from(SIZE).unwrap() + 1]);
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    let line = ["restore", "docs", "--path", "large", "--to-device", onto, "--yes"];
    let ran = site.run(&line);
    assert!(ran.code != 0 && ran.stderr.contains("TargetDeviceUnfit"), "{}", ran.stderr);
}
