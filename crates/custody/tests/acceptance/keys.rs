//! Taking the key away, giving it back, rotating it, destroying it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::served::Served;
use crate::site::{Site, copy, files};

/// Rule 119: the next operation must fail; the bound is the issue's.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
const KEY_UNAVAILABLE: i32 = 7;
const SEAL_WRONG: i32 = 13;

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
    let served = Served::start(&site, &["--virtual-clock"]);
    let own = arrange(&site, "kv-short", &["--retention-days", "7"]);
    own.grant(&site, "me", "Key Vault Crypto Officer");
    own.grant(&site, &own.principal, "Key Vault Crypto Service Encryption User");
    own.make_key(&site);
    site.ok(&own.create_vault(&[]));
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "own"]);
    let store = ["keys.db", "keys.db-wal"];
    for name in store {
        copy(&site.data().join(name), &site.path(name));
    }
    site.ok(&["keyvault", "key", "delete", "--vault-name", own.vault, "--name", "backup", "--yes"]);
    let late = json!({ "advanceSeconds": 8 * 24 * 3600 }).to_string();
    assert_eq!(served.local("POST", "/custody/clock", late.as_bytes()).status, 200);
    let cat = ["cat", "docs", "letter.txt", "--vault", "own"];
    site.fails(&cat, KEY_UNAVAILABLE, "UserErrorCMKKeyVaultAuthFailure");
    served.kill();
    let _ = fs::remove_file(site.data().join("keys.db-shm"));
    for name in store {
        copy(&site.path(name), &site.data().join(name));
    }
    // The keys.db of before the purge opens nothing beside the present seal.
    site.fails(&["up", "--port", "0", "--virtual-clock"], SEAL_WRONG, "SealMismatch");
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

/// An own key vault with a key, for tests that arrange the grants themselves: the vault's name, its
/// resource id, the key's URI and the identity's resource id and principal.
pub(crate) struct Arranged {
    pub(crate) vault: &'static str,
    scope: String,
    key_uri: String,
    identity: String,
    pub(crate) principal: String,
}

pub(crate) fn arrange(site: &Site, vault: &'static str, extra: &[&str]) -> Arranged {
    site.write("letter.txt", b"the only copy");
    site.ok(&["init"]);
    // Without it no key is taken (rule 19).
    let mut create = vec!["keyvault", "create", "--name", vault, "--enable-purge-protection"];
    create.extend(extra);
    site.ok(&create);
    let scope =
        site.json(&["keyvault", "show", "--name", vault])["id"].as_str().unwrap().to_owned();
    let identity = site.json(&["identity", "create", "--name", "robot"]);
    let principal =
        identity.pointer("/properties/principalId").or_else(|| identity.get("principalId"));
    let principal = principal.unwrap().as_str().unwrap().to_owned();
    let key_uri = format!("https://{vault}.vault.custody.localhost/keys/backup");
    let identity = identity["id"].as_str().unwrap().to_owned();
    Arranged { vault, scope, key_uri, identity, principal }
}

impl Arranged {
    pub(crate) fn make_key(&self, site: &Site) {
        site.ok(&["keyvault", "key", "create", "--vault-name", self.vault, "--name", "backup"]);
    }

    pub(crate) fn grant(&self, site: &Site, who: &str, role: &str) {
        let grant = ["role", "assignment", "create", "--assignee", who, "--role", role];
        let mut grant = grant.to_vec();
        grant.extend(["--scope", &self.scope]);
        site.ok(&grant);
    }

