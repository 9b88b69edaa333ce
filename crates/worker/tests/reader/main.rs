//! The independent reader of `tests/reader`, which knows the formats from `docs/formats` alone,
//! over repositories that the engine made; and the golden repository, by both of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
mod source;
mod vault;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{describe, edit, fill};
use vault::Vault;

/// Where the reader is.
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reader");

/// What the reader said, and whether it was content.
pub(crate) struct Read {
    pub(crate) content: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the reader in the environment that `cargo xtask test` made for it.
pub(crate) fn read(arguments: &[&OsStr]) -> Read {
    let environment =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("python-reader");
    let pins = |folder: &Path| fs::read(folder.join("requirements.txt")).unwrap_or_default();
    let made = pins(&environment) == pins(Path::new(READER));
    assert!(made, "{} is not up to date: cargo xtask test", environment.display());
    let output = Command::new(environment.join("bin/python"))
        .arg("-B")
        .arg(Path::new(READER).join("reader.py"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let read = Read {
        content: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    };
    assert!(!read.stderr.contains("Traceback"), "{}", read.stderr);
    read
}

/// Restores a point by the reader, which must be content.
pub(crate) fn read_point(keys: &Path, repository: &Path, point: &str, to: &Path) {
    let arguments: [&OsStr; 5] =
        ["restore".as_ref(), keys.as_ref(), repository.as_ref(), point.as_ref(), to.as_ref()];
    let read = read(&arguments);
    assert!(read.content, "{}", read.stderr);
}

/// The ids of the points that the reader finds, in the order of their receipt.
fn listed(keys: &Path, repository: &Path) -> Vec<String> {
    let read = read(&["points".as_ref(), keys.as_ref(), repository.as_ref()]);
    let id = |line: &str| line.split(' ').next().unwrap().to_owned();
    read.stdout.lines().map(id).collect()
}

fn verify(keys: &Path, repository: &Path) -> Read {
    read(&["verify".as_ref(), keys.as_ref(), repository.as_ref()])
}

/// Several sessions, a point forgotten and pruned, a second generation of the data key, with and
/// without a second layer of encryption: the reader restores every point as it was.
#[test]
fn the_reader_restores_what_the_engine_stored() {
    for second_layer in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (source, keys, repository) = (path("source"), path("keys.json"), path("repository"));
        let vault = Vault::create(&repository, second_layer);
        fill(&source, 9 << 20);
        let mut points = Vec::new();
        for generation in 0..4 {
            let point = vault.backup(&source, points.last().map(|(point, _)| *point));
            points.push((point, describe(&source)));
            if generation == 1 {
                let (first, _) = points.remove(0);
                vault.forget_and_prune(first);
            }
            if generation == 2 {
                vault.change_key(second_layer);
            }
            edit(&source, generation);
        }
        vault.write_keys(&keys);
        for (number, (point, wanted)) in points.iter().enumerate() {
            let target = path(&format!("restored {number}"));
            read_point(&keys, &repository, &point.to_string(), &target);
            assert_eq!(&describe(&target), wanted, "point {number}, second layer {second_layer}");
        }
        let mut ids: Vec<_> = points.iter().map(|(point, _)| point.to_string()).collect();
        assert_eq!(listed(&keys, &repository), ids);
        vault.forget_as_a_stranger(points.first().unwrap().0);
        assert_eq!(listed(&keys, &repository), ids.split_off(1));
        vault.open().log().unwrap().confirm().unwrap();
        assert_eq!(listed(&keys, &repository).len(), 3, "the next key holder rejects it");
        let verified = verify(&keys, &repository);
        assert!(verified.content, "{}", verified.stderr);
    }
}

/// Every kind of object: a byte flipped anywhere in it makes the reader name it.
#[test]
fn the_reader_names_the_object_that_a_flipped_byte_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (source, keys, repository) = (path("source"), path("keys.json"), path("repository"));
    let vault = Vault::create(&repository, false);
    fill(&source, 100_000);
    vault.backup(&source, None);
    vault.write_keys(&keys);
    let objects = files(&repository);
    assert!(objects.len() >= 10, "{objects:?}");
    for object in objects {
        let genuine = fs::read(&object).unwrap();
        for at in [0, 50, genuine.len() / 2, genuine.len() - 20, genuine.len() - 1] {
            let mut flipped = genuine.clone();
            *flipped.get_mut(at).unwrap() ^= 1;
            fs::write(&object, flipped).unwrap();
            let said = verify(&keys, &repository);
            let name = object.strip_prefix(&repository).unwrap().display().to_string();
            let named = said.stderr.contains(&format!("damaged: {name}: "));
            assert!(!said.content && named, "byte {at} of {name}: {}", said.stderr);
        }
        fs::write(&object, genuine).unwrap();
    }
    assert!(verify(&keys, &repository).content);
}

/// What a damaged pack holds is left out and named with its pack; the rest is restored.
#[test]
fn the_reader_restores_what_damage_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (source, keys, repository) = (path("source"), path("keys.json"), path("repository"));
    let vault = Vault::create(&repository, false);
    fill(&source, 3 << 20);
    let point = vault.backup(&source, None).to_string();
    vault.write_keys(&keys);
    let mut packs = files(&repository.join("packs"));
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let largest = packs.pop().unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).unwrap() ^= 1;
    fs::write(&largest, bytes).unwrap();
    let target = path("restored");
    let arguments: [&OsStr; 5] =
        ["restore".as_ref(), keys.as_ref(), repository.as_ref(), point.as_ref(), target.as_ref()];
    let said = read(&arguments);
    let name = largest.strip_prefix(&repository).unwrap().display().to_string();
    assert!(!said.content && said.stderr.contains(&name), "{}", said.stderr);
    let (wanted, restored) = (describe(&source), describe(&target));
    let lost: Vec<_> = wanted.keys().filter(|path| !restored.contains_key(*path)).collect();
    assert_eq!(lost, ["large"]);
    assert!(restored.iter().all(|(path, what)| wanted.get(path) == Some(what)));
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        // No object's name begins with a dot: that is room the store keeps back.
        if path.is_dir() {
            found.extend(files(&path));
        } else if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(path);
        }
    }
    found
}
