//! What a command writes becomes a recovery point, whole or not at all.

use std::io::Write as _;
use std::process::Stdio;

use crate::served::Served;
use crate::site::{Ran, Site};

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `printf … | custody ARGUMENTS`.
fn pipe(site: &Site, bytes: &[u8], arguments: &[&str]) -> Ran {
    let mut command = site.command(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    // A command that refuses does not read it all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let ran = Ran::of(child.wait_with_output().unwrap());
    writer.join().unwrap();
    ran
}

fn points(site: &Site) -> usize {
    site.json(&["points", "dump.sql"]).as_array().unwrap().len()
}

/// No socket outlives its command.
fn assert_tidy(site: &Site) {
    let names = std::fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("stream-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Two dumps, the second with an edit in the middle: both come back, and the second costs little.
fn round_trip(site: &Site) {
    let first = noise(1, 6_000_000);
    let mut second = first.clone();
    second.splice(3_000_000..3_000_000, *b"a line more");
    let line = ["protect", "--stdin", "dump.sql", "-o", "json"];
    let mut new_bytes = Vec::new();
    for dump in [&first, &second] {
        let ran = pipe(site, dump, &line);
        assert_eq!((ran.code, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(told["item"], "dump.sql");
        assert_eq!(told["recoveryPoint"]["files"], 1);
        assert_eq!(told["recoveryPoint"]["size"].as_u64(), u64::try_from(dump.len()).ok());
        new_bytes.push(told["recoveryPoint"]["newBytes"].as_u64().unwrap());
        assert!(site.ok(&["cat", "dump.sql", "dump.sql"]) == **dump, "not the same bytes");
    }
    assert!(new_bytes[0] >= 6_000_000, "{new_bytes:?}");
    assert!(new_bytes[1] < 3_000_000, "the rest was known: {new_bytes:?}");
    assert_eq!(points(site), 2);
    let target = site.path("back");
    site.ok(&["restore", "dump.sql", "--to", site.text(&target)]);
    assert!(std::fs::read(target.join("dump.sql")).unwrap() == second, "not the same bytes");
    let told = site.ok(&["find", "dump.sql", "--item", "dump.sql", "--json"]);
    assert_eq!(str::from_utf8(&told).unwrap().lines().count(), 3);
    assert_tidy(site);
}

#[test]
fn a_stream_comes_back_and_a_second_one_costs_what_is_new() {
    round_trip(&Site::new());
}

#[test]
fn a_server_takes_it_as_well() {
    let site = Site::new();
    let _served = Served::start(&site, &[]);
    round_trip(&site);
}

#[test]
fn what_may_not_be_whole_makes_no_point() {
    let site = Site::new();
    let run = |script: &str| {
        let line = ["protect", "--stdin", "dump.sql", "--stdin-command", "sh", "-c", script];
        site.run(&line)
    };
    let refused = |ran: &Ran, code: &str| {
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(code), "{}", ran.stderr);
        assert_eq!(points(&site), 0);
        assert_tidy(&site);
    };
    refused(&pipe(&site, b"", &["protect", "--stdin", "dump.sql"]), "StdinEmpty");
    let failing = run("echo the first half; echo no such table >&2; exit 3");
    refused(&failing, "StdinCommandFailed");
    assert!(failing.stderr.contains("no such table"), "its own words: {}", failing.stderr);
    refused(&run("head -c 3000000 /dev/urandom; kill -9 $$"), "StdinCommandFailed");
    let unknown =
        site.run(&["protect", "--stdin", "dump.sql", "--stdin-command", "no-such-command"]);
    refused(&unknown, "StdinCommandFailed");

    assert_eq!(run("exit 0").code, 0, "it says itself that there is nothing");
    assert_eq!(run("echo all of it").code, 0);
    assert_eq!(points(&site), 2);
    assert_eq!(site.ok(&["cat", "dump.sql", "dump.sql"]), b"all of it\n");
    // Without a stream there is nothing to back up.
    site.fails(&["protect", "--stdin", "a/b", "--stdin-command", "true"], 2, "InvalidSource");
    site.fails(&["protect", "--stdin", "dump.sql", "folder"], 2, "cannot be used with");
    site.fails(&["protect", "--stdin-command", "true"], 2, "--stdin");
}

/// Whoever gives the stream is killed in the middle of it: the server gives the backup up by itself.
#[test]
fn a_stream_that_breaks_off_makes_no_point() {
    let site = Site::new();
    let _served = Served::start(&site, &[]);
    assert_eq!(pipe(&site, b"all of it", &["protect", "--stdin", "dump.sql"]).code, 0);
    let mut command = site.command(&["protect", "--stdin", "dump.sql", "--progress", "json"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(2, 2_000_000)).unwrap();
    // The first line of progress tells that the job has begun.
    std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut [0]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let jobs = loop {
        let jobs = site.json(&["job", "list"]);
        let running =
            jobs.as_array().unwrap().iter().any(|job| job["properties"]["status"] == "InProgress");
        if !running {
            break jobs.to_string();
        }
    };
    assert!(jobs.contains("Failed"), "{jobs}");
    assert_eq!(points(&site), 1);
    assert_eq!(site.ok(&["cat", "dump.sql", "dump.sql"]), b"all of it");
}

/// Nothing comes and nothing ends: whoever stops the job does not wait for it.
#[test]
fn a_stream_that_gives_nothing_can_be_stopped() {
    let site = Site::new();
    let _served = Served::start(&site, &[]);
    let mut command = site.command(&["protect", "--stdin", "dump.sql"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let id = loop {
        let running =
            site.json(&["job", "list", "--status", "InProgress", "--operation", "Backup"]);
        if let Some(id) = running[0]["name"].as_str() {
            break id.to_owned();
        }
    };
    site.ok(&["job", "stop", "-n", &id]);
    let ran = Ran::of(child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert_eq!(points(&site), 0);
    assert_tidy(&site);
}
