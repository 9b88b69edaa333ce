//! Purge is an erase, wherever it is cut short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyStore, KeyVaultError, KeyVaults, RootKey, Seal, VaultOperation,
};

use crate::bench::{Bench, code, entropy, file_seal, key_name, officer};

/// The purged key's bytes are in the old file and nowhere else; neither the old file beside the
/// present seal nor its rows in the present file open.
#[test]
fn an_older_file_beside_the_present_seal_opens_nothing() {
    let bench = Bench::new();
    bench.create("k");
    bench.create("other");
    let wrapped = bench.wrap("k").unwrap();
    let kept = bench.wrap("other").unwrap();
    let secret = bench.vaults.store().server_secret("ledger").unwrap();
    let old = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let file = format!("keys.db{suffix}");
        std::fs::copy(bench.path().with_file_name(&file), old.path().join(&file)).unwrap();
    }
    bench.delete("k");
    bench.purge("k").map(drop).unwrap();

    let old = old.path().join("keys.db");
    let opened = KeyStore::open(&old, file_seal(&bench.folder), entropy(9));
    assert_eq!(code(opened.map(drop)), "SealMismatch");

    // What stays, stays usable: in this process, in a new one, and secrets keep their value.
    bench.unwrap("other", None, &kept).unwrap();
    let fresh = bench.beside(3).unwrap();
    bench.unwrap_of(&fresh, "other", None, &kept).unwrap();
    assert_eq!(fresh.store().server_secret("ledger").unwrap().expose(), secret.expose());

    // The old rows of the key, carried into the present file.
    let rows = rusqlite::Connection::open(bench.path()).unwrap();
    rows.execute("ATTACH ?1 AS old", [old.to_str().unwrap()]).unwrap();
    rows.execute_batch(
        "INSERT INTO key (id, vault, name) SELECT id, vault, name FROM old.key WHERE name = 'k'; \
         INSERT INTO version SELECT * FROM old.version WHERE key IN (SELECT id FROM key WHERE name = 'k');",
    )
    .unwrap();
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "KeyStoreDamaged");
}

#[test]
fn the_old_bytes_are_gone_from_the_files() {
    let bench = Bench::new();
    bench.create("k");
    let number = "SELECT sealed_private FROM version";
    let rows = rusqlite::Connection::open(bench.path()).unwrap();
    let sealed: Vec<u8> = rows.query_one(number, [], |row| row.get(0)).unwrap();
    drop(rows);
    let old_seal = std::fs::read(bench.seal_path()).unwrap();
    bench.delete("k");
    bench.purge("k").map(drop).unwrap();
    for entry in std::fs::read_dir(bench.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(64).any(|window| window == &sealed[..64]));
    }
    let roots = file_seal(&bench.folder).unseal().unwrap();
    assert_eq!(roots.len(), 1);
    assert!(!old_seal.windows(32).any(|window| window == roots[0].secret().expose()));
    assert!(!bench.folder.path().join("seal.new").exists());
}

#[test]
fn a_purged_key_vault_is_erased_too() {
    let bench = Bench::new();
    bench.create("k");
    let old = tempfile::NamedTempFile::new().unwrap();
    rusqlite::Connection::open(bench.path())
        .unwrap()
        .execute("VACUUM INTO ?1", [old.path().to_str().unwrap()])
        .unwrap();
    for operation in [VaultOperation::Delete, VaultOperation::Purge] {
        let (vault, context) = (&bench.vault, &bench.context());
        bench.vaults.perform_on_vault(&officer(), vault, operation, context).unwrap();
    }
    let opened = KeyStore::open(old.path(), file_seal(&bench.folder), entropy(9));
    assert_eq!(code(opened.map(drop)), "SealMismatch");
}

/// A seal whose process dies in the middle of a purge: at the `crash_at`-th replacement, before or
/// after it took effect; and at all after that.
struct DyingSeal {
    seal: Arc<dyn Seal>,
    crash_at: usize,
    after_effect: bool,
    replaced: AtomicUsize,
}

