//! How far a job is, and what it came to, as scripts read it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::mpsc::channel;

use serde_json::Value;

use crate::site::Site;
use crate::streams::noise;

const DOCUMENT: &str = include_str!("../../../../docs/progress.md");

/// Runs a job that must succeed and gives the lines on its progress: those on its status, and the summary.
fn lines(site: &Site, arguments: &[&str]) -> (Vec<Value>, Value) {
    let ran = site.run(&[arguments, &["--progress", "json", "-o", "none"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut lines: Vec<Value> =
        ran.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["message_type"], "summary", "{summary}");
    assert_eq!(summary["status"], "Completed", "{summary}");
    for line in &lines {
        assert_eq!(line["message_type"], "status", "{line}");
        assert_makes_sense(line);
    }
    assert_documented(&summary);
    assert_documented(&summary["result"]);
    (lines, summary)
}

fn assert_makes_sense(line: &Value) {
    assert_documented(line);
    let number = |name: &str| line[name].as_u64();
    if let Some(share) = line["percent_done"].as_f64() {
        assert!((0.0..=1.0).contains(&share), "{line}");
    }
    let is_estimate = line["total_is_estimate"] == true;
    for (done, total) in [("files_done", "total_files"), ("bytes_done", "total_bytes")] {
        if let (Some(total), false) = (number(total), is_estimate) {
            assert!(number(done).unwrap() <= total, "{line}");
        }
    }
}

/// Every field is in the document.
fn assert_documented(fields: &Value) {
    for name in fields.as_object().unwrap().keys() {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name} is not in docs/progress.md");
    }
}

/// The phases that were shown, in order.
fn phases(lines: &[Value]) -> Vec<&str> {
    let mut phases: Vec<&str> = lines.iter().map(|line| line["phase"].as_str().unwrap()).collect();
    phases.dedup();
    phases
}

#[test]
fn jobs_tell_how_far_they_are_and_what_they_came_to() {
    let site = Site::new();
    for number in 0..12 {
        site.write(&number.to_string(), &noise(number, 1_000_000));
    }
    site.write("twin", &noise(0, 1_000_000));
    site.write("left.tmp", b"out");
    let source = site.source();
    let protect = ["protect", site.text(&source), "--item", "docs", "--exclude", "*.tmp"];
    let shown_of = |lines: &[Value], all: &[&str]| {
        let shown = phases(lines);
        let mut expected = all.iter();
        assert!(shown.iter().all(|phase| expected.any(|other| other == phase)), "{shown:?}");
    };
    let (told, summary) = lines(&site, &protect);
    shown_of(&told, &["", "unlock", "read", "commit"]);
    assert!(told.iter().all(|line| line["total_is_estimate"] != true), "there was none before");
    let mut totals = told.iter().filter_map(|line| line["total_bytes"].as_u64());
    assert!(totals.all(|total| total == 13_000_000), "{told:?}");
    let result = &summary["result"];
    let count = |result: &Value, name: &str| result[name].as_u64().unwrap();
    assert_eq!((count(result, "files"), count(result, "bytes")), (13, 13_000_000));
    assert_eq!(result["leftOut"]["byPattern"], 1);
    let ratio = |name: &str| result[name].as_f64().unwrap();
    assert!((1.0..1.2).contains(&ratio("deduplicationRatio")), "one of 13 was known: {result}");
    assert!((0.9..1.1).contains(&ratio("compressionRatio")), "noise: {result}");

    let (told, summary) = lines(&site, &protect);
    shown_of(&told, &["", "unlock", "read", "commit"]);
    assert_eq!(count(&summary["result"], "unchangedFiles"), 13);
    assert_eq!(count(&summary["result"], "newBytes"), 0);
    assert!(summary["result"]["deduplicationRatio"].is_null(), "nothing was new: {summary}");

    for level in [&["verify"][..], &["verify", "--read-sample", "50"], &["verify", "--read-data"]] {
        let (told, summary) = lines(&site, level);
        shown_of(&told, &["", "unlock", "check", "follow", "check"]);
        let result = &summary["result"];
        assert_eq!(count(&summary, "files_done"), count(result, "objects"), "{summary}");
        assert_eq!(count(&summary, "bytes_done"), count(result, "bytes"), "{summary}");
    }
    for number in 5..9 {
        std::fs::remove_file(source.join(number.to_string())).unwrap();
    }
    lines(&site, &protect);
    site.ok(&["forget", "docs", "--keep-last", "1", "--yes"]);
    let (told, summary) = lines(&site, &["prune"]);
    shown_of(&told, &["", "unlock", "plan", "repack", "index", "delete"]);
    assert!(count(&summary["result"], "bytesFreed") > 0, "{summary}");
    let (told, _) = lines(&site, &["repair"]);
    shown_of(&told, &["", "unlock", "repair", "check"]);
    let target = site.path("back");
    let (told, summary) = lines(&site, &["restore", "docs", "--to", site.text(&target)]);
    shown_of(&told, &["", "unlock", "restore"]);
    assert_eq!(count(&summary, "bytes_done"), 9_000_000, "{summary}");
}

/// A stream that goes on until somebody says how long it is thought to be: as long as the last one.
#[test]
fn a_stream_is_thought_to_be_as_long_as_the_last_one() {
    const LAST: usize = 64 << 20;
    let site = Site::new();
    let script = format!("head -c {LAST} /dev/zero");
    site.ok(&["protect", "--stdin", "dump", "--stdin-command", "sh", "-c", &script]);
    let mut command = site.command(&["protect", "--stdin", "dump", "--progress", "json"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let (sender, lines) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let told = sender.send(line.unwrap());
            assert!(told.is_ok(), "nobody listens");
        }
    });
    let (mut sent, mut all) = (0_usize, Vec::new());
    let seen = 'sending: loop {
        stdin.write_all(&vec![0; 65_536]).unwrap();
        sent += 65_536;
        assert!(sent < 4 << 30, "{all:?}");
        for line in lines.try_iter() {
            let told: Value = serde_json::from_str(&line).unwrap();
            all.push(line);
            if told["phase"] == "read" && told["total_is_estimate"] == true {
                break 'sending told;
            }
        }
    };
    drop(stdin);
    assert_eq!((&seen["total_files"], &seen["total_bytes"]), (&1.into(), &LAST.into()));
    assert_makes_sense(&seen);
    let ended = child.wait().unwrap();
    let rest: Vec<String> = lines.iter().collect();
    reader.join().unwrap();
    assert!(ended.success(), "{rest:?}");
    let summary: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(summary["result"]["bytes"], sent, "{summary}");
}
