//! What the other commands ask for and print.

use serde_json::{Value, json};

use crate::fake_server::{GROUP, POINT, SUBSCRIPTION, VAULT};
use crate::world::{World, golden};

fn world() -> World {
    let world = World::new();
    let item = format!("{VAULT}/backupInstances/documents");
    world.server.put(VAULT, &json!({}));
    world.server.put(&item, &json!({}));
    let properties = json!({
        "recoveryPointTime": "2026-11-22T06:00:00Z", "size": 3_000_000, "files": 1200,
        "newBytes": 1_000_000, "warnings": 2,
    });
    let point = format!("{item}/recoveryPoints/{POINT}");
    world.server.put(&point, &json!({ "properties": properties }));
    let entries = json!({ "value": [
        { "name": "letters", "kind": "folder", "mode": 16877, "uid": 0, "gid": 0, "user": "root",
          "modified": "2026-11-01T12:00:00Z" },
        { "name": { "base64": "Y2Fm6S50eHQ=" }, "kind": "file", "size": 1234, "mode": 33188,
          "uid": 1000, "gid": 100, "modified": "2026-11-01T12:00:00Z" },
        { "name": "up", "kind": "symlink", "target": "../\u{1b}[2J", "uid": 0, "gid": 0 },
    ] });
    world.server.script(&format!("POST {item}/browse"), 200, &entries);
    world.server.script_bytes(&format!("POST {item}/content"), b"\x00\xff\x1bthe content");
    world
}

#[test]
fn outputs() {
    let check = |line: &str, name: &str| {
        let ran = world().run(line);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{line}");
        golden(name, &ran.stdout);
    };
    check("points", "points.txt");
    check("points documents -o table", "points-table.txt");
    check("points -o tsv", "points-tsv.txt");
    check("points -o yaml", "points-yaml.txt");
    check("points -o json", "points-json.txt");
    check("points -o json --query [].{id:id,at:time}", "points-query.txt");
    check("ls documents", "ls.txt");
    check("ls documents --long", "ls-long.txt");
    check("version", "version.txt");
}

#[test]
fn points_are_listed_by_time_whatever_digits_their_times_have() {
    let world = World::new();
    let item = format!("{VAULT}/backupInstances/documents");
    world.server.put(VAULT, &json!({}));
    world.server.put(&item, &json!({}));
    let fractions = [("d", ""), ("c", ".1"), ("b", ".12"), ("a", ".123")];
    for (name, fraction) in fractions {
        let time = format!("2026-11-22T06:00:00{fraction}Z");
        let point = json!({ "properties": { "recoveryPointTime": time } });
        world.server.put(&format!("{item}/recoveryPoints/{name}"), &point);
    }
    let listed = world.run("points documents -o tsv --query [].id");
    assert_eq!(listed.stdout, "d\nc\nb\na\n");
}

#[test]
fn points_by_time_are_sent_as_utc() {
    let check = |point: &str, expected: &str| {
        let world = world();
        world.run_words(vec!["ls".into(), "documents".into(), "--point".into(), point.into()]);
        let sent = world.server.take_changes();
        assert!(sent[0].contains(&format!("{{\"point\":\"{expected}\"}}")), "{sent:?}");
    };
    check("latest", "latest");
    check("3f2a", "3f2a");
    check("2026-11-22 07:00", "2026-11-22T07:00:00Z");
    check("2026-11-22T07:00:00+01:00", "2026-11-22T06:00:00Z");
}

#[test]
fn what_is_not_there_is_not_found() {
    let check = |line: &str| assert_eq!(world().run(line).exit, 5, "{line}");
    check("ls pictures");
    check("restore pictures --to d");
    check("points pictures");
    check("points documents --vault other");
    check("keyvault show -n nothing");
    check("keyvault recover -n nothing");
}

#[test]
fn roles_by_name_and_principals_by_identity() {
    let world = world();
    let role = json!({ "properties": { "roleName": "Key Vault Crypto User" } });
    let id = "12338af0-0e69-4776-bea7-57ae8d297424";
    let definitions = format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions");
    world.server.put(&format!("{definitions}/{id}"), &role);
    world.run("identity create -n backup-identity");
    world.server.take_log();
    let line = |scope: &str| {
        let role = "Key Vault Crypto User";
        let words = ["role", "assignment", "create", "--assignee", "backup-identity", "--role"];
        let words = words.into_iter().chain([role, "--scope", scope]);
        world.run_words(words.map(Into::into).collect())
    };
    let ran = line(GROUP);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["principalId"], "00000000-0000-0000-0000-0000000000c1");
    assert_eq!(value["roleDefinitionName"], "Key Vault Crypto User");
    assert_eq!(world.server.take_changes().len(), 1);
    let again = line(GROUP);
    assert_eq!(again.exit, 0, "{}", again.stderr);
    assert_eq!(world.server.take_changes(), Vec::<String>::new(), "it is there already");
    let id = value["id"].as_str().unwrap();
    let deleted = world.run(&format!("role assignment delete --ids {id}"));
    assert_eq!(deleted.exit, 0, "{}", deleted.stderr);
    assert_eq!(world.run("role assignment list").stdout, "[]\n");
}

