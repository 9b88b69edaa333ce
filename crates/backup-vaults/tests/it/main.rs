//! The documents' rules on a Backup vault's encryption settings, one row each, through the engine.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod desk;
mod key_probes;
mod recovery_services;
mod soft_delete;

use custody_backup_vaults::{
    BackupVault, EncryptionSettings, GenerationSummary, KeyringSummary, RecoveryServicesVault,
    VaultStatus,
    rules::{self, Behind},
};
use custody_resources::{Kind, ProvisioningState, Verb};
use desk::{Desk, KEY, KEY_2, UAI, UAI_2};
use serde_json::{Value, json};

/// The code of a body that cannot be understood.
const BAD: &str = "InvalidRequestContent";

/// A row: rule, what is in force before, the request, and the code of the refusal or `Ok`.
struct Row {
    rule: &'static str,
    before: Option<Value>,
    verb: Verb,
    body: Value,
    expected: Result<(), &'static str>,
}

fn enabled(key: &str, identity: &str) -> Value {
    json!({
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": key },
        "kekIdentity": { "identityType": "UserAssigned", "identityId": identity },
    })
}

fn layered(key: &str, layer: &str) -> Value {
    let mut settings = enabled(key, UAI);
    settings["infrastructureEncryption"] = layer.into();
    settings
}

