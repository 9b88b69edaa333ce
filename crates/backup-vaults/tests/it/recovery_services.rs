//! The rules of Recovery Services vaults, one row each, through the engine.

use custody_backup_vaults::{EncryptionSettings, RecoveryServicesVault};
use custody_resources::{ProvisioningState, Refusal, Verb};
use serde_json::{Value, json};

use crate::desk::{Desk, KEY, KEY_2, UAI, UAI_2};

fn encryption(key: &str, identity: Value) -> Value {
    json!({ "keyVaultProperties": { "keyUri": key }, "kekIdentity": identity })
}

fn other(id: &str) -> Value {
    json!({ "userAssignedIdentity": id })
}

fn own() -> Value {
    json!({ "useSystemAssignedIdentity": true })
}

fn with_layer(mut encryption: Value, layer: &str) -> Value {
    encryption["infrastructureEncryption"] = layer.into();
    encryption
}

fn in_force(key: &str, layer: &str) -> EncryptionSettings {
    let settings = json!({
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": key },
        "kekIdentity": { "identityType": "UserAssigned", "identityId": UAI },
        "infrastructureEncryption": layer,
    });
    serde_json::from_value(settings).unwrap()
}

/// How the vault stands before the request.
#[derive(Clone, Copy)]
enum Before {
    /// There is none.
    Nothing,
    /// On the platform's key, and nothing was ever protected.
    Fresh,
    /// On the platform's key, and somebody tried to protect something.
    Tried,
    /// Under a customer key.
    Customer,
    /// The same with a second layer.
    Layered,
}

#[test]
fn recovery_services_encryption_rules() {
    use Before::{Customer, Fresh, Layered, Nothing, Tried};
    let cannot_return = Err("UserErrorCMKCannotBeDisabled");
    let layer_stands = Err("UserErrorCMKInfrastructureEncryptionCannotBeModified");
    let check = |rule: &str, before: Before, asked: Value, expected: Result<(), &str>| {
        let mut desk = stand(before);
        let settings = desk.settings();
        let got = ask(&mut desk, before, asked);
        let got = got.as_ref().map_err(|refusal| refusal.code.as_ref()).map(|_| ());
        assert_eq!(got, expected, "rule {rule}");
        if expected.is_err() {
            assert_eq!(desk.settings(), settings, "rule {rule}: state unchanged");
        }
    };
    check("33 at creation", Nothing, encryption(KEY, other(UAI)), Ok(()));
    check(
        "33 own identity at creation",
        Nothing,
        encryption(KEY, own()),
        Err("UserErrorCMKSystemAssignedIdentityAtCreation"),
    );
    check("28 own identity later", Fresh, encryption(KEY, own()), Ok(()));
    check(
        "34 an identity that is not attached",
        Fresh,
        encryption(KEY, other(&UAI.replace("one", "three"))),
        Err("UserErrorCMKMissingMangedIdentityPermissionOnKeyVault"),
    );
    let both = json!({ "useSystemAssignedIdentity": true, "userAssignedIdentity": UAI });
    check("34 both at once", Fresh, encryption(KEY, both), Err("InvalidRestApiParameter"));
    check("54 while nothing was protected", Fresh, encryption(KEY, other(UAI)), Ok(()));
    check(
        "55 after an attempt",
        Tried,
        encryption(KEY, other(UAI)),
        Err("UserErrorCMKNotSupportedOnVaultWithRegisteredItems"),
    );
    check("51 null", Customer, Value::Null, cannot_return);
    check("51 no key", Customer, json!({ "keyVaultProperties": null }), cannot_return);
    check("51 never set", Fresh, Value::Null, Ok(()));
    check("60 another key", Customer, json!({ "keyVaultProperties": { "keyUri": KEY_2 } }), Ok(()));
    check("60 key and identity at once", Customer, encryption(KEY_2, other(UAI_2)), Ok(()));
    check("74 with the first key", Fresh, with_layer(encryption(KEY, own()), "Enabled"), Ok(()));
    check("74 at creation", Nothing, with_layer(encryption(KEY, other(UAI)), "Enabled"), Ok(()));
    check("75 later", Customer, with_layer(encryption(KEY, other(UAI)), "Enabled"), layer_stands);
    check("75 away", Layered, with_layer(encryption(KEY, other(UAI)), "Disabled"), layer_stands);
    check("75 the same", Layered, with_layer(encryption(KEY, other(UAI)), "Enabled"), Ok(()));
    check("75 not named", Layered, encryption(KEY, other(UAI)), Ok(()));
    check(
        "76 the same key again",
        Customer,
        json!({ "keyVaultProperties": { "keyUri": KEY } }),
        Ok(()),
    );
}

