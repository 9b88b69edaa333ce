//! Verification: what it notices, where it points, and what it admits not to know.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use custody_activity::{HeadFile, verify};

use crate::{append, open, open_signed_with, segments, written};

/// The only segment of a small ledger.
fn segment(folder: &Path) -> std::path::PathBuf {
    segments(folder).pop().unwrap()
}

/// Gives every line the hash its bytes now have, and each the hash of the one before: what
/// somebody does who can write the folder and forges the chain.
pub(crate) fn with_right_hashes(text: &str) -> String {
    let mut previous = "0".repeat(64);
    let mut forged = String::new();
    for line in text.lines() {
        let (body, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let at = body.find("\"previous\":\"").unwrap() + 12;
        let body = format!("{}{previous}{}", &body[..at], &body[at + 64..]);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
        previous = data_encoding::HEXLOWER.encode(digest.as_ref());
        writeln!(forged, "{body},\"hash\":\"{previous}\"}}").unwrap();
    }
    forged
}

#[test]
fn an_untouched_ledger_passes() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 3);
    ledger.sign_head().unwrap();
    let report = verify(folder.path(), None).unwrap();
    assert!(report.passed());
    assert_eq!((report.records, report.signatures_checked), (5, 1));
    assert_eq!(report.last, ledger.head().unwrap());
    assert!(report.statement.contains("it cannot be excluded that records were removed"));

    let head = ledger.export_head().unwrap().unwrap();
    append(&ledger, 4);
    let report = verify(folder.path(), Some(&head)).unwrap();
    assert!(report.passed());
    assert_eq!((report.records, report.signatures_checked), (6, 2));
    assert!(report.statement.contains("All records up to 5"), "{}", report.statement);
}

#[test]
fn every_flipped_bit_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3).sign_head().unwrap();
    let path = segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut line = 1;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            let report = verify(folder.path(), None).unwrap();
            let bad = report.first_bad.unwrap_or_else(|| panic!("byte {at} bit {bit} passes"));
            assert_eq!(bad.line, line, "byte {at} bit {bit}: {}", bad.why);
            assert_eq!(report.records, line - 1);
        }
        line += u64::from(whole[at] == b'\n');
    }
}

#[test]
fn changed_lines_are_found_though_their_own_hash_is_right() {
    let check = |change: fn(&mut Vec<String>), bad_line: u64, why: &str| {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), 4);
        let path = segment(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let bad = verify(folder.path(), None).unwrap().first_bad.unwrap();
        assert_eq!(bad.line, bad_line, "{}", bad.why);
        assert!(bad.why.contains(why), "{}", bad.why);
    };
    check(|lines| lines.swap(2, 3), 3, "it is record 4, expected 3");
    check(|lines| drop(lines.remove(2)), 3, "it is record 4, expected 3");
    check(|lines| drop(lines.remove(0)), 1, "it is record 2, expected 1");
    check(|lines| lines.insert(2, lines[1].clone()), 3, "it is record 2, expected 3");
    check(
        |lines| {
            // A whole other line of the same number, with a right hash of its own.
            let forged = lines[2].replace("allowed", "refused");
            let forged = with_right_hashes(&format!("{}\n{}\n{forged}\n", lines[0], lines[1]));
            lines[2] = forged.lines().last().unwrap().to_owned();
        },
        4,
        "does not continue the record before it",
    );
    check(|lines| lines[4].push('\r'), 5, "no hash of its own");
    check(|lines| lines.insert(1, String::new()), 2, "no hash of its own");
}

#[test]
fn a_forged_chain_breaks_at_its_first_signature() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3).sign_head().unwrap();
    let path = segment(folder.path());
    let forged = fs::read_to_string(&path).unwrap().replace("\"number\":2", "\"number\":9");
    fs::write(&path, with_right_hashes(&forged)).unwrap();
    let bad = verify(folder.path(), None).unwrap().first_bad.unwrap();
    assert_eq!((bad.line, bad.why.as_str()), (5, "its signature is wrong"));
}

#[test]
fn truncation_is_noticed_with_a_kept_head_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 5);
    let head = ledger.export_head().unwrap().unwrap();
    let path = segment(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, lines[..4].join("\n") + "\n").unwrap();

    let without = verify(folder.path(), None).unwrap();
    assert!(without.passed());
    assert!(without.statement.contains("it cannot be excluded that records were removed"));

    let with = verify(folder.path(), Some(&head)).unwrap();
    assert!(with.truncated_since_head && !with.passed());
    assert!(with.statement.contains("at least 2 records were removed"), "{}", with.statement);

    fs::remove_file(&path).unwrap();
    let emptied = verify(folder.path(), Some(&head)).unwrap();
    assert!(emptied.truncated_since_head && emptied.records == 0);
}

#[test]
fn a_rewritten_ledger_is_noticed_with_a_kept_head() {
    let folder = tempfile::tempdir().unwrap();
    let head = written(folder.path(), 3).export_head().unwrap().unwrap();
    let path = segment(folder.path());
    let forged = fs::read_to_string(&path).unwrap().replace("\"number\":2", "\"number\":9");
    fs::write(&path, with_right_hashes(&forged)).unwrap();
    append(&open(folder.path()), 4);

    assert!(verify(folder.path(), None).unwrap().passed());
    let bad = verify(folder.path(), Some(&head)).unwrap().first_bad.unwrap();
    assert_eq!((bad.line, bad.why.contains("the kept head")), (4, true));
}

#[test]
fn a_missing_segment_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..=3 {
        append(&open_signed_with(folder.path(), Some(seed)), 1);
    }
    let check = |missing: usize, expected: Option<u64>| {
        let path = &segments(folder.path())[missing];
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let report = verify(folder.path(), None).unwrap();
        assert_eq!(report.first_bad.map(|bad| bad.line), expected);
        fs::write(path, bytes).unwrap();
    };
    check(0, Some(1));
    check(1, Some(1));
    check(2, None); // the end: only a kept head can tell
}

#[test]
fn head_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = written(folder.path(), 2);
    let head = ledger.export_head().unwrap().unwrap();
    let text = head.to_json().unwrap();
    assert_eq!(HeadFile::from_json(&text).unwrap(), head);

    let check = |from: &str, to: &str, why: &str| {
        assert!(text.contains(from), "{text}");
        let error = HeadFile::from_json(&text.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.code(), "LedgerHeadInvalid");
        assert!(error.to_string().contains(why), "{error}");
    };
    check("\"sequence\": 3", "\"sequence\": 4", "signature is wrong");
    check("2026-11-22", "2026-11-23", "signature is wrong");
    check("\"format\": 1", "\"format\": 2", "newer");
    check("{", "[", "expected");

    let signature = head.signature.clone().unwrap();
    check(&format!("\"{signature}\""), "null", "signature is wrong");

    // Signed by somebody else, though rightly.
    let stranger = tempfile::tempdir().unwrap();
    let other = open_signed_with(stranger.path(), Some(9));
    append(&other, 1);
    append(&other, 2);
    let other = other.export_head().unwrap().unwrap();
    let bad = verify(folder.path(), Some(&other)).unwrap().first_bad.unwrap();
    assert!(bad.why.contains("the kept head"), "{}", bad.why);
}