fn body(settings: Option<Value>) -> Value {
    let attached = json!({ UAI: {}, UAI_2: {} });
    let mut body = json!({
        "location": "westeurope",
        "identity": { "type": "UserAssigned", "userAssignedIdentities": attached },
        "properties": {},
    });
    if let Some(settings) = settings {
        body["properties"]["securitySettings"] = json!({ "encryptionSettings": settings });
    }
    body
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    let own_identity = json!({
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": KEY },
        "kekIdentity": { "identityType": "SystemAssigned" },
    });
    let put = |rule, before: Option<Value>, settings: Option<Value>, expected| Row {
        rule,
        before,
        verb: Verb::Put,
        body: body(settings),
        expected,
    };
    let cannot_return = Err("UserErrorCMKCannotBeDisabled");
    let mut rows = vec![
        put("1 platform key by default", None, None, Ok(())),
        put("4 a key of a key vault", None, Some(enabled(KEY, UAI)), Ok(())),
        put("5 the key may be changed", Some(enabled(KEY, UAI)), Some(enabled(KEY_2, UAI)), Ok(())),
        put("11 a second layer beneath", None, Some(layered(KEY, "Enabled")), Ok(())),
        put(
            "32 own identity at creation",
            None,
            Some(own_identity),
            Err("UserErrorCMKSystemAssignedIdentityAtCreation"),
        ),
        put(
            "36 key and identity together",
            Some(enabled(KEY, UAI)),
            Some(enabled(KEY_2, UAI_2)),
            Err("UserErrorCMKKeyUriAndIdentityUpdateNotAllowedTogether"),
        ),
        put(
            "36 both sent, one changed",
            Some(enabled(KEY, UAI)),
            Some(enabled(KEY, UAI_2)),
            Ok(()),
        ),
        put(
            "51 disable",
            Some(enabled(KEY, UAI)),
            Some(json!({ "state": "Disabled" })),
            cannot_return,
        ),
        put(
            "51 no key",
            Some(enabled(KEY, UAI)),
            Some(json!({ "state": "Enabled" })),
            cannot_return,
        ),
        put("51 absent keeps", Some(enabled(KEY, UAI)), None, Ok(())),
        put("51 never enabled", None, Some(json!({ "state": "Disabled" })), Ok(())),
        put("52 identity alone", Some(enabled(KEY, UAI)), Some(enabled(KEY, UAI_2)), Ok(())),
        put("53 after items are there", Some(json!(null)), Some(enabled(KEY, UAI)), Ok(())),
        put(
            "74 second layer later",
            Some(enabled(KEY, UAI)),
            Some(layered(KEY, "Enabled")),
            Err("UserErrorCMKInfrastructureEncryptionCannotBeModified"),
        ),
        put(
            "75 second layer taken away",
            Some(layered(KEY, "Enabled")),
            Some(layered(KEY, "Disabled")),
            Err("UserErrorCMKInfrastructureEncryptionCannotBeModified"),
        ),
    ];
    let patch = |rule, settings: Value, expected| Row {
        rule,
        before: Some(layered(KEY, "Enabled")),
        verb: Verb::Patch,
        body: json!({ "properties": { "securitySettings": { "encryptionSettings": settings } } }),
        expected,
    };
    rows.extend([
        patch("51 by null", Value::Null, cannot_return),
        patch("51 an empty key", json!({ "keyVaultProperties": { "keyUri": "" } }), Err(BAD)),
        patch("51 no key any more", json!({ "keyVaultProperties": null }), cannot_return),
        patch("52 the key alone", json!({ "keyVaultProperties": { "keyUri": KEY_2 } }), Ok(())),
        patch(
            "52 the identity alone, of another sort",
            json!({ "kekIdentity": { "identityType": "SystemAssigned" } }),
            Ok(()),
        ),
        patch("75 what is not named of the second layer stays", enabled(KEY, UAI), Ok(())),
        patch(
            "38 a key of somebody else's",
            json!({ "keyVaultProperties": { "keyUri": "https://kv1.vault.azure.net/keys/k1" } }),
            Err("UserErrorCMKKeyVaultAuthFailure"),
        ),
        patch(
            "38 a key inside the network",
            json!({ "keyVaultProperties": { "keyUri": "https://169.254.169.254/keys/k1" } }),
            Err(BAD),
        ),
    ]);
    rows.push(Row {
        rule: "51 by PATCH",
        before: Some(enabled(KEY, UAI)),
        verb: Verb::Patch,
        body: json!({ "properties": { "securitySettings": { "encryptionSettings":
            { "state": "Disabled" } } } }),
        expected: cannot_return,
    });
    // Whoever names the settings names an attached identity; whoever does not may take it away.
    let missing = Err("UserErrorCMKMissingMangedIdentityPermissionOnKeyVault");
    for (rule, properties, expected) in [
        (
            "34 detached identity",
            json!({ "securitySettings": { "encryptionSettings": enabled(KEY, UAI) } }),
            missing,
        ),
        ("35 identity taken away", json!({}), Ok(())),
    ] {
        let identity = json!({ "type": "UserAssigned", "userAssignedIdentities": { UAI_2: {} } });
        rows.push(Row {
            rule,
            before: Some(enabled(KEY, UAI)),
            verb: Verb::Put,
            body: json!({
                "location": "westeurope", "identity": identity, "properties": properties,
            }),
            expected,
        });
    }
    rows
}

#[test]
fn encryption_rules() {
    for Row { rule, before, verb, body, expected } in rows() {
        let mut desk = Desk::of::<BackupVault>();
        if let Some(before) = &before {
            let applied: Option<EncryptionSettings> =
                serde_json::from_value(before.clone()).unwrap();
            desk.vault_in_force(applied);
        }
        let got = desk.ask(verb, body).map(drop);
        assert_eq!(
            got.as_ref().map_err(|refusal| refusal.code.as_ref()),
            expected.as_ref().map_err(|code| *code),
            "rule {rule}"
        );
        if expected.is_err() {
            assert_eq!(desk.settings(), before.unwrap_or_default(), "rule {rule}: state unchanged");
        }
    }
}

/// Rules 85 and 86: a version in the key URI pins, its absence follows the newest.
#[test]
fn key_uris_pin_or_follow() {
    let check = |uri: &str, follows: bool| {
        let key = uri.parse().unwrap();
        assert_eq!(rules::follows_newest_version(&key), follows, "{uri}");
    };
    check(KEY, true);
    check(&format!("{KEY}/0123456789abcdef0123456789abcdef"), false);
}