fn stand(before: Before) -> Desk {
    let mut desk = Desk::of::<RecoveryServicesVault>();
    match before {
        Before::Nothing => {}
        Before::Fresh => desk.vault_in_force(None),
        Before::Tried => {
            desk.vault_in_force(None);
            desk.change(|vault| vault.status.ever_protected = true);
        }
        Before::Customer => desk.vault_in_force(Some(in_force(KEY, "Disabled"))),
        Before::Layered => desk.vault_in_force(Some(in_force(KEY, "Enabled"))),
    }
    desk
}

/// Asks as az does: creates by PUT, changes by PATCH.
fn ask(
    desk: &mut Desk,
    before: Before,
    encryption: Value,
) -> Result<custody_resources::Answer, Refusal> {
    match before {
        Before::Nothing => desk.ask(
            Verb::Put,
            json!({
                "location": "westeurope",
                "sku": { "name": "Standard" },
                "tags": { "team": "backup" },
                "identity": {
                    "type": "SystemAssigned, UserAssigned",
                    "userAssignedIdentities": { UAI: {}, UAI_2: {} },
                },
                "properties": { "encryption": encryption },
            }),
        ),
        _ => desk.ask(Verb::Patch, json!({ "properties": { "encryption": encryption } })),
    }
}

/// A first key may be asked for in every request that creates the vault: with tags (rule 77), and
/// answered as clients are used to.
#[test]
fn a_vault_is_created_under_a_key_with_its_tags() {
    let mut desk = Desk::of::<RecoveryServicesVault>();
    let answer = ask(&mut desk, Before::Nothing, encryption(KEY, other(UAI))).unwrap();
    let body = answer.body.unwrap();
    assert_eq!((answer.status, answer.operation.is_some()), (201, true));
    assert_eq!(
        (&body["tags"]["team"], &body["sku"]["name"]),
        (&json!("backup"), &json!("Standard"))
    );
    assert_eq!(body["properties"].get("encryption"), None, "nothing is in force yet");
    let changed = stand_and_patch();
    assert_eq!((changed.status, changed.body), (202, None), "what goes on shows no body");
}

fn stand_and_patch() -> custody_resources::Answer {
    let mut desk = stand(Before::Fresh);
    ask(&mut desk, Before::Fresh, encryption(KEY, own())).unwrap()
}

/// Rules 71 to 73 and 127: what is read back of the encryption, at every stage.
#[test]
fn the_encryption_is_read_back() {
    let mut desk = stand(Before::Fresh);
    let shown = |desk: &Desk| {
        let config = desk.config();
        ["encryptionAtRestType", "lastUpdateStatus", "infrastructureEncryptionState"]
            .map(|name| config[name].as_str().unwrap().to_owned())
    };
    assert_eq!(shown(&desk), ["MicrosoftManaged", "NotEnabled", "Disabled"]);
    ask(&mut desk, Before::Fresh, encryption(KEY, own())).unwrap();
    assert_eq!(shown(&desk), ["MicrosoftManaged", "FirstInitialization", "Disabled"]);
    desk.change(|vault| {
        vault.record.state = ProvisioningState::Succeeded;
        vault.status.error = Some(Refusal::new(403, "Code", "why"));
    });
    assert_eq!(shown(&desk), ["MicrosoftManaged", "Failed", "Disabled"]);
    let mut desk = stand(Before::Layered);
    assert_eq!(shown(&desk), ["CustomerManaged", "Succeeded", "Enabled"]);
    let config = desk.config();
    assert_eq!(config["keyUri"], KEY);
    assert_eq!(config["subscriptionId"], "");
    assert_eq!(config["userAssignedIdentity"], UAI);
    assert_eq!(config["useSystemAssignedIdentity"], false);
    ask(&mut desk, Before::Layered, encryption(KEY_2, other(UAI))).unwrap();
    assert_eq!(shown(&desk), ["CustomerManaged", "Initialized", "Enabled"]);
    assert_eq!(desk.config()["keyUri"], KEY, "the key in force, until the other is");
}
