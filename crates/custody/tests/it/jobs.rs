//! Jobs: their progress, their warnings, and Ctrl-C.

use serde_json::{Value, json};

use crate::fake_server::{GROUP, POINT, VAULT, completed, status_of};
use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.server.put(VAULT, &json!({}));
    world.server.put(&format!("{VAULT}/backupInstances/documents"), &json!({}));
    world
}

#[test]
fn progress_as_json_lines() {
    let world = world();
    let mut running = status_of("InProgress", &json!({}));
    running["progress"]["bytesDone"] = 1_500_000.into();
    running["progress"]["totalIsEstimate"] = true.into();
    let mut done = completed(&json!({ "files": 1200 }));
    done["warnings"] = json!([{ "code": "FileChanged", "path": "a\\nb", "message": "it changed" }]);
    done["warningCount"] = 1.into();
    *world.server.job.lock().unwrap() = vec![running, done];
    let ran = world.run("restore documents --to target --progress json");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let lines: Vec<Value> =
        ran.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let types: Vec<&str> =
        lines.iter().map(|line| line["message_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["status", "warning", "summary"]);
    assert_eq!(lines[0]["percent_done"], 0.5);
    assert_eq!(lines[0]["total_bytes"], 3_000_000);
    assert_eq!(lines[0]["total_is_estimate"], true);
    assert_eq!(lines[1]["code"], "FileChanged");
    assert_eq!(lines[2]["result"]["files"], 1200);
}

#[test]
fn ctrl_c_cancels_the_job() {
    let mut world = world();
    world.interrupts = 1;
    *world.server.job.lock().unwrap() = vec![status_of("InProgress", &json!({}))];
    let ran = world.run("restore documents --to target");
    assert_eq!(ran.exit, 130);
    let cancels: Vec<String> =
        world.server.take_changes().into_iter().filter(|line| line.contains("/cancel")).collect();
    assert_eq!(cancels.len(), 1, "asked once: {cancels:?}");
}

#[test]
fn warnings_are_shown_and_counted() {
    let world = world();
    let mut done = status_of("CompletedWithWarnings", &json!({}));
    let warning =
        |n: u32| json!({ "code": "FileUnreadable", "path": format!("f{n}"), "message": "no" });
    done["warnings"] = (0..12).map(warning).collect();
    done["warningCount"] = 40.into();
    *world.server.job.lock().unwrap() = vec![done];
    let ran = world.run("restore documents --to target");
    assert_eq!(ran.exit, 3);
    assert_eq!(ran.stderr.matches("warning: f").count(), 10);
    assert!(ran.stderr.contains("… and 30 warnings more"), "{}", ran.stderr);
}

#[test]
fn quiet_is_quiet() {
    let check = |line: &str, result: &Value, exit: u8, is_told: bool| {
        let world = world();
        world.server.put(GROUP, &json!({}));
        world.make_folder("documents");
        *world.server.job.lock().unwrap() = vec![completed(result)];
        let ran = world.run(line);
        assert_eq!((ran.exit, ran.stderr.as_str()), (exit, ""), "{line}");
        assert_eq!(!ran.stdout.is_empty(), is_told, "{line}: {}", ran.stdout);
    };
    let sound = json!({ "recoveryPointId": POINT, "problems": 0 });
    check("restore documents --to target --quiet", &sound, 0, false);
    check("verify --quiet", &sound, 0, false);
    check("verify --quiet", &json!({ "problems": 1 }), 9, false);
    check("prune --quiet", &sound, 0, false);
    check("repair --quiet", &sound, 0, false);
    // What was asked for is no report.
    check("verify --quiet -o json", &sound, 0, true);
    check("verify --quiet --query [0].ok", &sound, 0, true);
    check("prune --dry-run --quiet", &sound, 0, true);
    check("restore documents --to target", &sound, 0, true);
}

/// What went wrong is said all the same.
#[test]
fn quiet_hides_no_warning_and_no_error() {
    let ended = |job: Value| {
        let world = world();
        *world.server.job.lock().unwrap() = vec![job];
        let ran = world.run("restore documents --to target --quiet");
        (ran.exit, ran.stdout, ran.stderr)
    };
    let mut warned = status_of("CompletedWithWarnings", &json!({}));
    warned["warnings"] = json!([{ "code": "FileUnreadable", "path": "f", "message": "no" }]);
    warned["warningCount"] = 1.into();
    assert_eq!(ended(warned), (3, String::new(), "warning: f: no (FileUnreadable)\n".to_owned()));
    let mut failed = status_of("Failed", &json!({}));
    failed["errorDetails"] = json!([{ "code": "StoreFull", "message": "no room" }]);
    let (exit, stdout, stderr) = ended(failed);
    assert_eq!((exit, stdout.as_str()), (14, ""), "{stderr}");
    assert!(stderr.starts_with("error: no room (StoreFull)"), "{stderr}");
}
