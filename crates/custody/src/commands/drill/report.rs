//! Reports of drills: as they were sealed, and for people.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::answers::{list, number, word};
use crate::context::Context;
use crate::error::CliError;
use crate::new_file::{exists, write_new};
use crate::{human, terminal};

/// Refuses a place where something lies already, before anything is done.
pub(super) fn require_new(context: &Context<'_>, path: &Path) -> Result<(), CliError> {
    for path in places(context, path) {
        if path.symlink_metadata().is_ok() {
            return Err(exists(&terminal::path(path.as_os_str().as_encoded_bytes())));
        }
    }
    Ok(())
}

/// Writes a report as JSON, and as text beside it.
pub(super) fn write(context: &Context<'_>, path: &Path, sealed: &Value) -> Result<(), CliError> {
    let [json, readable] = places(context, path);
    let sealed_text = format!("{sealed:#}\n");
    for (path, text) in [(json, sealed_text), (readable, text(sealed))] {
        let shown = terminal::path(path.as_os_str().as_encoded_bytes());
        write_new(&path, text.as_bytes(), &shown)?;
        context.say(&format!("wrote {shown}"));
    }
    Ok(())
}

fn places(context: &Context<'_>, path: &Path) -> [PathBuf; 2] {
    let json = context.absolute(path);
    let mut readable = json.clone().into_os_string();
    readable.push(".txt");
    [json, readable.into()]
}

/// A report for people.
pub(super) fn text(sealed: &Value) -> String {
    let report = sealed.get("report").unwrap_or(&Value::Null);
    let flag = |name: &str| report.get(name).and_then(Value::as_bool).unwrap_or_default();
    let by = report.get("by").unwrap_or(&Value::Null);
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("drill: revoke{}", if flag("live") { ", live" } else { ", nothing changed" }));
    for (label, value) in [
        ("vault", word(report, "vault")),
        ("key", word(report, "key")),
        ("by", format!("{} ({})", word(by, "name"), word(by, "principalId"))),
        ("begun", word(report, "begun")),
        ("ended", word(report, "ended")),
        ("operation", word(report, "operation")),
    ] {
        if !value.is_empty() {
            line(format!("{label}: {value}"));
        }
    }
    line(format!("verdict: {}", word(report, "verdict")));
    for step in list(report, "steps") {
        let (time, result) = (word(step, "time"), word(step, "result").to_lowercase());
        line(format!("  {time} {}: {result}, {} ms", word(step, "step"), number(step, "tookMs")));
        if !word(step, "code").is_empty() {
            line(format!("    {} ({})", word(step, "message"), word(step, "code")));
        }
    }
    let mut text = text + &measured(report);
    for item in list(report, "restored") {
        let files = human::count(number(item, "files"), "file");
        let size = human::size(number(item, "bytes"));
        let (name, result) = (word(item, "item"), word(item, "result").to_lowercase());
        let _ = writeln!(text, "restored {name}: {result}, {files}, {size}");
    }
    let ledger = sealed.get("ledger").unwrap_or(&Value::Null);
    let at = |name: &str| ledger.get(name).unwrap_or(&Value::Null);
    let _ = writeln!(text, "report: SHA-256 {}", word(ledger, "reportSha256"));
    for (label, place) in [("record", "record"), ("head", "head")] {
        let (sequence, hash) = (number(at(place), "sequence"), word(at(place), "hash"));
        let _ = writeln!(text, "ledger {label}: {sequence} {hash}");
    }
    text
}

fn measured(report: &Value) -> String {
    let Some(measured) = report.get("measured") else { return String::new() };
    let mut text = String::new();
    for (label, name) in [("a running job", "runningJob"), ("new operations", "newOperations")] {
        let reads = measured.get(name).unwrap_or(&Value::Null);
        let _ = match reads.get("stoppedMs").and_then(Value::as_u64) {
            Some(ms) => writeln!(text, "{label}: stopped after {ms} ms ({})", word(reads, "code")),
            None => writeln!(text, "{label}: not stopped"),
        };
    }
    if let Some(ms) = measured.get("lastReadMs").and_then(Value::as_u64) {
        let _ = writeln!(text, "last read: {ms} ms after the key was disabled");
    }
    text
}
