//! How failures are told, and with which exit code.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::{Value, json};

use crate::fake_server::{SUBSCRIPTION, VAULT, status_of};
use crate::world::World;

fn error(code: &str, message: &str) -> Value {
    json!({ "error": {
        "code": code, "message": message,
        "additionalInfo": [{ "type": "fix", "info": { "command": "custody mend it" } }],
    } })
}

#[test]
fn errors_say_what_why_and_the_fix() {
    let world = World::new();
    let body = error("KeyDisabled", "the key \u{1b}[31mbackup\nis disabled");
    world.server.script("GET /custody/status", 403, &body);
    let ran = world.run("status");
    assert_eq!((ran.exit, ran.stdout.as_str()), (7, ""));
    assert_eq!(
        ran.stderr,
        "error: the key \\x1b[31mbackup\\nis disabled (KeyDisabled)\n  to mend it: custody mend it\n"
    );
}

#[test]
fn scripts_get_the_error_as_json() {
    for line in ["status -o json", "status --progress json", "status -o jsonc"] {
        let world = World::new();
        world.server.script("GET /custody/status", 403, &error("KeyDisabled", "disabled"));
        let ran = world.run(line);
        let last: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        let expected = json!({
            "message_type": "error", "code": "KeyDisabled", "message": "disabled",
            "fix": "custody mend it", "docs": "docs/errors.md", "exitCode": 7,
        });
        assert_eq!(last, expected, "{line}");
    }
}

#[test]
fn exit_codes_of_answers() {
    let check = |status: u16, code: &str, exit: u8| {
        let world = World::new();
        world.server.script("GET /custody/status", status, &error(code, "no"));
        assert_eq!(world.run("status").exit, exit, "{status} {code}");
    };
    check(400, "InvalidRequestContent", 2);
    check(403, "AuthorizationFailed", 4);
    check(404, "ResourceNotFound", 5);
    check(409, "NameNotAvailable", 6);
    check(503, "AuditUnavailable", 8);
    check(503, "RecordsBusy", 11);
    check(500, "InternalServerError", 1);
}

#[test]
fn exit_codes_of_jobs() {
    let check = |status: &str, code: Option<&str>, exit: u8| {
        let world = World::new();
        world.server.put(VAULT, &json!({}));
        let mut job = status_of(status, &json!({}));
        if let Some(code) = code {
            job["errorDetails"] = json!([{ "code": code, "message": "no", "recommendedAction": ["custody mend it"] }]);
        }
        *world.server.job.lock().unwrap() = vec![job];
        let ran = world.run("verify");
        assert_eq!(ran.exit, exit, "{status} {code:?}: {}", ran.stderr);
        assert_eq!(code.is_some(), ran.stderr.contains("custody mend it"), "{}", ran.stderr);
    };
    check("Completed", None, 0);
    check("CompletedWithWarnings", None, 3);
    check("Failed", Some("UserErrorCMKKeyDisabled"), 7);
    check("Failed", Some("StoreUnavailable"), 8);
    check("Failed", Some("RepositoryDamaged"), 9);
    check("Failed", Some("RepositoryNewerFormat"), 12);
    check("Failed", Some("StoreFull"), 14);
    check("Cancelled", None, 130);
}

#[test]
fn damage_has_an_exit_code_of_its_own() {
    let check = |result: Value, exit: u8, said: &str| {
        let world = World::new();
        world.server.put(VAULT, &json!({}));
        *world.server.job.lock().unwrap() = vec![status_of("CompletedWithWarnings", &result)];
        let ran = world.run("verify");
        assert_eq!(ran.exit, exit, "{result}");
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    };
    check(json!({ "problems": 0 }), 3, "nothing is wrong");
    check(json!({ "problems": 2, "damagedFiles": 1 }), 9, "2 problems, which cost 1 file");
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_asked() {
    let check = |line: &str, exit: u8| {
        let world = World::new();
        let ran = world.run(line);
        assert_eq!(ran.exit, exit, "{line}: {}", ran.stderr);
    };
    check("cat ../x a", 5);
    check("keyvault key show -n a_b", 2);
    check("keyvault key show --id http://elsewhere/keys/k", 2);
    check("keyvault show -n -x", 2);
    check("job show -n nothing", 2);
    check("role assignment create --assignee me --role Nothing --scope /subscriptions/x", 2);
}

#[test]
fn a_corrupt_configuration_is_named_with_its_line() {
    let world = World::new();
    std::fs::write(world.folder.path().join("c.toml"), "output = \"json\"\nretry = 3\n").unwrap();
    let ran = world.run("--config c.toml status");
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("FOLDER/c.toml"), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 2: unknown field `retry`"), "{}", ran.stderr);
    assert!(world.server.take_log().is_empty());
    assert_eq!(world.run("--config missing.toml status").exit, 2);
}

#[test]
fn hostile_names_reach_no_terminal() {
    let world = World::new();
    let ran =
        world.run_words(vec!["protect".into(), OsString::from_vec(b"evil\x1b[2J\n\xff".to_vec())]);
    assert_eq!(ran.exit, 5);
    assert!(ran.stderr.contains("evil\\x1b[2J\\n\\xff"), "{}", ran.stderr);
}

#[test]
fn an_empty_list_is_printed_as_one() {
    let check = |line: &str| {
        let world = World::new();
        assert_eq!(world.run(&format!("{line} -o json")).stdout, "[]\n", "{line}");
    };
    check("points");
    check("keyvault list");
    check("identity list");
    check("backup vault list");
    check("job list");
    check("role assignment list");
    let world = World::new();
    world.server.script(&format!("GET {SUBSCRIPTION}/resourceGroups"), 200, &json!({"value": []}));
    assert_eq!(world.run("group list").stdout, "[]\n");
}
