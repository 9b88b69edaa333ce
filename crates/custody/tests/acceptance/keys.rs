//! Taking the key away, giving it back, rotating it, destroying it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::site::{Site, copy, files};

/// Rule 119: the next operation must fail; the bound is the issue's.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
const KEY_UNAVAILABLE: i32 = 7;

/// Everything that needs the key fails at once with the same code, and changes nothing.
fn assert_locked(site: &Site, code: &str) {
    let source = site.source();
    let target = site.path("must-not-appear");
    for arguments in [
        vec!["protect", site.text(&source), "--item", "docs"],
        vec!["restore", "docs", "--to", site.text(&target)],
        vec!["cat", "docs", "letter.txt"],
        vec!["verify", "--read-data"],
        vec!["prune"],
    ] {
        let begun = Instant::now();
        let ran = site.fails(&arguments, KEY_UNAVAILABLE, code);
        assert!(begun.elapsed() < REFUSED_WITHIN, "{arguments:?} took {:?}", begun.elapsed());
        assert!(ran.stderr.contains("custody "), "a command mends it: {}", ran.stderr);
    }
    assert!(!target.exists(), "nothing was restored");
}

/// Rules 17, 65, 104: a disabled key stops everything, and enabling it mends everything.
#[test]
fn a_disabled_key_locks_and_enabling_it_unlocks() {
    let site = Site::protected();
    let vault = site.key_vault();
    let set = |flag: &str| {
        let arguments = ["keyvault", "key", "set-attributes", "--vault-name", &vault];
        let mut all = arguments.to_vec();
        all.extend(["--name", "backup", "--enabled", flag, "--yes"]);
        site.ok(&all);
    };
    set("false");
    assert_locked(&site, "UserErrorCMKKeyDisabled");
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1, "points still listed");
    set("true");
    site.ok(&["verify", "--read-data"]);
    site.assert_restores("back");
}

/// Rules 42, 65, 119: without its grant the vault's identity is refused.
#[test]
fn a_removed_grant_locks_and_a_new_one_unlocks() {
    let site = Site::protected();
    let vault = site.key_vault();
    let scope =
        site.json(&["keyvault", "show", "--name", &vault])["id"].as_str().unwrap().to_owned();
    let role = "Key Vault Crypto Service Encryption User";
    let identity = site.json(&["identity", "show", "--name", "main-identity"]);
    let principal =
        identity.pointer("/properties/principalId").or_else(|| identity.get("principalId"));
    let principal = principal.unwrap().as_str().unwrap().to_owned();
    let grant = ["--assignee", &principal, "--role", role, "--scope", &scope];
    let mut delete = vec!["role", "assignment", "delete", "--yes"];
    delete.extend(grant);
    site.ok(&delete);
    assert_locked(&site, "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault");
    let mut create = vec!["role", "assignment", "create"];
    create.extend(grant);
    site.ok(&create);
    site.assert_restores("back");
}

/// Rules 85–87, 91, 92: a rotation rewraps without touching data; then the old version may go.
#[test]
fn rotation_rewraps_and_the_old_version_can_be_retired() {
    let site = Site::protected();
    let vault = site.key_vault();
    let packs = || -> Vec<(std::path::PathBuf, u64, Vec<u8>)> {
        files(&site.repository().join("packs"))
            .into_iter()
            .map(|path| {
                let inode = path.metadata().unwrap().ino();
                let bytes = fs::read(&path).unwrap();
                (path, inode, bytes)
            })
            .collect()
    };
    let before = packs();
    let old = site.json(&["keyvault", "key", "show", "--vault-name", &vault, "--name", "backup"]);
    let old = old["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let ring = fs::read(site.repository().join("keys/ring-0000000001")).unwrap();
    site.ok(&["keyvault", "key", "rotate", "--vault-name", &vault, "--name", "backup"]);
    let drill = site.json(&["drill", "revoke", "--key", "backup", "--version", &old]);
    assert_eq!(drill["versions"][0]["retireSafely"], false, "{drill}");
    site.ok(&["verify"]);
    let drill = site.json(&["drill", "revoke", "--key", "backup", "--version", &old]);
    assert_eq!(drill["versions"][0]["retireSafely"], true, "{drill}");
    assert!(before == packs(), "no pack was touched");
    let rings = files(&site.repository().join("keys"));
    assert!(rings.iter().all(|path| fs::read(path).unwrap() != ring), "the old ring is gone");
    let mut disable = vec!["keyvault", "key", "set-attributes", "--vault-name", &vault];
    disable.extend(["--name", "backup", "--version", &old, "--enabled", "false", "--yes"]);
    site.ok(&disable);
    site.assert_restores("back");
    site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
}

/// Rule 125: under purge protection nothing is purged.
#[test]
fn purge_protection_refuses_a_purge() {
    let site = Site::protected();
    let vault = site.key_vault();
    let key = ["--vault-name", vault.as_str(), "--name", "backup"];
    let mut delete = vec!["keyvault", "key", "delete", "--yes"];
    delete.extend(key);
    site.ok(&delete);
    site.fails(&["cat", "docs", "letter.txt"], KEY_UNAVAILABLE, "UserErrorCMKKeyVaultAuthFailure");
    let mut purge = vec!["keyvault", "key", "purge", "--yes"];
    purge.extend(key);
    let refused = site.run(&purge);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("purge"), "{}", refused.stderr);
    let mut recover = vec!["keyvault", "key", "recover"];
    recover.extend(key);
    site.ok(&recover);
    site.assert_restores("back");
}

