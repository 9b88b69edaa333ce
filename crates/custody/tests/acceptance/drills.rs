//! Live drills by the command: reported, provable, and undone even if they are killed half way.

use std::fs;

use serde_json::Value;

use crate::keys::{Arranged, arrange};
use crate::site::Site;

const SERVICE_ROLE: &str = "Key Vault Crypto Service Encryption User";
const CONFLICT: i32 = 6;
const DAMAGED: i32 = 9;

/// A vault `own` that is marked for drills, with one recovery point, under a key of a key vault.
fn drilled(site: &Site, key_vault: &'static str) -> Arranged {
    let own = arrange(site, key_vault, &[]);
    own.grant(site, "me", "Key Vault Crypto Officer");
    own.grant(site, &own.principal, SERVICE_ROLE);
    own.make_key(site);
    site.ok(&own.create_vault(&["--tags", "custody-drill=allowed"]));
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "own"]);
    own
}

fn enabled(site: &Site, key_vault: &str) -> Value {
    let show = ["keyvault", "key", "show", "--vault-name", key_vault, "--name", "backup"];
    site.json(&show)["attributes"]["enabled"].clone()
}

/// Rule 119 measured, and what an auditor keeps of it.
#[test]
fn a_live_drill_is_reported_and_undone() {
    let site = Site::new();
    let own = drilled(&site, "kv-drill");
    let file = site.path("drill.json");
    let live = ["drill", "revoke", "--live", "--vault", "own", "--report", site.text(&file)];
    let unasked = site.run(&live);
    assert_eq!(unasked.code, 10, "{}", unasked.stderr);
    let mut confirmed = live.to_vec();
    confirmed.push("--yes");
    let said = String::from_utf8(site.ok(&confirmed)).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let readable = fs::read_to_string(site.path("drill.json.txt")).unwrap();
    assert_eq!(said, readable);
    assert!(readable.contains("restored docs: passed, 1 file, 13 B"), "{readable}");
    let last = report["report"]["measured"]["lastReadMs"].as_u64().unwrap();
    assert!(last < 1_000, "the bound of a revocation: {last} ms");
    assert_eq!(enabled(&site, own.vault), true);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt", "--vault", "own"]), b"the only copy");
    let verify = ["ledger", "verify", "--report", site.text(&file)];
    site.ok(&verify);
    site.fails(&confirmed, CONFLICT, "FileExists");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"Passed\"", "\"Fine\"")).unwrap();
    let forged = site.run(&verify);
    assert_eq!(forged.code, DAMAGED, "{}", forged.stderr);
}

/// kill -9 while the key is disabled: the next command enables it, and none does so before.
#[test]
fn a_drill_that_is_killed_gives_the_key_back() {
    let site = Site::new();
    let own = drilled(&site, "kv-killed");
    // With a second key that is enough by itself a drill waits long for what does not happen.
    let second = "kv-killed2";
    let create = ["keyvault", "create", "--name", second, "--enable-purge-protection"];
    let scope = site.json(&create)["id"].as_str().unwrap().to_owned();
    for (who, role) in [("me", "Key Vault Crypto Officer"), (&own.principal, SERVICE_ROLE)] {
        let grant = ["role", "assignment", "create", "--assignee", who, "--role", role];
        site.ok(&[&grant[..], &["--scope", &scope]].concat());
    }
    site.ok(&["keyvault", "key", "create", "--vault-name", second, "--name", "backup"]);
    let standby = format!("https://{second}.vault.custody.localhost/keys/backup");
    let update =
        ["backup", "vault", "encryption", "update", "-n", "own", "--standby-key", &standby];
    site.ok(&[&update[..], &["--failover", "Any"]].concat());
    let mut drill = site.start(&["drill", "revoke", "--live", "--vault", "own", "--yes"]);
    let taken = (0..200).any(|_| enabled(&site, own.vault) == false);
    assert!(taken, "other commands leave the drill alone");
    drill.kill().unwrap();
    drill.wait().unwrap();
    assert_eq!(enabled(&site, own.vault), true);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt", "--vault", "own"]), b"the only copy");
    // What its owner disables afterwards stays so.
    let set = ["keyvault", "key", "set-attributes", "--vault-name", own.vault, "--name", "backup"];
    site.ok(&[&set[..], &["--enabled", "false", "--yes"]].concat());
    assert_eq!(enabled(&site, own.vault), false);
}
