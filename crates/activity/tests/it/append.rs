//! Appending: several writers, crashes, segments, limits; and reading back.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use custody_activity::{
    Content, Fault, Importance, Ledger, LedgerError, Note, Order, read, verify,
};
use serde_json::{Value, json};

use crate::{append, open, open_signed_with, segments, written};

fn numbers(ledger: &Ledger, order: Order) -> Vec<u64> {
    let entries = ledger.read(order).unwrap().map(Result::unwrap);
    entries.filter_map(|entry| entry.record()?.get("number")?.as_u64()).collect()
}

#[test]
fn records_come_back_from_either_end() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 5);
    assert_eq!(numbers(&ledger, Order::OldestFirst), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&ledger, Order::NewestFirst), [5, 4, 3, 2, 1]);
    let newest = ledger.read(Order::NewestFirst).unwrap().next().unwrap().unwrap();
    assert_eq!(Some(newest.position), ledger.head().unwrap());
    let keys: Vec<_> = newest.record().unwrap().as_object().unwrap().keys().collect();
    assert_eq!(keys, ["operation", "number", "result"]);
}

#[test]
fn reading_can_begin_at_any_number() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 5);
    let all: Vec<u64> = ledger
        .read(Order::OldestFirst)
        .unwrap()
        .map(|entry| entry.unwrap().position.sequence)
        .collect();
    for from in 0..8 {
        let read = ledger.read_from(from).unwrap().map(|entry| entry.unwrap().position.sequence);
        let expected: Vec<u64> = all.iter().copied().filter(|number| *number >= from).collect();
        assert_eq!(read.collect::<Vec<_>>(), expected, "from {from}");
    }
}

#[test]
fn a_new_ledger_has_no_head() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("not/there/yet"));
    assert_eq!(ledger.head().unwrap(), None);
    assert_eq!(ledger.export_head().unwrap(), None);
    ledger.sign_head().unwrap();
    assert_eq!(ledger.head().unwrap(), None);
}

#[test]
fn only_the_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("ledger");
    written(&folder, 1);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.clone()), 0o700);
    for name in ["00000000000000000001.jsonl", "lock", "reserve"] {
        assert_eq!(mode(folder.join(name)), 0o600, "{name}");
    }
}

#[test]
fn many_writers_make_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let handles = [open(folder.path()), open(folder.path())];
    std::thread::scope(|scope| {
        for (index, handle) in handles.iter().enumerate() {
            for thread in 0..2 {
                let first = (index as u64 * 2 + thread) * 200;
                scope.spawn(move || (first..first + 200).for_each(|n| append(handle, n)));
            }
        }
    });
    let report = verify(folder.path(), None).unwrap();
    assert!(report.passed(), "{}", report.statement);
    let mut all = numbers(&handles[0], Order::OldestFirst);
    all.sort_unstable();
    assert_eq!(all, (0..800).collect::<Vec<_>>());
    assert_eq!(report.signatures_checked, 3, "a head is signed every 256 lines");
}

#[test]
fn a_torn_tail_is_cut_off_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 3);
    let path = segments(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let last_line = whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
    let before_last = whole.len() - last_line.len();

    // A crash after any number of bytes of the last line, up to the one before its end.
    for kept in [1, 2, last_line.len() / 2, last_line.len() - 2, last_line.len() - 1] {
        fs::write(&path, &whole[..before_last + kept]).unwrap();
        let report = verify(folder.path(), None).unwrap();
        assert!(report.passed(), "{kept}: {}", report.statement);
        assert_eq!((report.records, report.unfinished_bytes), (3, kept as u64));

        // The handle that was open before the crash of another process, and a new one.
        for ledger in [&ledger, &open(folder.path())] {
            fs::write(&path, &whole[..before_last + kept]).unwrap();
            append(ledger, 4);
            assert_eq!(numbers(ledger, Order::OldestFirst), [1, 2, 4], "{kept}");
            let note = ledger.read(Order::NewestFirst).unwrap().nth(1).unwrap().unwrap();
            let Content::Note(Note::Repaired { fault, bytes, text, .. }) = note.content else {
                panic!("{kept}: no note on the repair but {note:?}");
            };
            assert_eq!((fault, bytes), (Fault::Torn, kept as u64));
            assert_eq!(text.as_bytes(), &last_line[..kept]);
            let report = verify(folder.path(), None).unwrap();
            assert!(report.passed() && report.unfinished_bytes == 0, "{}", report.statement);
        }
    }
}

