//! The golden repository of format 1, kept in `tests/golden`: made once and never changed, and
//! opened by the engine and by the reader of every later build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use custody_repository::PointId;

use crate::source::{describe, edit, fill};
use crate::vault::Vault;
use crate::{read_point, verify};

/// Largest size of a golden repository, in bytes.
const BYTES_MAX: u64 = 200_000;

/// What each point restores to: by its id, each path with what is said of it.
type Recorded = BTreeMap<String, BTreeMap<String, String>>;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/repository-1")
}

fn recorded() -> Recorded {
    serde_json::from_slice(&fs::read(golden().join("points.json")).unwrap()).unwrap()
}

/// The golden repository, made now if this format has none yet: two generations of the data key, a
/// second layer, three sessions, a point forgotten and pruned.
#[test]
fn there_is_a_golden_repository() {
    let folder = golden();
    if std::env::var_os("CUSTODY_GOLDEN").is_some() && !folder.exists() {
        make(&folder);
    }
    let stored: u64 =
        crate::files(&folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(stored < BYTES_MAX, "{stored}");
    assert_eq!(recorded().len(), 2);
}

fn make(folder: &Path) {
    let source = tempfile::tempdir().unwrap();
    let vault = Vault::create(&folder.join("repository"), true);
    let mut points = Recorded::new();
    let mut parent = None;
    fill(source.path(), 20_000);
    for generation in 0..3 {
        let point = vault.backup(source.path(), parent);
        points.insert(point.to_string(), describe(source.path()));
        if let (1, Some(first)) = (generation, parent) {
            vault.forget_and_prune(first);
            points.remove(&first.to_string());
            vault.change_key(true);
        }
        parent = Some(point);
        edit(source.path(), generation);
    }
    vault.write_keys(&folder.join("keys.json"));
    let text = serde_json::to_string_pretty(&points).unwrap();
    fs::write(folder.join("points.json"), text + "\n").unwrap();
}

/// A copy that may be opened: opening a store sweeps it.
fn copy(from: &Path, to: &Path) {
    for path in crate::files(from) {
        let inner = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(inner.parent().unwrap()).unwrap();
        fs::copy(path, inner).unwrap();
    }
}

#[test]
fn the_engine_restores_the_golden_repository() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("repository");
    copy(&golden().join("repository"), &repository);
    let vault = Vault::at(&repository);
    for (number, (point, wanted)) in recorded().into_iter().enumerate() {
        let target = folder.path().join(number.to_string());
        vault.restore(point.parse::<PointId>().unwrap(), &target);
        assert_eq!(describe(&target), wanted);
    }
    vault.assert_sound();
}

#[test]
fn the_reader_restores_the_golden_repository() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, repository) = (golden().join("keys.json"), golden().join("repository"));
    for (number, (point, wanted)) in recorded().into_iter().enumerate() {
        let target = folder.path().join(number.to_string());
        read_point(&keys, &repository, &point, &target);
        assert_eq!(describe(&target), wanted);
    }
    let verified = verify(&keys, &repository);
    assert!(verified.content, "{}", verified.stderr);
}