#[test]
fn key_attributes() {
    let check = |line: &str, sent: &str| {
        let world = world();
        let key = "kv1.vault:/keys/k";
        world.server.put(key, &json!({}));
        world.run(&format!("keyvault key {line}"));
        let changes = world.server.take_changes();
        assert_eq!(changes, [sent], "{line}");
    };
    check(
        "create --vault-name kv1 -n k --size 4096 --disabled",
        r#"POST kv1.vault:/keys/k/create {"kty":"RSA","key_size":4096,"attributes":{"enabled":false}}"#,
    );
    check(
        "set-attributes --vault-name kv1 -n k --enabled --expires 2027-01-01T00:00:00Z",
        r#"PATCH kv1.vault:/keys/k {"attributes":{"enabled":true,"exp":1798761600}}"#,
    );
    check(
        "set-attributes --id https://kv1.vault.azure.net/keys/k --tags a=1 b",
        r#"PATCH kv1.vault:/keys/k {"tags":{"a":"1","b":""}}"#,
    );
    check("rotate --vault-name kv1 -n k", "POST kv1.vault:/keys/k/rotate {}");
}

#[test]
fn vault_encryption() {
    let world = world();
    let uri = "https://kv1.vault.custody.localhost/keys/k";
    let line = format!("backup vault encryption update -n main --encryption-key-id {uri}");
    assert_eq!(world.run(&line).exit, 0);
    let sent = format!(
        "PATCH {VAULT} {{\"properties\":{{\"securitySettings\":{{\"encryptionSettings\":\
         {{\"keyVaultProperties\":{{\"keyUri\":\"{uri}\"}},\"state\":\"Enabled\"}}}}}}}}"
    );
    assert_eq!(world.server.take_changes(), [sent]);
    assert_eq!(world.run("backup vault encryption update -n main").exit, 2);
}

#[test]
fn content_goes_to_stdout_as_it_is() {
    let world = world();
    world.server.script_bytes(
        &format!("POST {VAULT}/backupInstances/documents/content"),
        b"line\n\x1b[2Jnot escaped",
    );
    let ran = world.run("cat documents a.txt");
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "line\n\u{1b}[2Jnot escaped"));
}

#[test]
fn recovery_kits() {
    let world = world();
    std::fs::write(world.folder.path().join("pass"), "a long passphrase\n").unwrap();
    world.server.script("POST /custody/recoveryKit", 200, &json!({ "kit": "a2l0", "covers": "v" }));
    let line = "recovery-kit create --file kit.custody --passphrase-file pass -o json";
    let ran = world.run(line);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value.get("kit"), None, "the kit itself is in the file alone");
    assert_eq!(std::fs::read(world.folder.path().join("kit.custody")).unwrap(), b"kit");
    assert!(
        world.server.take_log().contains(
            &r#"POST /custody/recoveryKit {"passphrase":"a long passphrase"}"#.to_owned()
        )
    );
    assert_eq!(world.run(line).exit, 6, "a kit is never overwritten");
    let missing = world.run("recovery-kit test --file kit.custody");
    assert_eq!(missing.exit, 13, "{}", missing.stderr);
    let restored =
        world.run("recovery-kit restore --file kit.custody --passphrase-file pass -o json");
    assert_eq!(restored.stdout, "{\n  \"bytes\": 3,\n  \"passphrase\": 17\n}\n");
}

#[test]
fn a_lone_repository() {
    let check = |options: &str, warned: bool| {
        let world = world();
        let ran = world.run(&format!("restore --repository /mnt/r --to d {options}"));
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("is trusted"), warned, "{}", ran.stderr);
        assert!(world.server.take_log()[0].starts_with("REPOSITORY"));
    };
    check("", true);
    check("--fingerprint ab12", false);
}

#[test]
fn ledger_verification() {
    let check = |ok: bool, exit: u8| {
        let world = world();
        let report = json!({ "ok": ok, "statement": "3 records were checked" });
        world.server.script("POST /custody/ledger/verify", 200, &report);
        let ran = world.run("ledger verify");
        assert_eq!(ran.exit, exit);
        assert!(ran.stdout.contains("3 records were checked"), "{}", ran.stdout);
    };
    check(true, 0);
    check(false, 9);
}

#[test]
fn init_keeps_the_choice_of_seal() {
    let world = world();
    let line = "--data-dir data init --seal passphrase --seal-folder seals";
    assert_eq!(world.run(line).exit, 0);
    let config = std::fs::read_to_string(world.folder.path().join("data/config.toml")).unwrap();
    assert_eq!(world.plain(&config), "[seal]\nkind = \"passphrase\"\nfolder = \"FOLDER/seals\"\n");
    assert_eq!(world.run(line).exit, 0, "the same again changes nothing");
    assert_eq!(world.run("--data-dir data init --seal file").exit, 6);
}

#[test]
fn only_what_makes_something_sets_a_data_folder_up() {
    let check = |line: &str, set_up: bool| {
        let world = world();
        world.make_folder("d");
        world.run(line);
        let opened = world.server.take_log();
        assert_eq!(opened[0], format!("OPEN set_up={set_up}"), "{line}");
    };
    check("protect d", true);
    check("init", true);
    check("keyvault create -n kv1", true);
    check("points", false);
    check("keyvault list", false);
}
