//! Older formats of `keys.db` are taken forward; long lists read their own page only.

use custody_key_vault::{KeyAnswer, KeyOperation, KeyStore, PAGE_ENTRIES_MAX, Page};

use crate::bench::{Bench, entropy, file_seal, key_name};

/// What format 2 added, taken away again.
const TO_FORMAT_1: &str = "
    DROP INDEX version_by_number; DROP INDEX version_expiring; DROP INDEX key_rotating;
    ALTER TABLE vault DROP COLUMN managed_hsm; ALTER TABLE vault DROP COLUMN location;
    ALTER TABLE vault DROP COLUMN geography;
    ALTER TABLE key DROP COLUMN rotation_policy; ALTER TABLE key DROP COLUMN floor;
    ALTER TABLE version DROP COLUMN kind; ALTER TABLE version DROP COLUMN curve;
    ALTER TABLE version DROP COLUMN hsm; ALTER TABLE version DROP COLUMN exportable;
    ALTER TABLE version DROP COLUMN origin; ALTER TABLE version DROP COLUMN release_policy;
    ALTER TABLE version DROP COLUMN told;
    PRAGMA user_version = 1;";

#[test]
fn format_1_opens_and_is_taken_forward_once() {
    let bench = Bench::new();
    let key = bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let path = bench.path();
    rusqlite::Connection::open(&path).unwrap().execute_batch(TO_FORMAT_1).unwrap();
    std::thread::scope(|scope| {
        for seed in 2..5 {
            let (path, bench, wrapped) = (&path, &bench, &wrapped);
            scope.spawn(move || {
                KeyStore::open(path, file_seal(&bench.folder), entropy(seed)).unwrap();
                let vaults = bench.beside(seed + 10).unwrap();
                bench.unwrap_of(&vaults, "k", None, wrapped).unwrap();
            });
        }
    });
    let name = &key_name("k");
    let after = crate::bench::one_key(bench.ask(&KeyOperation::Get { name, version: None }));
    assert_eq!(after, key);
    let format: u32 = rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(format, 2);
}

#[test]
fn a_page_of_a_long_list_reads_no_other_rows() {
    const KEYS: u32 = 10_000;
    let bench = Bench::new();
    bench.create("a");
    let rows = rusqlite::Connection::open(bench.path()).unwrap();
    rows.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS}) \
         INSERT INTO key (id, vault, name) SELECT i, 1, printf('k%05d', i) FROM n; \
         INSERT INTO version (key, version, enabled, created, updated, size_bits, operations, \
         tags, public_key, sealed_private) SELECT key.id, printf('%032x', key.id), 1, 0, 0, 2048, \
         '[]', '{{}}', x'00', x'00' FROM key WHERE key.id > 1;"
    ))
    .unwrap();
    // Key material that cannot be read is not looked at, and a page costs no scan of the table.
    let plan: Vec<String> = rows
        .prepare(
            "EXPLAIN QUERY PLAN SELECT 1 FROM key JOIN version ON version.number = \
             (SELECT max(number) FROM version WHERE key = key.id) \
             WHERE key.vault = 1 AND key.name > 'k05000' AND key.deleted IS NULL \
             ORDER BY key.name LIMIT 26",
        )
        .unwrap()
        .query_map([], |row| row.get("detail"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(
        plan.iter().all(|step| step.starts_with("SEARCH") || step.contains("SUBQUERY")),
        "{plan:?}"
    );
    let (mut mark, mut count) = (None::<String>, 0);
    loop {
        let page = Page { entries: PAGE_ENTRIES_MAX, after: mark.as_deref() };
        let Ok(KeyAnswer::Keys { keys, next }) = bench.ask(&KeyOperation::List { page }) else {
            panic!("no list")
        };
        count += keys.len();
        match next {
            Some(next) => mark = Some(next),
            None => break,
        }
    }
    assert_eq!(count, KEYS as usize);
}
