//! The record store through its front door.

use std::path::Path;
use std::sync::Arc;

use custody_record_store::{RecordStore, SqliteRecords, StoreError, suite};

#[test]
fn sqlite_file_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0_u32);
    suite::run(&|| {
        number.set(number.get() + 1);
        let path = folder.path().join(format!("{}.db", number.get()));
        [(); 2].map(|()| Arc::new(SqliteRecords::open(&path).unwrap()) as Arc<dyn RecordStore>)
    });
}

#[test]
fn sqlite_memory_keeps_the_contract() {
    suite::run(&|| {
        let store: Arc<dyn RecordStore> = Arc::new(SqliteRecords::memory().unwrap());
        [Arc::clone(&store), store]
    });
}

#[test]
fn a_new_file_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = SqliteRecords::open(&path).unwrap();
                store
                    .change_setting("opened", &mut |before| {
                        Some((before.and_then(|count| count.as_u64()).unwrap_or(0) + 1).into())
                    })
                    .unwrap();
            });
        }
    });
    let store = SqliteRecords::open(&path).unwrap();
    assert_eq!(store.setting("opened").unwrap(), Some(8.into()));
}

#[test]
fn what_was_stored_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = SqliteRecords::open(&path).unwrap();
    store.set_setting("a", &1.into()).unwrap();
    // Not closed in good order, as after a kill: the write-ahead log alone holds the setting.
    std::mem::forget(store);
    assert_eq!(SqliteRecords::open(&path).unwrap().setting("a").unwrap(), Some(1.into()));
}

#[test]
fn foreign_newer_and_damaged_files_are_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let check = |code: &str| {
        let before = std::fs::read(&path).unwrap();
        let error = SqliteRecords::open(&path).err().map(|error| error.code());
        assert_eq!(error, Some(code));
        assert_eq!(std::fs::read(&path).unwrap(), before, "{code}");
        std::fs::remove_file(&path).unwrap();
    };
    drop(SqliteRecords::open(&path).unwrap());
    sql(&path, "PRAGMA user_version = 2");
    check("RecordsNewerFormat");
    sql(&path, "CREATE TABLE t (a); PRAGMA application_id = 5");
    check("RecordsForeign");
    sql(&path, "CREATE TABLE t (a)");
    check("RecordsForeign");
    std::fs::write(&path, "This is no database at all. ".repeat(100)).unwrap();
    check("RecordsDamaged");
}

#[test]
fn a_damaged_row_is_told_from_an_absent_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = SqliteRecords::open(&path).unwrap();
    store.set_setting("a", &1.into()).unwrap();
    sql(&path, "UPDATE settings SET value = '{'");
    assert!(matches!(store.setting("a"), Err(StoreError::Damaged(_))));
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("records.db");
    let error = SqliteRecords::open(&path).err().unwrap();
    assert_eq!(error.code(), "RecordsUnavailable");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn others_on_the_machine_cannot_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteRecords::open(&folder.path().join("records.db")).unwrap();
    store.set_setting("a", &1.into()).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.file_name());
    }
}

#[expect(clippy::unwrap_used, reason = "a test's own means")]
fn sql(path: &Path, statements: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(statements).unwrap();
}
