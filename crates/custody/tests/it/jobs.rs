//! Jobs: their progress, their warnings, and Ctrl-C.

use serde_json::{Value, json};

use crate::fake_server::{VAULT, completed, status_of};
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
    let ran = world().run("restore documents --to target --quiet -o none");
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
}