impl Seal for DyingSeal {
    fn unseal(&self) -> Result<Vec<RootKey>, KeyVaultError> {
        self.seal.unseal()
    }

    fn create(&self, root: &RootKey) -> Result<(), KeyVaultError> {
        self.seal.create(root)
    }

    fn replace(&self, roots: &[RootKey]) -> Result<(), KeyVaultError> {
        let count = self.replaced.fetch_add(1, Ordering::Relaxed) + 1;
        if count < self.crash_at || (count == self.crash_at && self.after_effect) {
            self.seal.replace(roots)?;
        }
        if count < self.crash_at { Ok(()) } else { Err(KeyVaultError::Bug("the process died")) }
    }

    fn protects(&self) -> &'static str {
        "nothing"
    }
}

#[test]
fn a_purge_that_is_cut_short_is_finished_or_has_not_happened() {
    // (replacement, whether it took effect) → whether the key is purged
    let check = |crash_at: usize, after_effect: bool, purged: bool| {
        let bench = Bench::new();
        bench.create("k");
        bench.create("other");
        let wrapped = bench.wrap("k").unwrap();
        let kept = bench.wrap("other").unwrap();
        bench.delete("k");
        let replaced = AtomicUsize::new(0);
        let seal = DyingSeal { seal: file_seal(&bench.folder), crash_at, after_effect, replaced };
        let store = KeyStore::open(&bench.path(), Arc::new(seal), entropy(7)).unwrap();
        let dying = KeyVaults::new(
            Arc::new(store),
            Arc::clone(&bench.records) as Arc<_>,
            Arc::new(bench.clock()),
        );
        let name = &key_name("k");
        assert_eq!(code(bench.ask_of(&dying, &KeyOperation::Purge { name })), "InternalError");
        assert_eq!(bench.records.last().result_type, "Failure");
        drop(dying);

        let next = bench.beside(8).unwrap();
        assert_eq!(file_seal(&bench.folder).unseal().unwrap().len(), 1, "{crash_at}");
        bench.unwrap_of(&next, "other", None, &kept).unwrap();
        let recovered = code(bench.ask_of(&next, &KeyOperation::Recover { name }));
        assert_eq!(recovered, if purged { "KeyNotFound" } else { "OK" }, "{crash_at}");
        if !purged {
            bench.unwrap_of(&next, "k", None, &wrapped).unwrap();
        }
    };
    check(1, false, false);
    check(1, true, false);
    check(2, false, true);
    check(2, true, true);
}

#[test]
fn a_reader_holds_the_erase_up_and_it_is_finished_later() {
    let bench = Bench::new();
    bench.create("k");
    bench.delete("k");
    let reader = rusqlite::Connection::open(bench.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM store").unwrap();
    let before = file_seal(&bench.folder).unseal().unwrap();
    let result = bench.purge("k");
    assert_eq!(code(result), "EraseUnfinished");
    assert_eq!(file_seal(&bench.folder).unseal().unwrap().len(), 2);
    reader.execute_batch("COMMIT").unwrap();
    bench.beside(4).unwrap();
    let after = file_seal(&bench.folder).unseal().unwrap();
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].id(), before[0].id());
}

#[test]
fn purges_follow_one_another() {
    let bench = Bench::new();
    bench.create("kept");
    let wrapped = bench.wrap("kept").unwrap();
    for name in ["a", "b", "c"] {
        bench.create(name);
        bench.delete(name);
        let Ok(KeyAnswer::Purged { kits }) = bench.purge(name) else { panic!("not purged") };
        assert_eq!(kits, []);
        bench.unwrap("kept", None, &wrapped).unwrap();
    }
    bench.unwrap_of(&bench.beside(4).unwrap(), "kept", None, &wrapped).unwrap();
}
