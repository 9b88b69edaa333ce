//! What is left when something is lost or put back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::site::{Site, copy, files};

const SEAL: i32 = 13;

/// Without the seal the data folder says nothing: no content, no name, no target, no attribute.
#[test]
fn a_data_folder_without_its_seal_is_unreadable() {
    let site = Site::new();
    let canaries = ["CANARYCONTENT", "CANARYNAME", "CANARYTARGET", "CANARYXATTR", "CANARYFOLDER"];
    site.write("CANARYFOLDER/CANARYNAME.txt", b"CANARYCONTENT");
    std::os::unix::fs::symlink("CANARYTARGET", site.source().join("CANARYFOLDER/l")).unwrap();
    let file = site.source().join("CANARYFOLDER/CANARYNAME.txt");
    let set = std::process::Command::new("setfattr")
        .args(["-n", "user.c", "-v", "CANARYXATTR"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(set.success());
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    site.ok(&["cat", "docs", "CANARYFOLDER/CANARYNAME.txt"]);
    let target = site.path("elsewhere");
    site.ok(&["restore", "docs", "--to", site.text(&target)]);
    for path in files(&site.data()) {
        let bytes = fs::read(&path).unwrap();
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} stands in clear in {}", path.display());
        }
    }
    fs::rename(site.config(), site.path("config-kept")).unwrap();
    site.fails(&["cat", "docs", "CANARYFOLDER/CANARYNAME.txt"], SEAL, "SealMissing");
    fs::remove_dir_all(site.config()).ok();
    fs::rename(site.path("config-kept"), site.config()).unwrap();
    site.assert_restores("back");
}

/// With its seal a data folder opens wherever it is copied to; the original is not touched.
#[test]
fn a_copied_data_folder_opens_with_its_seal() {
    let site = Site::protected();
    let other = Site::new();
    copy(&site.data(), &other.data());
    copy(&site.config(), &other.config());
    fs::rename(site.data(), site.path("gone")).unwrap();
    assert_eq!(other.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
    let target = other.path("back");
    other.ok(&["restore", "docs", "--to", other.text(&target)]);
    crate::tree::assert_equal(&site.source(), &target);
}

/// A data folder of the first version, kept in `tests/golden`, opens in every later one.
#[test]
fn the_golden_data_folder_opens() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/v1");
    let site = Site::new();
    copy(&golden.join("data"), &site.data());
    copy(&golden.join("config"), &site.config());
    for path in files(&site.config()) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 2);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the golden letter, second version\n");
    site.ok(&["verify", "--read-data"]);
    let target = site.path("back");
    site.ok(&["restore", "docs", "--point", "latest", "--to", site.text(&target)]);
    assert_eq!(
        fs::read(target.join("sub/numbers")).unwrap(),
        fs::read(golden.join("numbers")).unwrap()
    );
    site.ok(&["ledger", "verify"]);
}

/// Another installation's seal is told apart from a missing one.
#[test]
fn a_wrong_seal_is_refused() {
    let site = Site::protected();
    let other = Site::protected();
    let seal = files(&site.config()).into_iter().next().unwrap();
    let foreign = files(&other.config()).into_iter().next().unwrap();
    fs::copy(foreign, seal).unwrap();
    site.fails(&["cat", "docs", "letter.txt"], SEAL, "SealMismatch");
}

/// With the record database gone the repository opens by itself.
#[test]
fn a_repository_restores_without_the_records() {
    let site = Site::protected();
    let repository = site.repository();
    for name in ["records.db", "records.db-wal", "records.db-shm", "records.db-lock"] {
        let _ = fs::remove_file(site.data().join(name));
    }
    let target = site.path("back");
    let (repository, to) = (site.text(&repository), site.text(&target));
    site.ok(&["restore", "docs", "--repository", repository, "--to", to]);
    crate::tree::assert_equal(&site.source(), &target);
}

/// `repair` makes the records of a repository anew.
#[test]
fn repair_takes_a_repository_into_new_records() {
    let site = Site::protected();
    let repository = site.repository();
    for name in ["records.db", "records.db-wal", "records.db-shm", "records.db-lock"] {
        let _ = fs::remove_file(site.data().join(name));
    }
    site.ok(&["repair", "--repository", site.text(&repository)]);
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1);
    site.assert_restores("back");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
}

/// `repair` builds lost indexes again from the packs, and says so.
#[test]
fn repair_builds_lost_indexes_again() {
    let site = Site::protected();
    let folder = site.repository().join("index");
    let indexes: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    for index in &indexes {
        fs::remove_file(index.path()).unwrap();
    }
    site.fails(&["verify"], 9, "");
    let said = String::from_utf8(site.ok(&["repair"])).unwrap();
    for fact in ["lostIndexes: 1", "newIndexes: 1", "lostPacks: 0"] {
        assert!(said.contains(fact), "{fact}: {said}");
    }
    site.ok(&["verify", "--read-data"]);
    site.assert_restores("back");
}

