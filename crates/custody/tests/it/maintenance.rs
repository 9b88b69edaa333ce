//! Prune, verify and forget: what they show before and after.

use serde_json::json;

use crate::fake_server::{GROUP, VAULT, completed};
use crate::world::World;

fn world(results: &[serde_json::Value]) -> World {
    let world = World::new();
    world.server.put(GROUP, &json!({}));
    world.server.put(VAULT, &json!({}));
    world.server.put(&format!("{VAULT}/backupInstances/documents"), &json!({}));
    *world.server.job.lock().unwrap() = results.iter().map(completed).collect();
    world
}

fn plan() -> serde_json::Value {
    json!({
        "dryRun": true, "packsDeleted": 3, "packsRewritten": 2, "packsKept": 40,
        "bytesFreed": 62_914_560, "bytesCopied": 20_971_520, "bytesUnusedLeft": 1_258_291,
    })
}

fn done() -> serde_json::Value {
    json!({
        "dryRun": false, "packsDeleted": 5, "packsSpared": 1, "bytesFreed": 62_914_560,
        "bytesCopied": 20_971_520, "objectsDeleted": 4,
    })
}

const PLAN: &str = "vault main: would free 60.0 MiB\n  3 packs that nothing needs deleted\n  2 packs \
    needed in part: 20.0 MiB copied, then deleted\n  40 packs stay, 1.20 MiB of them unused\n";
const DONE: &str = "vault main: freed 60.0 MiB: 5 packs deleted, 20.0 MiB copied; 1 pack came to be \
    needed meanwhile and stay (2.5 s)\n";

#[test]
fn a_prune_shows_its_plan_and_asks_on_a_terminal() {
    let check = |line: &str,
                 answer: Option<&'static str>,
                 results: &[serde_json::Value],
                 exit,
                 text: &str,
                 asked: &[&str]| {
        let world = world(results);
        let world = match answer {
            Some(answer) => world.with_terminal(answer),
            None => world,
        };
        let ran = world.run(line);
        assert_eq!(ran.exit, exit, "{line}: {}", ran.stderr);
        assert_eq!(ran.stdout, text, "{line}");
        let posts: Vec<String> = world
            .server
            .take_changes()
            .into_iter()
            .filter_map(|line| Some(line.split_once("/prune ")?.1.to_owned()))
            .collect();
        assert_eq!(posts, asked, "{line}");
        ran.stderr
    };
    let (dry, wet) = (r#"{"dryRun":true}"#, r#"{"dryRun":false}"#);
    check("prune --dry-run", None, &[plan()], 0, PLAN, &[dry]);
    check("prune", None, &[done()], 0, DONE, &[wet]);
    check("prune --yes", Some(""), &[done()], 0, DONE, &[wet]);
    let said = check("prune", Some("main\n"), &[plan(), done()], 0, DONE, &[dry, wet]);
    assert!(said.contains(PLAN), "{said}");
    check("prune", Some("no\n"), &[plan(), done()], 10, "", &[dry]);
    let nothing = json!({ "packsKept": 40, "bytesUnusedLeft": 5 });
    let text = "vault main: nothing to free (40 packs stay, 5 B of them unused)\n";
    check("prune", Some(""), std::slice::from_ref(&nothing), 0, text, &[dry]);
    let tight = r#"{"dryRun":true,"unusedPercentMax":0}"#;
    check("prune --dry-run --max-unused 0", None, &[nothing], 0, text, &[tight]);
    check("prune --max-unused 101", None, &[plan()], 2, "", &[]);
}

#[test]
fn verify_says_how_deep_it_went() {
    let check = |line: &str, body: &str, more: serde_json::Value, expected: &str| {
        let mut result = json!({
            "problems": 0, "objects": 1_234, "bytes": 3_221_225_472_u64, "readData": false,
            "assurance": "every object was opened with the key",
        });
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let world = world(&[result]);
        let ran = world.run(line);
        assert_eq!(ran.exit, 0, "{line}: {}", ran.stderr);
        let said = format!(
            "vault main: nothing is wrong (2.5 s)\n  {expected}\n  1,234 objects, 3.00 GiB: every \
             object was opened with the key\n"
        );
        assert_eq!(ran.stdout, said);
        assert!(world.server.take_changes().iter().any(|line| line.ends_with(body)), "{line}");
    };
    check(
        "verify",
        r#"{"readData":false}"#,
        json!({}),
        "structure only: --read-data reads every byte",
    );
    check(
        "verify --read-sample 5",
        r#"{"readData":false,"readSample":5}"#,
        json!({ "readSample": 5 }),
        "structure, and every byte of 5 % of the packs",
    );
    check(
        "verify --read-data",
        r#"{"readData":true}"#,
        json!({ "readData": true }),
        "every byte was read",
    );
    for line in ["verify --read-sample 0", "verify --read-sample 5 --read-data"] {
        assert_eq!(world(&[json!({})]).run(line).exit, 2, "{line}");
    }
}

#[test]
fn forget_shows_every_point_and_what_keeps_it() {
    let world = world(&[]);
    let plan = json!({
        "keep": [
            { "point": "c", "time": "2026-11-22T06:00:00Z", "reasons": ["last 1", "daily 2026-11-22"] },
            { "point": "a", "time": "2026-11-01T06:00:00Z", "reasons": ["monthly 2026-11"] },
        ],
        "forget": [{ "point": "b", "time": "2026-11-22T05:59:59.5Z" }],
    });
    let request = format!("POST {VAULT}/backupInstances/documents/forget");
    world.server.script(&request, 200, &plan);
    let ran = world.run("forget documents --keep-last 1 --keep-within-days 14 --dry-run");
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let firsts: Vec<(&str, &str)> = rows[2..5].iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(firsts, [("keep", "c"), ("forget", "b"), ("keep", "a")], "{}", ran.stdout);
    for shown in
        ["last 1, daily 2026-11-22", "nothing keeps it", "1 recovery point would be given up"]
    {
        assert!(ran.stdout.contains(shown), "{shown}: {}", ran.stdout);
    }
    let asked = world.server.take_changes().join("\n");
    assert!(asked.contains(r#""keepWithinDays":14"#), "{asked}");
}
