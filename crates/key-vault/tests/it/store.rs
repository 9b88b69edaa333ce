//! `keys.db` itself: several processes, formats, tampering.

use std::os::unix::fs::PermissionsExt;

use custody_key_vault::{AttributeChange, KeyOperation, KeyStore};

use crate::bench::{Bench, code, entropy, file_seal, key_name, one_key};

#[test]
fn processes_see_each_others_changes_at_once() {
    let bench = Bench::new();
    let other = bench.beside(2).unwrap();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    bench.unwrap_of(&other, "k", None, &wrapped).unwrap();
    let changes = other.store().changes().unwrap();
    let disable = AttributeChange { enabled: Some(false), ..AttributeChange::nothing() };
    bench.update("k", &disable);
    assert!(other.store().changes().unwrap() > changes);
    assert_eq!(code(bench.unwrap_of(&other, "k", None, &wrapped)), "KeyDisabled");
    let enable = AttributeChange { enabled: Some(true), ..AttributeChange::nothing() };
    bench.update("k", &enable);
    // A purge in one process leaves the other working.
    bench.create("gone");
    bench.delete("gone");
    bench.purge("gone").map(drop).unwrap();
    bench.unwrap_of(&other, "k", None, &wrapped).unwrap();
    let name = &key_name("k");
    one_key(bench.ask_of(&other, &KeyOperation::Rotate { name }));
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "WrapMismatch");
}

#[test]
fn processes_work_at_the_same_time() {
    let bench = Bench::new();
    bench.create("k");
    let wrapped = &bench.wrap("k").unwrap();
    std::thread::scope(|scope| {
        for seed in 2..5 {
            let bench = &bench;
            scope.spawn(move || {
                let vaults = bench.beside(seed).unwrap();
                let name = &key_name(&format!("own-{seed}"));
                let key = custody_key_vault::NewKey::of_size(custody_key_vault::RsaSize::Bits2048);
                for _ in 0..2 {
                    one_key(bench.ask_of(&vaults, &KeyOperation::Create { name, key: &key }));
                    bench.unwrap_of(&vaults, "k", None, wrapped).unwrap();
                    bench.ask_of(&vaults, &KeyOperation::Delete { name }).map(drop).unwrap();
                    bench.ask_of(&vaults, &KeyOperation::Purge { name }).map(drop).unwrap();
                }
            });
        }
    });
    bench.unwrap("k", None, wrapped).unwrap();
    assert_eq!(file_seal(&bench.folder).unseal().unwrap().len(), 1);
}

#[test]
fn several_processes_may_make_the_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data/keys.db");
    let secrets: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let make = |seed| {
            let (path, folder) = (&path, &folder);
            scope.spawn(move || {
                let store = KeyStore::create(path, file_seal(folder), entropy(seed)).unwrap();
                store.server_secret("ledger").unwrap().expose().to_vec()
            })
        };
        let threads: Vec<_> = (1..5).map(make).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn other_formats_and_files_are_refused_untouched() {
    let check = |change: &str, expected: &str| {
        let bench = Bench::new();
        let path = bench.path();
        drop(bench.vaults);
        rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let before = std::fs::read(&path).unwrap();
        let seal_before = std::fs::read(bench.folder.path().join("seal")).unwrap();
        for open in [KeyStore::open, KeyStore::create] {
            let result = open(&path, file_seal(&bench.folder), entropy(2));
            assert_eq!(code(result.map(drop)), expected, "{change}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read(bench.folder.path().join("seal")).unwrap(), seal_before);
    };
    check("PRAGMA user_version = 3", "NewerFormat");
    check("PRAGMA user_version = 0", "KeyStoreDamaged");
    check("PRAGMA application_id = 7", "KeyStoreDamaged");
    let bench = Bench::new();
    let absent = bench.folder.path().join("data/absent.db");
    let missing = KeyStore::open(&absent, file_seal(&bench.folder), entropy(2));
    assert_eq!(code(missing.map(drop)), "KeyStoreMissing");
    assert!(!absent.exists());
    std::fs::write(&absent, vec![0xAB; 4096]).unwrap();
    let garbage = KeyStore::open(&absent, file_seal(&bench.folder), entropy(2));
    assert_eq!(code(garbage.map(drop)), "KeyStoreDamaged");
}

#[test]
fn sealed_rows_open_only_in_their_place() {
    let check = |tamper: &str, expected: &str| {
        let mut bench = Bench::new();
        bench.create("k");
        bench.create("other");
        bench.vault = crate::bench::vault("kv2");
        bench.create("k");
        bench.vault = crate::bench::vault("kv1");
        let wrapped = bench.wrap("k").unwrap();
        let rows = rusqlite::Connection::open(bench.path()).unwrap();
        rows.execute_batch(tamper).unwrap();
        assert_eq!(code(bench.unwrap("k", None, &wrapped)), expected, "{tamper}");
    };
    let of = |key: &str| format!("(SELECT sealed_private FROM version WHERE key = {key})");
    let to = "WHERE key = 1";
    check("SELECT 1", "OK");
    check(&format!("UPDATE version SET sealed_private = {} {to}", of("2")), "KeyStoreDamaged");
    check(&format!("UPDATE version SET sealed_private = {} {to}", of("3")), "KeyStoreDamaged");
    check(&format!("UPDATE version SET version = '{}' {to}", "0".repeat(32)), "KeyStoreDamaged");
    check(
        "UPDATE key SET name = 'x' WHERE id = 2; UPDATE key SET name = 'k2' WHERE id = 1; \
           UPDATE key SET name = 'k' WHERE id = 2",
        "KeyStoreDamaged",
    );
    check(
        "UPDATE vault SET sealed_key = (SELECT sealed_key FROM vault WHERE id = 2) WHERE id = 1",
        "KeyStoreDamaged",
    );
    check("UPDATE version SET sealed_private = x'00' WHERE key = 1", "KeyStoreDamaged");
}

#[test]
fn server_secrets_are_made_once_and_differ_by_name() {
    let bench = Bench::new();
    let store = bench.vaults.store();
    let first = store.server_secret("ledger").unwrap();
    assert_eq!(first.expose().len(), 32);
    assert_eq!(store.server_secret("ledger").unwrap().expose(), first.expose());
    assert_ne!(store.server_secret("tokens").unwrap().expose(), first.expose());
    let again = KeyStore::open(&bench.path(), file_seal(&bench.folder), entropy(8)).unwrap();
    assert_eq!(again.server_secret("ledger").unwrap().expose(), first.expose());
    assert_eq!(code(store.server_secret("").map(drop)), "InternalError");
}