    pub(crate) fn create_vault<'a>(&'a self, extra: &[&'a str]) -> Vec<&'a str> {
        let mut create = vec!["backup", "vault", "create", "--vault-name", "own"];
        create.extend(["--encryption-key-id", &self.key_uri]);
        create.extend(["--mi-user-assigned", &self.identity]);
        create.extend(extra);
        create
    }
}

/// Rule 5: a key that the identity may not use is not taken, and the vault protects nothing until
/// the same request goes through.
#[test]
fn a_key_without_a_grant_is_refused() {
    let site = Site::new();
    let own = arrange(&site, "kv-rule-five", &[]);
    own.grant(&site, "me", "Key Vault Crypto Officer");
    own.make_key(&site);
    let missing = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    site.fails(&own.create_vault(&[]), KEY_UNAVAILABLE, missing);
    let update = ["backup", "vault", "encryption", "update", "-n", "own", "--dry-run"];
    let mut checked = update.to_vec();
    checked.extend(["--encryption-key-id", &own.key_uri, "--mi-user-assigned", &own.identity]);
    let checks = site.run(&checked);
    assert_eq!(checks.code, KEY_UNAVAILABLE, "a dry run ends as the change would");
    let source = site.source();
    let protect = ["protect", site.text(&source), "--item", "docs", "--vault", "own"];
    assert_ne!(site.run(&protect).code, 0, "a vault without its key protects nothing");
    own.grant(&site, &own.principal, "Key Vault Crypto Service Encryption User");
    site.ok(&own.create_vault(&[]));
    site.ok(&protect);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt", "--vault", "own"]), b"the only copy");
}

/// Rule 11: a second layer of the platform's lies beneath the customer's key.
#[test]
fn a_second_layer_beneath_the_key() {
    let site = Site::new();
    let own = arrange(&site, "kv-rule-eleven", &[]);
    own.grant(&site, "me", "Key Vault Crypto Officer");
    own.grant(&site, &own.principal, "Key Vault Crypto Service Encryption User");
    own.make_key(&site);
    site.ok(&own.create_vault(&["--infrastructure-encryption", "Enabled"]));
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "own"]);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt", "--vault", "own"]), b"the only copy");
    let shown = site.json(&["backup", "vault", "show", "--vault-name", "own"]).to_string();
    assert!(shown.contains("\"infrastructureEncryption\":\"Enabled\""), "{shown}");
}

/// Rules 17 and 18: a key past its expiry is refused like a disabled one.
#[test]
fn an_expired_key_is_refused() {
    let site = Site::protected();
    let vault = site.key_vault();
    let set = ["keyvault", "key", "set-attributes", "--vault-name", &vault, "--name", "backup"];
    let mut expire = set.to_vec();
    expire.extend(["--expires", "2020-01-01T00:00:00Z", "--yes"]);
    site.ok(&expire);
    assert_locked(&site, "UserErrorCMKKeyExpired");
    let mut prolong = set.to_vec();
    prolong.extend(["--expires", "2100-01-01T00:00:00Z", "--yes"]);
    site.ok(&prolong);
    site.assert_restores("back");
}

/// Rule 43: under access policies get, wrapKey and unwrapKey suffice; roles count for nothing
/// there (rule 47).
#[test]
fn access_policies_suffice() {
    let site = Site::new();
    let own = arrange(&site, "kv-policies", &["--enable-rbac-authorization", "false"]);
    let me = "me";
    let officer = ["keyvault", "set-policy", "--name", own.vault, "--object-id", me];
    let mut policy = officer.to_vec();
    policy.extend(["--key-permissions", "create", "get", "list"]);
    site.ok(&policy);
    own.make_key(&site);
    own.grant(&site, &own.principal, "Key Vault Crypto Service Encryption User");
    let missing = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    site.fails(&own.create_vault(&[]), KEY_UNAVAILABLE, missing);
    let robot = ["keyvault", "set-policy", "--name", own.vault, "--object-id", &own.principal];
    let mut policy = robot.to_vec();
    policy.extend(["--key-permissions", "get", "wrapKey", "unwrapKey"]);
    site.ok(&policy);
    site.ok(&own.create_vault(&[]));
    let source = site.source();
    site.ok(&["protect", site.text(&source), "--item", "docs", "--vault", "own"]);
}

fn signal(child: &std::process::Child, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success(), "kill {signal}");
}

/// Rule 119: a job that is running stops when the key is disabled, nothing of it is committed, and
/// what was committed before is whole.
#[test]
fn a_running_job_stops_when_the_key_is_disabled() {
    let site = Site::protected();
    let vault = site.key_vault();
    let mut state = 1_u64;
    for number in 0..40 {
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let bytes: Vec<u8> = words.take(500_000).flatten().collect();
        site.write(&format!("big/{number}"), &bytes);
    }
    let source = site.source();
    let protect = ["protect", site.text(&source), "--item", "docs", "--progress", "json"];
    let mut child = site.start(&protect);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let reading = lines.by_ref().find(|line| line.as_ref().unwrap().contains("\"read\""));
    assert!(reading.is_some(), "the job says that it reads");
    let set = ["keyvault", "key", "set-attributes", "--vault-name", &vault, "--name", "backup"];
    let mut disable = set.to_vec();
    disable.extend(["--enabled", "false", "--yes"]);
    // However fast the job is, it is still reading when the key goes.
    signal(&child, "-STOP");
    site.ok(&disable);
    signal(&child, "-CONT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(KEY_UNAVAILABLE), "{rest:?}");
    let mut enable = set.to_vec();
    enable.extend(["--enabled", "true", "--yes"]);
    site.ok(&enable);
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1);
    site.ok(&["protect", site.text(&source), "--item", "docs"]);
    site.assert_restores("back");
}