/// Rule 69: after a real purge there is no way back, not even with the key store of before.
#[test]
fn a_purged_key_is_gone_for_ever() {
    let site = Site::new();
    site.write("letter.txt", b"the only copy");
    site.ok(&["init"]);
    let vault = "kv-no-protection";
    let create = ["keyvault", "create", "--name", vault, "--enable-purge-protection", "false"];
    site.ok(&create);
    let scope =
        site.json(&["keyvault", "show", "--name", vault])["id"].as_str().unwrap().to_owned();
    let officer = "Key Vault Crypto Officer";
    let grant = ["role", "assignment", "create", "--assignee", "me", "--role", officer];
    let mut grant = grant.to_vec();
    grant.extend(["--scope", &scope]);
    site.ok(&grant);
    site.ok(&["keyvault", "key", "create", "--vault-name", vault, "--name", "backup"]);
    let identity = site.json(&["identity", "create", "--name", "robot"]);
    let principal =
        identity.pointer("/properties/principalId").or_else(|| identity.get("principalId"));
    let principal = principal.unwrap().as_str().unwrap().to_owned();
    let role = "Key Vault Crypto Service Encryption User";
    let mut grant = vec!["role", "assignment", "create", "--assignee", &principal];
    grant.extend(["--role", role, "--scope", &scope]);
    site.ok(&grant);
    let identity_id = identity["id"].as_str().unwrap().to_owned();
    let key_uri = format!("https://{vault}.vault.custody.localhost/keys/backup");
    let mut create = vec!["backup", "vault", "create", "--vault-name", "doomed"];
    create.extend(["--encryption-key-id", &key_uri, "--mi-user-assigned", &identity_id]);
    site.ok(&create);
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "doomed"]);
    copy(&site.data().join("keys.db"), &site.path("keys.db.before"));
    let key = ["--vault-name", vault, "--name", "backup", "--yes"];
    for verb in ["delete", "purge"] {
        let mut command = vec!["keyvault", "key", verb];
        command.extend(key);
        site.ok(&command);
    }
    let cat = ["cat", "docs", "letter.txt", "--vault", "doomed"];
    site.fails(&cat, KEY_UNAVAILABLE, "UserErrorCMKKeyVaultAuthFailure");
    for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        let _ = fs::remove_file(site.data().join(name));
    }
    copy(&site.path("keys.db.before"), &site.data().join("keys.db"));
    let ran = site.run(&cat);
    assert_ne!(
        ran.code, 0,
        "the keys.db of before the purge opens nothing beside the present seal"
    );
    assert!(ran.stdout.is_empty());
}

/// Rule 118: every use of a key is on the ledger, allowed or refused, and the chain is whole.
#[test]
fn every_use_is_on_the_ledger() {
    let site = Site::protected();
    let vault = site.key_vault();
    let set = ["keyvault", "key", "set-attributes", "--vault-name", &vault, "--name", "backup"];
    let mut disable = set.to_vec();
    disable.extend(["--enabled", "false", "--yes"]);
    site.ok(&disable);
    let _refused = site.run(&["cat", "docs", "letter.txt"]);
    let all = site.json(&["ledger", "show", "--top", "1000"]).to_string();
    for word in ["KeyCreate", "KeyWrap", "KeyUnwrap", "KeyUpdate"] {
        assert!(all.contains(word), "{word} is missing");
    }
    site.ok(&["ledger", "verify"]);
    let segment = files(&site.data().join("ledger"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_ne!(site.run(&["ledger", "verify"]).code, 0, "a changed byte is found");
}

/// A change to another key begins a new generation under the new key alone.
#[test]
fn changing_to_another_key_keeps_everything_readable() {
    let site = Site::protected();
    let vault = site.key_vault();
    site.ok(&["keyvault", "key", "create", "--vault-name", &vault, "--name", "second"]);
    let uri = format!("https://{vault}.vault.custody.localhost/keys/second");
    let mut update = vec!["backup", "vault", "encryption", "update", "--vault-name", "main"];
    update.extend(["--encryption-key-id", &uri]);
    site.ok(&update);
    let mut disable = vec!["keyvault", "key", "set-attributes", "--vault-name", &vault];
    disable.extend(["--name", "backup", "--enabled", "false", "--yes"]);
    site.ok(&disable);
    site.assert_restores("back");
    let shown = site.json(&["backup", "vault", "show", "--vault-name", "main"]).to_string();
    assert!(shown.contains("\"generation\":2"), "{shown}");
}

/// Rule 51: back to the platform's key is refused, and nothing changes.
#[test]
fn there_is_no_way_back_to_the_platform_key() {
    let site = Site::protected();
    let mut update = vec!["backup", "vault", "encryption", "update", "--vault-name", "main"];
    update.extend(["--encryption-key-id", ""]);
    assert_ne!(site.run(&update).code, 0);
    site.assert_restores("back");
}
