//! The ledger through its front door.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod append;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody_activity::{Importance, Ledger, Signer};
use custody_test_world::FixedClock;
use serde_json::json;

fn open_signed_with(folder: &Path, seed: Option<u8>) -> Ledger {
    let signer = seed.map(|seed| Signer::from_seed(&[seed; 32]).unwrap());
    let clock = FixedClock::at_text("2026-11-22T06:00:00Z");
    Ledger::open(folder, signer, Arc::new(clock)).unwrap()
}

fn open(folder: &Path) -> Ledger {
    open_signed_with(folder, Some(7))
}

fn append(ledger: &Ledger, number: u64) {
    let record = json!({ "operation": "unwrap", "number": number, "result": "allowed" });
    ledger.append(&record, Importance::Ordinary).unwrap();
}

/// A ledger of `records` records, and of one line more: the `begin` note.
fn written(folder: &Path, records: u64) -> Ledger {
    let ledger = open(folder);
    for number in 1..=records {
        append(&ledger, number);
    }
    ledger
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    segments.sort();
    segments
}