#[test]
fn a_torn_first_line_is_cut_off_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("00000000000000000001.jsonl"), "{\"sequ").unwrap();
    let ledger = written(folder.path(), 1);
    let entries: Vec<_> = ledger.read(Order::OldestFirst).unwrap().map(Result::unwrap).collect();
    assert!(matches!(&entries[0].content, Content::Note(Note::Begin { .. })));
    assert!(matches!(&entries[1].content, Content::Note(Note::Repaired { bytes: 6, .. })));
    assert_eq!(entries.len(), 3);
    assert!(verify(folder.path(), None).unwrap().passed());
}

#[test]
fn a_damaged_last_line_stays_as_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 2);
    let path = segments(folder.path()).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"number\":2", "\"number\":3")).unwrap();

    append(&open(folder.path()), 4);
    let report = verify(folder.path(), None).unwrap();
    assert_eq!(report.first_bad.unwrap().line, 3);
    let entries: Vec<_> = ledger.read(Order::OldestFirst).unwrap().collect();
    let damaged = entries[2].as_ref().unwrap_err();
    assert_eq!(damaged.code(), "LedgerDamaged");
    let note = &entries[3].as_ref().unwrap().content;
    assert!(matches!(note, Content::Note(Note::Repaired { fault: Fault::Unreadable, .. })));
    let last = entries[4].as_ref().unwrap();
    assert_eq!((last.position.sequence, &last.record().unwrap()["number"]), (5, &json!(4)));
}

#[test]
fn segments_end_at_their_length_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let record = |number| json!({ "number": number, "padding": "x".repeat(60_000) });
    for number in 1..=75 {
        ledger.append(&record(number), Importance::Ordinary).unwrap();
    }
    let names: Vec<_> =
        segments(folder.path()).iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
    assert_eq!(names, ["00000000000000000001", "00000000000000000072"]);
    assert_eq!(numbers(&ledger, Order::OldestFirst), (1..=75).collect::<Vec<_>>());
    assert_eq!(numbers(&ledger, Order::NewestFirst), (1..=75).rev().collect::<Vec<_>>());
    assert!(verify(folder.path(), None).unwrap().passed());

    // A crash right after a segment was made and before anything stood in it.
    fs::write(folder.path().join("00000000000000000078.jsonl"), "").unwrap();
    append(&ledger, 76);
    append(&open(folder.path()), 77);
    assert_eq!(numbers(&ledger, Order::OldestFirst), (1..=77).collect::<Vec<_>>());
    assert!(verify(folder.path(), None).unwrap().passed());
}

#[test]
fn another_signing_key_begins_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    for (number, seed) in [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(2)), (5, None)] {
        let ledger = open_signed_with(folder.path(), seed);
        append(&ledger, number);
        ledger.sign_head().unwrap();
        ledger.sign_head().unwrap(); // the second has nothing to do
    }
    assert_eq!(segments(folder.path()).len(), 4);
    let report = verify(folder.path(), None).unwrap();
    assert!(report.passed(), "{}", report.statement);
    assert_eq!((report.signing_keys.len(), report.signatures_checked), (2, 3));
    assert!(report.statement.contains("signed with 2 keys"));
}

#[test]
fn what_is_no_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 1);
    let head = ledger.head().unwrap();
    let check = |record: Value, expected: &str| {
        let error = ledger.append(&record, Importance::Essential).unwrap_err();
        assert_eq!(error.code(), "LedgerRecordInvalid");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(json!("text"), "no JSON object");
    check(json!(null), "no JSON object");
    check(json!({ "long": "x".repeat(64 << 10) }), "of at most 65536");
    assert_eq!(ledger.head().unwrap(), head);
}

#[test]
fn a_newer_format_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let path = segments(folder.path()).pop().unwrap();
    let newer = fs::read_to_string(&path).unwrap().replace("\"format\":1", "\"format\":2");
    let newer = crate::verify::with_right_hashes(&newer);
    fs::write(&path, &newer).unwrap();
    let clock =
        std::sync::Arc::new(custody_test_world::FixedClock::at_text("2027-01-01T00:00:00Z"));
    let error = Ledger::open(folder.path(), None, clock).err().unwrap();
    assert_eq!(error.code(), "LedgerFormatTooNew");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn a_record_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("ledger");
    let ledger = written(&folder, 1);
    fs::remove_dir_all(&folder).unwrap();
    let error = ledger.append(&json!({}), Importance::Essential).unwrap_err();
    assert!(matches!(error, LedgerError::Io { .. }), "{error}");
}

#[test]
fn readers_see_whole_lines_only() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2);
    let path = segments(folder.path()).pop().unwrap();
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"sequence\":4").unwrap();
    assert_eq!(read(folder.path(), Order::NewestFirst).unwrap().count(), 3);
}
