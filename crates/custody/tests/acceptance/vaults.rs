//! Vaults of both kinds by the same commands, and what is protected in them.

use serde_json::Value;

use crate::keys::{Arranged, arrange};
use crate::site::Site;

const SERVICE_ROLE: &str = "Key Vault Crypto Service Encryption User";
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 5;
const CONFLICT: i32 = 6;
const KEY_UNAVAILABLE: i32 = 7;
const NOT_CONFIRMED: i32 = 10;

/// The two kinds, as `--kind` names them, with the resource type of each.
const KINDS: [(&str, &str); 2] = [
    ("Backup", "Microsoft.DataProtection/backupVaults"),
    ("RecoveryServices", "Microsoft.RecoveryServices/vaults"),
];

/// A key vault with a key, and an identity that may use it.
fn site(key_vault: &'static str) -> (Site, Arranged) {
    let site = Site::new();
    let own = arrange(&site, key_vault, &[]);
    own.grant(&site, "me", "Key Vault Crypto Officer");
    own.grant(&site, &own.principal, SERVICE_ROLE);
    own.make_key(&site);
    (site, own)
}

fn protect(site: &Site) {
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "own"]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Made, shown, listed, backed up into and restored from; its key rotated, checked, drilled.
#[test]
fn a_vault_of_either_kind_is_worked_with_alike() {
    for ((kind, of_type), key_vault) in KINDS.into_iter().zip(["kv-bv-alike", "kv-rsv-alike"]) {
        let (site, own) = site(key_vault);
        let tags = ["--kind", kind, "--tags", "custody-drill=allowed"];
        site.ok(&own.create_vault(&tags));
        let listed = site.json(&["backup", "vault", "list"]);
        assert_eq!(listed[0]["type"], of_type, "{listed}");
        let uri = "/properties/securitySettings/encryptionSettings/keyVaultProperties/keyUri";
        let key = format!("https://{key_vault}.vault.custody.localhost/keys/backup");
        assert_eq!(listed[0].pointer(uri).map(text), Some(key.as_str()), "{listed}");
        let shown = site.json(&["backup", "vault", "encryption", "show", "-n", "own"]);
        assert_eq!(shown["kekIdentity"]["identityType"], "UserAssigned", "{shown}");

        protect(&site);
        protect(&site);
        let points = site.json(&["points", "docs"]);
        assert_eq!(points.as_array().map(Vec::len), Some(2), "{points}");
        site.assert_restores("back");
        assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
        site.ok(&["verify", "--vault", "own", "--read-data"]);
        site.ok(&["forget", "docs", "--keep-last", "1", "--yes"]);
        site.ok(&["prune", "--vault", "own"]);
        let jobs = site.json(&["job", "list", "--vault", "own", "--operation", "Backup"]);
        assert_eq!(jobs.as_array().map(Vec::len), Some(2), "{jobs}");
        let show = ["job", "show", "--name", text(&jobs[0]["name"])];
        assert_eq!(site.json(&show)["properties"]["status"], "Completed");

        let health = site.json(&["backup", "vault", "key-health", "-n", "own", "--probe"]);
        assert_eq!(health["probes"]["results"][0]["result"], "Succeeded", "{health}");
        assert_status_tells_of_keys(&site, of_type);
        let drill = ["drill", "revoke", "--live", "--vault", "own", "--yes"];
        assert_eq!(site.json(&drill)["report"]["passed"], true);

        let refused = ["backup", "vault", "delete", "-n", "own", "--yes"];
        site.fails(&refused, CONFLICT, "VaultHoldsItems");
    }
}

/// When each key version was asked last and what it said, and what it wraps; to people as well.
fn assert_status_tells_of_keys(site: &Site, of_type: &str) {
    let status = site.json(&["status"]);
    let vault = &status["vaults"][0];
    assert_eq!(vault["type"], of_type, "{vault}");
    let (wrap, probe) = (&vault["wraps"][0], &vault["lastProbe"][0]);
    assert_eq!(wrap["generations"], serde_json::json!([1]), "{vault}");
    assert_eq!(probe["keyVersion"], wrap["keyVersion"], "{vault}");
    assert_eq!(probe["result"], "Succeeded", "{vault}");
    assert!(probe["time"].is_string() && probe["latencyMs"].is_u64(), "{vault}");
    let said = String::from_utf8(site.ok(&["status"])).unwrap();
    let version = text(&wrap["keyVersion"]);
    let wraps = format!("{version} wraps data key generation 1, probed ");
    let asked = format!(": succeeded in {} ms", probe["latencyMs"]);
    assert!(said.contains(&wraps) && said.contains(&asked), "{said}");
}