/// Rules 70, 86 and 87: a vault catches up with a version that does not wrap it, and with what an
/// earlier change left undone.
#[test]
fn a_vault_is_behind_its_key() {
    let version = |digit: char| -> custody_names::KeyVersionUri {
        format!("{KEY}/{}", digit.to_string().repeat(32)).parse().unwrap()
    };
    let wraps = vec![GenerationSummary { generation: 1, wraps: vec![version('1')] }];
    let keyring = KeyringSummary { number: 1, hash: String::new(), generations: wraps };
    let check = |is_inconsistent, newest: &[char], expected| {
        let keyring = Some(keyring.clone());
        let status = VaultStatus { keyring, is_inconsistent, ..VaultStatus::default() };
        let newest_versions = newest.iter().map(|digit| version(*digit));
        assert_eq!(rules::behind(&status, newest_versions), expected, "{newest:?}");
    };
    check(false, &[], None);
    check(false, &['1'], None);
    check(false, &['2'], Some(Behind::Version(version('2'))));
    check(false, &['1', '2'], Some(Behind::Version(version('2'))));
    check(true, &['1'], Some(Behind::Unfinished));
    check(true, &['2'], Some(Behind::Unfinished));
}

/// Rule 52: any change in force is carried out by an operation, the same settings again as well.
#[test]
fn asking_begins_an_operation() {
    let mut desk = Desk::of::<BackupVault>();
    let created = desk.ask(Verb::Put, body(Some(enabled(KEY, UAI)))).unwrap();
    assert!(created.operation.is_some());
    let applied = serde_json::from_value(enabled(KEY, UAI)).unwrap();
    desk.vault_in_force(Some(applied));
    let tags = desk.ask(Verb::Patch, json!({ "tags": { "a": "b" } })).unwrap();
    assert_eq!(tags.operation, None);
    let again = desk.ask(Verb::Put, body(Some(enabled(KEY, UAI)))).unwrap();
    assert!(again.operation.is_some(), "the same key again means: rewrap to its newest version");
}

/// While an update runs, clients see what is in force (recorded Azure traffic).
#[test]
fn the_old_key_shows_until_the_update_is_done() {
    let mut desk = Desk::of::<BackupVault>();
    let applied = serde_json::from_value(enabled(KEY, UAI)).unwrap();
    desk.vault_in_force(Some(applied));
    let answer = desk.ask(Verb::Put, body(Some(enabled(KEY_2, UAI)))).unwrap();
    let shown = answer.body.unwrap();
    let settings = &shown["properties"]["securitySettings"]["encryptionSettings"];
    assert_eq!(settings["keyVaultProperties"]["keyUri"], KEY);
    assert_eq!(shown["properties"]["provisioningState"], "Updating");
}

/// While an operation is at a vault, nothing else changes it: one code, for whatever is asked.
#[test]
fn a_vault_under_an_operation_takes_no_other_change() {
    table_of_busy::<BackupVault>();
    table_of_busy::<RecoveryServicesVault>();
}

fn table_of_busy<K: Kind>() {
    let key =
        json!({ "properties": { "encryption": { "keyVaultProperties": { "keyUri": KEY } } } });
    for state in [ProvisioningState::Updating, ProvisioningState::Deleting] {
        for (verb, body) in [
            (Verb::Patch, key.clone()),
            (Verb::Patch, json!({ "tags": {} })),
            (Verb::Patch, json!({ "identity": { "type": "None" } })),
            (Verb::Put, json!({ "location": "westeurope", "properties": {} })),
            (Verb::Delete, Value::Null),
        ] {
            let mut desk = Desk::of::<K>();
            desk.vault_in_force(None);
            desk.change(|vault| vault.record.state = state);
            let refused = desk.ask(verb.clone(), body.clone()).unwrap_err();
            let got = (refused.status, refused.code.as_ref());
            assert_eq!(got, (409, "AnotherOperationInProgress"), "{verb:?} {body}");
        }
    }
}