/// A recovery kit opens everything on an empty machine.
#[test]
fn a_recovery_kit_opens_everything_on_an_empty_machine() {
    let site = Site::protected();
    let passphrase = site.passphrase("correct horse battery staple");
    let kit = site.path("kit.custody");
    let file = ["--passphrase-file", site.text(&passphrase)];
    let mut create = vec!["recovery-kit", "create", "--kit", site.text(&kit)];
    create.extend(file);
    site.ok(&create);
    let mut test = vec!["recovery-kit", "test", "--kit", site.text(&kit)];
    test.extend(file);
    site.ok(&test);
    let status = site.json(&["status"]).to_string();
    assert!(!status.contains("RecoveryKitMissing"), "{status}");

    let empty = Site::new();
    copy(&site.repository(), &empty.path("repository"));
    let (repository, target) = (empty.path("repository"), empty.path("back"));
    let mut restore = vec!["restore", "docs", "--repository", empty.text(&repository)];
    restore.extend(["--recovery-kit", site.text(&kit), "--to", empty.text(&target)]);
    restore.extend(file);
    empty.ok(&restore);
    crate::tree::assert_equal(&site.source(), &target);
    let wrong = site.passphrase("wrong horse battery staple");
    let mut test = vec!["recovery-kit", "test", "--kit", site.text(&kit)];
    test.extend(["--passphrase-file", site.text(&wrong)]);
    site.fails(&test, SEAL, "WrongPassphrase");
}

/// A recovery kit sets up an empty data folder, and `repair` takes the repository into it.
#[test]
fn a_recovery_kit_and_a_repository_make_an_installation_again() {
    let site = Site::protected();
    let passphrase = site.passphrase("correct horse battery staple");
    let kit = site.path("kit.custody");
    let file = ["--passphrase-file", site.text(&passphrase)];
    let with_kit = |verb| {
        let mut line = vec!["recovery-kit", verb, "--file", site.text(&kit)];
        line.extend(file);
        line
    };
    site.ok(&with_kit("create"));

    let empty = Site::new();
    empty.ok(&with_kit("restore"));
    empty.fails(&with_kit("restore"), 6, "DataFolderNotEmpty");
    copy(&site.repository(), &empty.path("repository"));
    let repository = empty.path("repository");
    empty.ok(&["repair", "--repository", empty.text(&repository)]);
    let target = empty.path("back");
    empty.ok(&["restore", "docs", "--to", empty.text(&target)]);
    crate::tree::assert_equal(&site.source(), &target);
    empty.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    assert_eq!(empty.json(&["points", "docs"]).as_array().unwrap().len(), 2);
}

/// An older copy of the repository in place of the present one is noticed.
#[test]
fn an_older_copy_of_the_repository_is_noticed() {
    let site = Site::protected();
    let repository = site.repository();
    let kept = site.path("older");
    copy(&repository, &kept);
    site.write("letter.txt", b"newer");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    fs::remove_dir_all(&repository).unwrap();
    copy(&kept, &repository);
    let ran = site.run(&["protect", site.text(&site.source()), "--item", "docs"]);
    assert_ne!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("RolledBack"), "{}", ran.stderr);
}

/// A flipped byte in a pack is found, named, and costs only what it touches.
#[test]
fn damage_is_found_and_said() {
    let site = Site::protected();
    let pack = files(&site.repository().join("packs")).into_iter().next().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let ran = site.run(&["verify", "--read-data"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    site.assert_restores("back");
}

/// A newer format is refused before anything is written.
#[test]
fn newer_formats_are_refused_untouched() {
    let site = Site::protected();
    let installation = site.data().join("installation.json");
    let marker = site.repository().join("custody-repository");
    for (path, from, to) in
        [(installation, "\"format\": 1", "\"format\": 99"), (marker, "format 1\n", "format 99\n")]
    {
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{before}");
        fs::write(&path, before.replace(from, to)).unwrap();
        let all = |site: &Site| -> Vec<(std::path::PathBuf, Vec<u8>)> {
            let stored = files(&site.repository());
            stored.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
        };
        let untouched = all(&site);
        site.fails(&["cat", "docs", "letter.txt"], 12, "NewerFormat");
        assert!(untouched == all(&site), "nothing was written");
        fs::write(&path, before).unwrap();
    }
    site.assert_restores("back");
}
