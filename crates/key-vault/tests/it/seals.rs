//! Seals: what they accept, what they refuse, what they keep.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use custody_envelope::SecretBytes;
use custody_key_vault::{FileSeal, KeyStore, KeyVaultError, PassphraseSeal, RootKey, Seal};

use crate::bench::{Bench, code, entropy, file_seal};

fn passphrase_seal(folder: &tempfile::TempDir, passphrase: &str) -> Arc<dyn Seal> {
    let (path, data) = (folder.path().join("seal"), folder.path().join("data"));
    let passphrase = SecretBytes::new(passphrase.as_bytes().to_vec());
    Arc::new(PassphraseSeal::at(&path, &data, passphrase, entropy(50)).unwrap())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    folder
}

#[test]
fn every_seal_keeps_what_it_is_given() {
    let check = |seal: &dyn Fn(&tempfile::TempDir) -> Arc<dyn Seal>| {
        let folder = folder();
        assert_eq!(code(seal(&folder).unseal()), "SealMissing");
        let (one, two) =
            (RootKey::mint(&*entropy(1)).unwrap(), RootKey::mint(&*entropy(2)).unwrap());
        let ids = |seal: &dyn Seal| -> Vec<_> {
            seal.unseal().unwrap().iter().map(RootKey::id).collect()
        };
        let first = seal(&folder);
        first.create(&one).unwrap();
        assert_eq!(code(first.create(&two)), "SealExists");
        assert_eq!(ids(&*first), [one.id()]);
        let mode = std::fs::metadata(folder.path().join("seal")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What another process replaces is seen at the next use.
        let second = seal(&folder);
        let (one_id, two_id) = (one.id(), two.id());
        second.replace(&[two, one]).unwrap();
        assert_eq!(ids(&*first), [two_id, one_id]);
        assert_eq!(ids(&*second), [two_id, one_id]);
        assert!(!first.protects().is_empty());
    };
    check(&file_seal);
    check(&|folder| passphrase_seal(folder, "correct horse"));
}

#[test]
fn unsafe_places_are_refused() {
    let check = |spoil: &dyn Fn(&std::path::Path), expected: &str, reason: &str| {
        let bench = Bench::new();
        spoil(&bench.seal_path());
        let error = file_seal(&bench.folder).unseal().map(drop).unwrap_err();
        assert_eq!(error.code(), expected);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(bench.beside(2).map(drop).unwrap_err().code(), expected);
    };
    let mode = |mode: u32| {
        move |path: &std::path::Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    check(&mode(0o640), "SealRefused", "chmod 600");
    check(&mode(0o604), "SealRefused", "chmod 600");
    check(
        &|path| {
            std::fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        },
        "SealRefused",
        "symbolic link",
    );
    check(
        &|path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
            mode(0o700)(path);
        },
        "SealRefused",
        "no regular file",
    );
    check(&|path| std::fs::remove_file(path).unwrap(), "SealMissing", "recovery-kit restore");
    check(&|path| std::fs::write(path, b"").unwrap(), "KeyStoreDamaged", "damaged");
    check(&|path| std::fs::write(path, vec![0; 70_000]).unwrap(), "SealRefused", "too long");
    check(
        &|path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[14] = 2; // the format number
            std::fs::write(path, bytes).unwrap();
        },
        "NewerFormat",
        "update it",
    );

    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(data.join("deep")).unwrap();
    symlink(&data, folder.path().join("alias")).unwrap();
    for inside in ["data/seal", "data/deep/seal", "alias/seal", "data/../data/seal"] {
        let refused = FileSeal::at(&folder.path().join(inside), &data).map(drop);
        assert_eq!(code(refused), "SealRefused", "{inside}");
    }
}

#[test]
fn a_wrong_passphrase_is_told_from_a_damaged_file() {
    let folder = folder();
    let path = folder.path().join("data/keys.db");
    let store = KeyStore::create(&path, passphrase_seal(&folder, "right"), entropy(1)).unwrap();
    let secret = store.server_secret("ledger").unwrap();
    let wrong = KeyStore::open(&path, passphrase_seal(&folder, "wrong"), entropy(2));
    assert_eq!(code(wrong.map(drop)), "WrongPassphrase");
    let right = KeyStore::open(&path, passphrase_seal(&folder, "right"), entropy(2)).unwrap();
    assert_eq!(right.server_secret("ledger").unwrap().expose(), secret.expose());
    assert_eq!(code(file_seal(&folder).unseal()), "SealRefused"); // another kind of seal

    let seal = folder.path().join("seal");
    let mut bytes = std::fs::read(&seal).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&seal, bytes).unwrap();
    let damaged = KeyStore::open(&path, passphrase_seal(&folder, "right"), entropy(2));
    assert_eq!(code(damaged.map(drop)), "KeyStoreDamaged");
}

#[test]
fn another_installations_seal_is_refused() {
    let (one, two) = (Bench::new(), Bench::new());
    std::fs::remove_file(two.seal_path()).unwrap();
    let stranger = RootKey::mint(&*entropy(99)).unwrap();
    file_seal(&two.folder).create(&stranger).unwrap();
    assert_eq!(code(two.beside(3).map(drop)), "SealMismatch");
    // A store with content never gets a new seal.
    std::fs::remove_file(one.seal_path()).unwrap();
    let again = KeyStore::create(&one.path(), file_seal(&one.folder), entropy(4));
    assert!(matches!(again.map(drop), Err(KeyVaultError::SealMissing(_))));
    assert!(!one.seal_path().exists());
}
