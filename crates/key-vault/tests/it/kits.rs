//! Recovery kits: made, tested, restored on an empty machine.

use std::sync::Arc;

use custody_envelope::SecretBytes;
use custody_key_vault::{KeyAnswer, KeyStore, KeyVaults, KitRepository, RecoveryKit, RootKey};
use custody_names::{InstallationId, VaultGuid};

use crate::bench::{Bench, code, entropy, file_seal};

const INSTALLATION: InstallationId = InstallationId::from_bytes([3; 16]);

fn passphrase(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn repositories() -> Vec<KitRepository> {
    vec![KitRepository {
        vault: VaultGuid::from_bytes([4; 16]),
        place: "/srv/backup".into(),
        fingerprint: vec![5; 32],
    }]
}

fn kit_of(bench: &Bench) -> Vec<u8> {
    let store = bench.vaults.store();
    let words = passphrase("staple battery");
    RecoveryKit::create(store, &words, INSTALLATION, &repositories(), bench.now).unwrap().1
}

#[test]
fn a_kit_opens_everything_on_an_empty_machine() {
    let bench = Bench::new();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let secret = bench.vaults.store().server_secret("ledger").unwrap();
    let bytes = kit_of(&bench);
    assert_eq!(code(RecoveryKit::open(&passphrase("wrong"), &bytes).map(drop)), "WrongPassphrase");
    let kit = RecoveryKit::open(&passphrase("staple battery"), &bytes).unwrap();
    assert_eq!(kit.installation(), INSTALLATION);
    assert_eq!(kit.created(), bench.now);
    assert_eq!(kit.repositories(), repositories());

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data/keys.db");
    let seal = file_seal(&folder);
    kit.restore(&path, seal.as_ref()).unwrap();
    let store = KeyStore::open(&path, seal, entropy(20)).unwrap();
    let restored = KeyVaults::new(
        Arc::new(store),
        Arc::clone(&bench.records) as Arc<_>,
        Arc::new(bench.clock()),
    );
    bench.unwrap_of(&restored, "k", None, &wrapped).unwrap();
    assert_eq!(restored.store().server_secret("ledger").unwrap().expose(), secret.expose());

    // Not over something that stands.
    assert_eq!(code(kit.restore(&path, file_seal(&folder).as_ref())), "KeyStoreExists");
    // A restore that was cut short after the seal is taken up again; another seal is not touched.
    std::fs::remove_file(&path).unwrap();
    kit.restore(&path, file_seal(&folder).as_ref()).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(folder.path().join("seal")).unwrap();
    let stranger = RootKey::mint(&*entropy(30)).unwrap();
    file_seal(&folder).create(&stranger).unwrap();
    assert_eq!(code(kit.restore(&path, file_seal(&folder).as_ref())), "SealExists");
    assert!(!path.exists());
}

#[test]
fn kits_are_noted_and_purge_names_them() {
    let bench = Bench::new();
    let store = bench.vaults.store();
    bench.create("k");
    kit_of(&bench);
    let kits = store.kits().unwrap();
    assert_eq!(kits.len(), 1);
    assert_eq!((kits[0].tested, kits[0].covers), (None, store.coverage().unwrap()));
    store.note_kit_tested(kits[0].id, bench.now).unwrap();
    assert_eq!(store.kits().unwrap()[0].tested, Some(bench.now));
    bench.create("later");
    assert!(kits[0].covers < store.coverage().unwrap()); // status warns again
    let purged = |name: &str| {
        bench.delete(name);
        match bench.purge(name) {
            Ok(KeyAnswer::Purged { kits }) => kits,
            _ => panic!("not purged"),
        }
    };
    assert_eq!(purged("later"), []);
    let named = purged("k");
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].id, kits[0].id);
}

#[test]
fn damaged_and_newer_kits_are_refused() {
    let bench = Bench::new();
    bench.create("k");
    let bytes = kit_of(&bench);
    let words = passphrase("staple battery");
    let check = |at: usize, value: u8, expected: &str| {
        let mut spoiled = bytes.clone();
        spoiled[at] = value;
        assert_eq!(code(RecoveryKit::open(&words, &spoiled).map(drop)), expected, "{at}");
    };
    let format = 2 + "custody recovery kit".len();
    check(format, 2, "NewerFormat");
    check(0, 0xFF, "KeyStoreDamaged");
    check(3, b'X', "KeyStoreDamaged");
    check(bytes.len() - 1, !bytes[bytes.len() - 1], "KeyStoreDamaged");
    check(format + 8, !bytes[format + 8], "KeyStoreDamaged"); // the kit's id is authenticated
    assert_eq!(
        code(RecoveryKit::open(&words, &bytes[..bytes.len() - 1]).map(drop)),
        "KeyStoreDamaged"
    );
    assert_eq!(code(RecoveryKit::open(&words, b"").map(drop)), "KeyStoreDamaged");
    let names: Vec<_> = std::fs::read_dir(bench.path().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["keys.db", "keys.db-wal", "keys.db-shm"].contains(&name.as_str()))
        .collect();
    assert_eq!(names, Vec::<String>::new()); // no copy is left behind
}
