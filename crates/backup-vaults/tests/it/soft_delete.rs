//! Which soft delete settings a vault takes, in the words of each kind.

use custody_backup_vaults::{BackupVault, RecoveryServicesVault, SoftDeleteState};
use custody_resources::{Kind, Verb};
use serde_json::{Value, json};

use crate::desk::Desk;

/// The words of a kind.
struct Words {
    state: &'static str,
    days: &'static str,
    off: &'static str,
    on: &'static str,
}

#[test]
fn soft_delete_settings() {
    let backup = Words { state: "state", days: "retentionDurationInDays", off: "Off", on: "On" };
    let recovery_services = Words {
        state: "softDeleteState",
        days: "softDeleteRetentionPeriodInDays",
        off: "Disabled",
        on: "Enabled",
    };
    table::<BackupVault>(&backup);
    table::<RecoveryServicesVault>(&recovery_services);
}

fn table<K: Kind>(words: &Words) {
    use SoftDeleteState::{AlwaysOn, Off, On};
    let Words { state, days, off, on } = words;
    // What is asked for first, what then, by PATCH or PUT, and what comes of it.
    let check =
        |first: Value, then: (Verb, Value), expected: Result<(SoftDeleteState, u32), &str>| {
            let mut desk = Desk::of::<K>();
            desk.vault_in_force(None);
            desk.ask(Verb::Patch, nested(&first)).unwrap();
            let before = desk.soft_delete();
            let (verb, then) = then;
            let mut body = nested(&then);
            body["location"] = "westeurope".into();
            let got = desk.ask(verb, body).map_err(|refusal| refusal.code.to_string());
            let after = desk.soft_delete();
            match expected {
                Ok(expected) => {
                    assert_eq!(got.err(), None, "{first} {then}");
                    assert_eq!((after.state, after.days), expected, "{first} {then}");
                }
                Err(code) => {
                    assert_eq!(got.err().as_deref(), Some(code), "{first} {then}");
                    assert_eq!(after, before);
                }
            }
        };
    let patch = |settings: Value| (Verb::Patch, settings);
    let put = |settings: Value| (Verb::Put, settings);
    let nothing = json!({});
    let always = json!({ *state: "AlwaysON", *days: 30 });
    let invalid = Err("InvalidRestApiParameter");
    let stays = Err("UserErrorSoftDeleteCannotBeDisabled");
    check(nothing.clone(), patch(nothing.clone()), Ok((On, 14)));
    check(nothing.clone(), patch(json!({ *state: off })), Ok((Off, 14)));
    check(nothing.clone(), patch(json!({ *state: off, *days: 0 })), Ok((Off, 14)));
    check(nothing.clone(), patch(json!({ *days: 180.0 })), Ok((On, 180)));
    for wrong in [json!(13), json!(181), json!(14.5), json!("14"), json!(-1)] {
        check(nothing.clone(), patch(json!({ *days: wrong })), invalid);
    }
    check(nothing.clone(), patch(json!({ *state: "Perhaps" })), invalid);
    check(nothing, patch(json!(5)), Err("InvalidRequestContent"));
    check(json!({ *state: off }), patch(json!({ *state: on })), Ok((On, 14)));
    check(always.clone(), patch(json!({ *state: off })), stays);
    check(always.clone(), put(json!({ *state: on })), stays);
    check(always.clone(), patch(json!({ *days: 14 })), Ok((AlwaysOn, 14)));
    check(always.clone(), put(json!({ *days: 15 })), Ok((AlwaysOn, 15)));
    check(always, put(Value::Null), Ok((AlwaysOn, 30)));
}

fn nested(settings: &Value) -> Value {
    if settings.is_null() {
        return json!({ "properties": {} });
    }
    json!({ "properties": { "securitySettings": { "softDeleteSettings": settings } } })
}
