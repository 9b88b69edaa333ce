//! First use, and the same paths again.

use serde_json::{Value, json};

use crate::fake_server::{POINT, VAULT, completed, status_of};
use crate::world::{World, golden};

fn with_point(world: &World) {
    let left_out = json!({ "byPattern": 12, "own": 1, "caches": 0, "otherFileSystems": 0 });
    let result = json!({ "recoveryPointId": POINT, "leftOut": left_out });
    *world.server.job.lock().unwrap() = vec![completed(&result)];
}

#[test]
fn first_use_makes_what_is_missing_and_says_so() {
    let world = World::new();
    world.make_folder("documents");
    with_point(&world);
    let ran = world.run("protect documents --store store");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    golden("protect-first-stderr.txt", &ran.stderr);
    golden("protect-first-stdout.txt", &ran.stdout);
    let changes = world.server.take_changes().join("\n");
    golden("protect-first-requests.txt", &(world.plain(&changes) + "\n"));
}

/// What was known, how small the rest became, what was left out, and what could not be read.
#[test]
fn a_summary_says_what_became_of_everything() {
    let world = World::new();
    world.make_folder("documents");
    with_point(&world);
    world.run("protect documents");
    let result = json!({
        "recoveryPointId": POINT, "files": 1200, "folders": 31, "others": 2, "bytes": 3_000_000,
        "newBytes": 1_000_000, "storedBytes": 400_000, "unchangedFiles": 900,
        "deduplicationRatio": 3.0, "compressionRatio": 2.5,
        "warningsTotal": 3,
        "warningsByCode": { "SourceFileChanged": 1, "SourceUnreadable": 2 },
        "leftOut": { "byPattern": 12, "own": 1, "caches": 2, "otherFileSystems": 3 },
    });
    let mut job = status_of("CompletedWithWarnings", &result);
    job["warnings"] = json!([{ "code": "SourceUnreadable", "path": "f", "message": "no" }]);
    job["warningCount"] = 3.into();
    *world.server.job.lock().unwrap() = vec![job];
    let people = world.run("protect documents");
    assert_eq!(people.exit, 3, "{}", people.stderr);
    golden("protect-summary.txt", &(people.stderr + &people.stdout));
    let scripts = world.run("protect documents -o json --quiet");
    golden("protect-summary.json", &scripts.stdout);
    let lines = world.run("protect documents --progress json -o none");
    golden("protect-progress-lines.txt", &lines.stderr);
    let quiet = world.run("protect documents --quiet");
    let warning = "warning: f: no (SourceUnreadable)\n… and 2 warnings more\n";
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", warning));
}

#[test]
fn a_set_up_that_was_cut_short_is_carried_on() {
    let world = World::new();
    world.make_folder("documents");
    with_point(&world);
    // The Backup vault is the last to be made; without it every step looks before it makes.
    world.run("protect documents");
    world.server.take_log();
    world.run("backup vault delete -n main --yes");
    world.server.take_log();
    let ran = world.run("protect documents");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let changes = world.server.take_changes();
    let made: Vec<&str> =
        changes.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(made, ["PUT", "POST"], "only the vault is made again: {changes:?}");
}

#[test]
fn the_same_paths_are_the_same_item() {
    let world = World::new();
    world.make_folder("documents");
    with_point(&world);
    world.run("protect documents --exclude *.tmp");
    world.server.take_log();

    let ran = world.run("protect ./documents/../documents -o json");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["item"], "documents");
    assert_eq!(value["made"], json!([]));
    assert_eq!(value["recoveryPoint"]["id"], POINT);
    let changes = world.server.take_changes();
    assert_eq!(changes, [format!("POST {VAULT}/backupInstances/documents/backup {{}}")]);
}

#[test]
fn changed_patterns_are_kept_and_said() {
    let check = |options: &str, said: &str, exclude: Value| {
        let world = World::new();
        world.make_folder("documents");
        with_point(&world);
        world.run("protect documents --exclude *.tmp");
        world.server.take_log();
        let ran = world.run(&format!("protect documents {options}"));
        assert_eq!(ran.stderr, said, "{options}");
        let item = world.run("job list");
        assert_eq!(item.exit, 0);
        let log = world.server.take_changes();
        let put = log.iter().find(|line| line.starts_with("PUT"));
        let body = put.map(|line| line.split_once(" {").unwrap().1);
        let body: Option<Value> =
            body.map(|body| serde_json::from_str(&format!("{{{body}")).unwrap());
        let kept = body.map(|body| body["properties"]["folder"]["exclude"].clone());
        assert_eq!(kept.unwrap_or(Value::Null), exclude, "{options}");
    };
    check("", "", Value::Null);
    check("--exclude *.tmp", "", Value::Null);
    check(
        "--exclude *.o",
        "the patterns and options of documents are now: exclude *.o\n",
        json!(["*.o"]),
    );
    check(
        "--one-file-system",
        "the patterns and options of documents are now: exclude *.tmp, one file system\n",
        json!(["*.tmp"]),
    );
    check(
        "--compression best",
        "the patterns and options of documents are now: exclude *.tmp, compression best\n",
        json!(["*.tmp"]),
    );
    check("--reset-patterns", "the patterns and options of documents are now: none\n", json!([]));
}

#[test]
fn item_names() {
    let world = World::new();
    world.make_folder("a/documents");
    world.make_folder("b/documents");
    with_point(&world);
    let item = |line: &str| {
        let ran = world.run(line);
        let value: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        (ran.exit, value["item"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(item("protect a/documents -o json"), (0, "documents".into()));
    let (exit, name) = item("protect b/documents -o json");
    assert!(exit == 0 && name.starts_with("documents-"), "{name}");
    assert_eq!(item("protect b/documents -o json"), (0, name));
    assert_eq!(item("protect b/documents --item other -o json"), (0, "other".into()));
    let clash = world.run("protect a --item documents");
    assert_eq!(clash.exit, 6);
    assert!(clash.stderr.contains("ItemHasOtherPaths"), "{}", clash.stderr);
    assert_eq!(item("protect a --item ../x -o json").0, 2);
}

#[test]
fn nothing_is_set_up_for_a_path_that_is_not_there() {
    let world = World::new();
    let ran = world.run("protect missing");
    assert_eq!(ran.exit, 5);
    assert!(ran.stderr.contains("missing cannot be opened"), "{}", ran.stderr);
    assert!(world.server.take_log().is_empty());
}

#[test]
fn a_store_stays_where_it_is() {
    let world = World::new();
    world.make_folder("documents");
    with_point(&world);
    world.run("protect documents --store store");
    let again = world.run("protect documents --store ./store");
    assert_eq!(again.exit, 0, "{}", again.stderr);
    let moved = world.run("protect documents --store elsewhere");
    assert_eq!(moved.exit, 6);
    assert!(moved.stderr.contains("StorePlaceFixed"), "{}", moved.stderr);
}

#[test]
fn a_dry_run_makes_nothing() {
    let world = World::new();
    world.make_folder("documents");
    let found = json!({
        "value": [{ "path": "a\u{1b}[2J.txt", "kind": "file", "size": 5 }],
        "files": 1, "bytes": 5,
        "leftOut": [{ "path": "custody", "reason": "own" }],
    });
    world.server.script("POST /custody/scan", 200, &found);
    let ran = world.run("protect documents --dry-run --exclude *.o");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "a\\x1b[2J.txt\nleft out: custody (custody's own)\nwould take 1 file, 5 B; nothing was \
         taken\n"
    );
    let changes = world.server.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
}