/// What a change of the key would do is listed before, and a standby is set and given up again.
#[test]
fn the_encryption_of_a_vault_of_either_kind_is_changed_alike() {
    for ((kind, _), [key_vault, second]) in
        KINDS.into_iter().zip([["kv-bv-enc", "kv-bv-enc2"], ["kv-rsv-enc", "kv-rsv-enc2"]])
    {
        let (site, own) = site(key_vault);
        site.ok(&["backup", "vault", "create", "-n", "own", "--kind", kind]);
        let update = ["backup", "vault", "encryption", "update", "-n", "own"];
        let first = format!("https://{key_vault}.vault.custody.localhost/keys/backup");
        let enable = ["--encryption-key-id", &first, "--mi-user-assigned", "robot"];
        let missing = "https://kv-absent.vault.custody.localhost/keys/backup";
        let dry = ["--encryption-key-id", missing, "--mi-user-assigned", "robot", "--dry-run"];
        let checked = site.run(&[&update[..], &dry].concat());
        assert_eq!(checked.code, KEY_UNAVAILABLE, "{}", checked.stderr);
        let checks = String::from_utf8(checked.stdout).unwrap();
        assert!(checks.contains("UserErrorCMKKeyVaultAuthFailure"), "{checks}");
        let dry = [&update[..], &enable, &["--dry-run"]].concat();
        site.ok(&dry);
        let before = site.json(&["backup", "vault", "encryption", "show", "-n", "own"]);
        assert_eq!(before["state"], "Disabled", "a dry run changes nothing: {before}");
        let changed = site.json(&[&update[..], &enable].concat());
        assert_eq!(changed["keyVaultProperties"]["keyUri"], first, "{changed}");

        let create = ["keyvault", "create", "--name", second, "--enable-purge-protection"];
        let scope = text(&site.json(&create)["id"]).to_owned();
        for (who, role) in [("me", "Key Vault Crypto Officer"), (&own.principal, SERVICE_ROLE)] {
            let grant = ["role", "assignment", "create", "--assignee", who, "--role", role];
            site.ok(&[&grant[..], &["--scope", &scope]].concat());
        }
        site.ok(&["keyvault", "key", "create", "--vault-name", second, "--name", "backup"]);
        let standby = format!("https://{second}.vault.custody.localhost/keys/backup");
        let with = ["--standby-key", &standby, "--failover", "Any"];
        let changed = site.json(&[&update[..], &with].concat());
        assert_eq!(changed["standbyKeyProperties"]["keyUri"], standby, "{changed}");
        assert_eq!(changed["failover"], "Any", "{changed}");
        let changed = site.json(&[&update[..], &["--standby-key", "none"]].concat());
        assert_eq!(changed["standbyKeyProperties"], Value::Null, "{changed}");
        assert_eq!(site.run(&update).code, USAGE, "nothing said is nothing done");
    }
}

/// A name that both kinds have is not guessed at; a resource id names either.
#[test]
fn a_name_that_two_vaults_have_is_not_guessed() {
    let site = Site::new();
    site.ok(&["init"]);
    let mut ids = Vec::new();
    for (kind, _) in KINDS {
        let create = ["backup", "vault", "create", "-n", "twin", "--kind", kind];
        let made = site.json(&[&create[..], &["--soft-delete-state", "Off"]].concat());
        ids.push(text(&made["id"]).to_owned());
    }
    let ran = site.run(&["backup", "vault", "show", "-n", "twin"]);
    assert_eq!(ran.code, USAGE, "{}", ran.stderr);
    for id in &ids {
        assert!(ran.stderr.contains(id), "it says how each is named: {}", ran.stderr);
        assert_eq!(text(&site.json(&["backup", "vault", "show", "-n", id])["id"]), id);
        site.ok(&["verify", "--vault", id]);
    }
    let source = site.source();
    for id in &ids {
        site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", id]);
    }
    assert_eq!(site.run(&["points", "docs"]).code, USAGE, "nor is an item that both hold");
    let items = site.json(&["backup", "item", "list"]);
    for (item, vault) in items.as_array().unwrap().iter().zip(&ids) {
        assert!(text(&item["id"]).starts_with(vault.as_str()), "{items}");
        assert_eq!(site.json(&["points", text(&item["id"])]).as_array().map(Vec::len), Some(1));
    }
    let gone = ["backup", "item", "delete", "-n", text(&items[0]["id"]), "--yes"];
    site.ok(&gone);
    site.ok(&["backup", "vault", "delete", "-n", &ids[0], "--yes"]);
    assert_eq!(text(&site.json(&["backup", "vault", "show", "-n", "twin"])["id"]), ids[1]);
    let group = ids[0].split("/providers/").next().unwrap();
    assert_eq!(site.run(&["backup", "vault", "show", "-n", group]).code, USAGE);
    assert_eq!(site.run(&["backup", "vault", "show", "-n", "absent"]).code, NOT_FOUND);
}

/// A key that was taken away is told by the same code and exit code in vaults of either kind.
#[test]
fn a_lost_key_is_told_alike() {
    for ((kind, _), key_vault) in KINDS.into_iter().zip(["kv-bv-lost", "kv-rsv-lost"]) {
        let (site, own) = site(key_vault);
        site.ok(&own.create_vault(&["--kind", kind]));
        protect(&site);
        let set = ["keyvault", "key", "set-attributes", "--vault-name", key_vault];
        let set = [&set[..], &["--name", "backup", "--yes", "--enabled"]].concat();
        site.ok(&[&set[..], &["false"]].concat());
        let source = site.source();
        let again = ["protect", site.text(&source), "--item", "docs", "--vault", "own"];
        let ran = site.fails(&again, KEY_UNAVAILABLE, "UserErrorCMKKeyDisabled");
        assert!(ran.stderr.contains("custody keyvault key set-attributes"), "{}", ran.stderr);
        let probed = site.run(&["backup", "vault", "key-health", "-n", "own", "--probe"]);
        assert_eq!(probed.code, KEY_UNAVAILABLE, "{}", probed.stderr);
        let status = site.json(&["status"]);
        let last = &status["vaults"][0]["lastProbe"][0];
        assert_eq!(
            (text(&last["result"]), text(&last["code"])),
            ("Refused", "UserErrorCMKKeyDisabled")
        );
        let said = String::from_utf8(site.ok(&["status"])).unwrap();
        assert!(
            said.contains("refused in") && said.contains("(UserErrorCMKKeyDisabled)"),
            "{said}"
        );
        site.ok(&[&set[..], &["true"]].concat());
        site.ok(&again);
    }
}

/// Where nothing deleted is kept, it is gone at once and nothing else is said.
#[test]
fn without_soft_delete_a_deleted_item_is_gone() {
    for (kind, _) in KINDS {
        let site = Site::new();
        site.write("letter.txt", b"the only copy");
        site.ok(&["init"]);
        let create = ["backup", "vault", "create", "-n", "own", "--kind", kind];
        site.ok(&[&create[..], &["--soft-delete-state", "Off"]].concat());
        protect(&site);
        let said = site.run(&["backup", "item", "delete", "-n", "docs", "--yes"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stderr.contains("brought back"), "{}", said.stderr);
        assert_eq!(site.json(&["backup", "deleted-item", "list"]), Value::Array(Vec::new()));
        // What this machine keeps of the index of a large vault goes with it.
        let repository = site.repository();
        let cache = site.data().join("cache").join(repository.file_name().unwrap());
        std::fs::create_dir_all(cache.join("runs/one")).unwrap();
        std::fs::write(cache.join("runs/one/manifest"), "of the index").unwrap();
        let said = site.run(&["backup", "vault", "delete", "-n", "own", "--yes"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stderr.contains("brought back"), "{}", said.stderr);
        assert!(!repository.exists() && !cache.exists());
    }
}

/// Protection stopped with the data kept, gone on with, deleted and brought back.
#[test]
fn an_item_is_stopped_deleted_and_brought_back() {
    for (kind, _) in KINDS {
        let site = Site::new();
        site.write("letter.txt", b"the only copy");
        site.ok(&["init"]);
        site.ok(&["backup", "vault", "create", "-n", "own", "--kind", kind]);
        protect(&site);
        let item = |verb: &'static str| ["backup", "item", verb, "-n", "docs"];
        let state = || text(&site.json(&item("show"))["state"]).to_owned();
        let sure = |verb: &'static str| [&item(verb)[..], &["--yes"]].concat();
        let source = site.source();
        let again = ["protect", site.text(&source), "--item", "docs", "--vault", "own"];

        site.fails(&item("stop-protection"), NOT_CONFIRMED, "ConfirmationMissing");
        let before = state();
        site.ok(&sure("stop-protection"));
        assert_eq!(state(), "ProtectionStopped", "{before} before");
        site.fails(&again, CONFLICT, "UserErrorItemNotProtected");
        site.assert_restores("while-stopped");
        site.ok(&item("resume-protection"));
        site.ok(&again);

        site.fails(&item("delete"), NOT_CONFIRMED, "ConfirmationMissing");
        let said = site.run(&sure("delete"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stderr.contains("deleted-item undelete -n docs"), "{}", said.stderr);
        assert_eq!(site.json(&["backup", "item", "list"]), Value::Array(Vec::new()));
        assert_eq!(site.run(&["points", "docs"]).code, NOT_FOUND);
        let deleted = site.json(&["backup", "deleted-item", "list"]);
        assert_eq!(deleted[0]["name"], "docs", "{deleted}");
        assert!(deleted[0]["keptUntil"].is_string(), "{deleted}");
        site.ok(&["backup", "deleted-item", "get", "-n", "docs"]);
        site.ok(&["backup", "deleted-item", "undelete", "-n", "docs"]);
        let undelete = ["backup", "deleted-item", "undelete", "-n", "docs"];
        assert_eq!(site.run(&undelete).code, NOT_FOUND, "it is deleted no more");
        assert_eq!(state(), "ProtectionStopped");
        site.ok(&item("resume-protection"));
        site.ok(&again);
        assert_eq!(site.json(&["points", "docs"]).as_array().map(Vec::len), Some(3));
        site.assert_restores("back");
    }
}
