//! Every request leaves one record before it is answered; none holds a secret.

use std::sync::Arc;
use std::time::Duration;

use custody_access::{AccessPolicy, KeyPermission, PermissionModel, Principal, PrincipalKind};
use custody_ambient::Clock;
use custody_envelope::{KekFault, SecretBytes};
use custody_key_vault::{
    AttributeChange, AuditSink, KeyAnswer, KeyOperation, KeyVaultError, KeyVaultRef, KeyVaults,
    NewKey, Page, RequestContext, RsaSize, VaultOperation,
};
use custody_names::{ClientId, CorrelationId, PrincipalId};
use custody_resources::Hosts;

use crate::bench::{Bench, OAEP, OFFICER, TENANT, code, key_name, officer};

#[test]
fn each_operation_is_recorded_with_who_what_and_how_it_ended() {
    let bench = Bench::new();
    let name = &key_name("k");
    let key = &NewKey::of_size(RsaSize::Bits2048);
    let plain = &SecretBytes::new(vec![1; 32]);
    let change = &AttributeChange::nothing();
    let check = |operation: &KeyOperation<'_>, expected: (&str, &str, u16)| {
        let before = bench.records.count();
        let _ = bench.ask(operation);
        assert_eq!(bench.records.count(), before + 1, "{expected:?}");
        let record = bench.records.last();
        let got =
            (record.operation_name, record.result_signature, record.properties.http_status_code);
        assert_eq!(got, expected);
        assert_eq!(record.result_description.is_none(), record.result_type == "Success");
        assert_eq!(record.identity.claim.object_id, OFFICER);
        assert_eq!(record.identity.os_user.as_deref(), Some("kim"));
        assert_eq!(record.time, bench.now);
        record
    };
    let created = check(&KeyOperation::Create { name, key }, ("KeyCreate", "OK", 200));
    assert!(created.properties.id.starts_with("https://kv1.vault.custody.localhost/keys/k/"));
    assert!(created.resource_id.ends_with("/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/KV1"));
    assert!(created.properties.granted_by.unwrap().ends_with("roleAssignments/r"));
    check(&KeyOperation::Get { name, version: None }, ("KeyGet", "OK", 200));
    let list = check(&KeyOperation::List { page: Page::WHOLE }, ("KeyList", "OK", 200));
    assert_eq!(list.properties.request_uri, "https://kv1.vault.custody.localhost/keys");
    check(&KeyOperation::ListVersions { name, page: Page::WHOLE }, ("KeyListVersions", "OK", 200));
    check(&KeyOperation::Rotate { name }, ("KeyRotate", "OK", 200));
    check(&KeyOperation::Update { name, version: None, change }, ("KeyUpdate", "OK", 200));
    let wrap = KeyOperation::Wrap { name, version: None, algorithm: OAEP, plain };
    let wrapped = check(&wrap, ("KeyWrap", "OK", 200));
    assert_eq!(wrapped.properties.algorithm, Some("RSA-OAEP-256"));
    assert_eq!(wrapped.properties.id.len(), created.properties.id.len()); // the version is named
    let unwrap = KeyOperation::Unwrap { name, version: None, algorithm: OAEP, wrapped: &[0; 256] };
    let refused = check(&unwrap, ("KeyUnwrap", "WrapMismatch", 400));
    assert!(refused.properties.request_uri.ends_with("/keys/k/unwrapkey"));
    check(&KeyOperation::Delete { name }, ("KeyDelete", "OK", 200));
    check(&KeyOperation::GetDeleted { name }, ("KeyGetDeleted", "OK", 200));
    check(&KeyOperation::ListDeleted { page: Page::WHOLE }, ("KeyListDeleted", "OK", 200));
    check(&KeyOperation::Rotate { name }, ("KeyRotate", "KeyNotFound", 404));
    check(&KeyOperation::Recover { name }, ("KeyRecover", "OK", 200));
    check(&KeyOperation::Delete { name }, ("KeyDelete", "OK", 200));
    check(&KeyOperation::Purge { name }, ("KeyPurge", "OK", 204));
    check(&KeyOperation::Purge { name }, ("KeyPurge", "KeyNotFound", 404));
}

#[test]
fn the_record_has_the_form_of_azures_log() {
    let bench = Bench::new();
    bench.create("k");
    let json = serde_json::to_value(bench.records.last()).unwrap();
    let oid = "http://schemas.microsoft.com/identity/claims/objectidentifier";
    assert_eq!(json["category"], "AuditEvent");
    assert_eq!(json["time"], "2026-11-22T06:00:00Z");
    assert_eq!(json["operationName"], "KeyCreate");
    assert_eq!(json["resultType"], "Success");
    assert_eq!(json["identity"]["claim"][oid], OFFICER.to_string());
    assert_eq!(json["identity"]["osUser"], "kim");
    assert_eq!(json["properties"]["httpStatusCode"], 200);
    assert!(json["correlationId"].is_string());
    assert!(json.get("callerIpAddress").is_none());
}

#[test]
fn the_record_tells_by_what_interface_where_and_how_long() {
    let bench = Bench::new();
    bench.create("k");
    let clock = Arc::new(bench.clock());
    let sink = Arc::clone(&bench.records) as Arc<dyn AuditSink>;
    let store = Arc::clone(bench.vaults.store());
    let vaults = KeyVaults::new(store, sink, Arc::clone(&clock) as Arc<dyn Clock>);
    let hosts = Hosts {
        key_vaults: "vault.example:8443".to_owned(),
        managed_hsms: "managedhsm.example:8443".to_owned(),
    };
    let context = RequestContext {
        api_version: Some("7.6".to_owned()),
        hosts,
        ..RequestContext::begun(clock.as_ref(), CorrelationId::from_bytes([5; 16]))
    };
    clock.advance(Duration::from_millis(78));
    let (name, absent) = (&key_name("k"), &key_name("absent"));
    let ask = |vault: &KeyVaultRef, operation: &KeyOperation<'_>| {
        let _ = vaults.perform(&officer(), vault, &bench.grants, operation, &context);
        serde_json::to_value(bench.records.last()).unwrap()
    };
    let record = ask(&bench.vault, &KeyOperation::Get { name, version: None });
    assert_eq!(record["operationVersion"], "7.6");
    assert_eq!(record["durationMs"], "78");
    let told = &record["properties"];
    assert_eq!(told["requestUri"], "https://kv1.vault.example:8443/keys/k?api-version=7.6");
    let id = told["id"].as_str().unwrap();
    assert!(id.starts_with("https://kv1.vault.custody.localhost/keys/k/"), "{id}");

    let hsm = KeyVaultRef { managed_hsm: true, ..bench.vault.clone() };
    let record = ask(&hsm, &KeyOperation::Get { name: absent, version: None });
    let told = &record["properties"];
    assert_eq!(
        told["requestUri"],
        "https://kv1.managedhsm.example:8443/keys/absent?api-version=7.6"
    );
    assert_eq!(told["id"], "https://kv1.managedhsm.custody.localhost/keys/absent");
    let create = bench.ask(&KeyOperation::Get { name, version: None });
    assert_eq!(code(create), "OK");
    let own = serde_json::to_value(bench.records.last()).unwrap();
    assert_eq!(own.get("operationVersion"), None, "no interface was spoken");
    assert_eq!(own["properties"]["requestUri"], "https://kv1.vault.custody.localhost/keys/k");
}

#[test]
fn without_a_grant_nothing_happens_and_the_refusal_is_on_record() {
    let mut bench = Bench::new();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let identity = Principal {
        id: PrincipalId::from_bytes([20; 16]),
        tenant: TENANT,
        kind: PrincipalKind::ManagedIdentity { client: ClientId::from_bytes([21; 16]) },
    };
    let unwrap = |bench: &Bench| {
        let name = &key_name("k");
        let operation =
            KeyOperation::Unwrap { name, version: None, algorithm: OAEP, wrapped: &wrapped };
        let context = bench.context();
        bench.vaults.perform(&identity, &bench.vault, &bench.grants, &operation, &context)
    };
    let error = unwrap(&bench).map(drop).unwrap_err();
    assert_eq!((error.answer().status, error.code()), (403, "ForbiddenByRbac"));
    assert_eq!(error.fault(), KekFault::Refused);
    let text = error.to_string();
    assert!(text.contains("Action: 'Microsoft.KeyVault/vaults/keys/unwrap/action'"), "{text}");
    assert!(text.contains("/vaults/kv1/keys/k'"), "{text}");
    let record = bench.records.last();
    assert_eq!(record.operation_name, "KeyUnwrap");
    assert_eq!(record.identity.claim.appid, Some(ClientId::from_bytes([21; 16])));
    assert_eq!(record.properties.granted_by, None);

    // Get, WrapKey and UnwrapKey are what a vault's identity needs; List is not (rule 43).
    let keys = [KeyPermission::Get, KeyPermission::WrapKey, KeyPermission::UnwrapKey].into();
    let policy = AccessPolicy { tenant: TENANT, principal: identity.id, keys };
    bench.grants.permission_model = PermissionModel::AccessPolicies(vec![policy]);
    let Ok(KeyAnswer::Unwrapped { plain, .. }) = unwrap(&bench) else { panic!("refused") };
    assert_eq!(plain.expose(), b"a data key");
    assert_eq!(bench.records.last().properties.granted_by.as_deref(), Some("access policy"));
    // The officer's role is ignored now (rule 47).
    let error = bench.unwrap("k", None, &wrapped).unwrap_err();
    assert_eq!(error.code(), "AccessDenied");
    assert!(error.to_string().contains("does not have keys unwrapKey permission on key vault"));
}

#[test]
fn without_a_record_nothing_is_changed_and_nothing_answered() {
    let bench = Bench::new();
    bench.create("k");
    bench.create("gone");
    bench.delete("gone");
    let wrapped = bench.wrap("k").unwrap();
    let seal = std::fs::read(bench.seal_path()).unwrap();
    let changes = bench.vaults.store().changes().unwrap();
    let (name, gone) = (&key_name("k"), &key_name("gone"));
    let key = &NewKey::of_size(RsaSize::Bits2048);
    let disable = &AttributeChange { enabled: Some(false), ..AttributeChange::nothing() };
    let plain = &SecretBytes::new(vec![1; 32]);
    bench.records.refuse(true);
    let check = |operation: &KeyOperation<'_>| {
        let error = bench.ask(operation).map(drop).unwrap_err();
        assert_eq!((error.code(), error.fault()), ("AuditUnavailable", KekFault::Unreachable));
    };
    check(&KeyOperation::Create { name: &key_name("new"), key });
    check(&KeyOperation::Get { name, version: None });
    check(&KeyOperation::Rotate { name });
    check(&KeyOperation::Update { name, version: None, change: disable });
    check(&KeyOperation::Wrap { name, version: None, algorithm: OAEP, plain });
    check(&KeyOperation::Unwrap { name, version: None, algorithm: OAEP, wrapped: &wrapped });
    check(&KeyOperation::Delete { name });
    check(&KeyOperation::Recover { name: gone });
    check(&KeyOperation::Get { name: &key_name("absent"), version: None });
    let (vault, context) = (&bench.vault, &bench.context());
    let delete = bench.vaults.perform_on_vault(&officer(), vault, VaultOperation::Delete, context);
    assert_eq!(code(delete), "AuditUnavailable");
    bench.records.refuse(false);

    assert_eq!(bench.vaults.store().changes().unwrap(), changes);
    assert_eq!(std::fs::read(bench.seal_path()).unwrap(), seal);
    bench.unwrap("k", None, &wrapped).unwrap(); // still the newest version, and enabled
    let new = KeyOperation::Get { name: &key_name("new"), version: None };
    assert_eq!(code(bench.ask(&new)), "KeyNotFound");
    assert_eq!(code(bench.ask(&KeyOperation::GetDeleted { name: gone })), "OK");
}

#[test]
fn a_purge_without_a_record_leaves_the_key() {
    let bench = Bench::new();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    bench.delete("k");
    bench.records.refuse(true);
    assert_eq!(code(bench.purge("k")), "AuditUnavailable");
    bench.records.refuse(false);
    let other = bench.beside(2).unwrap(); // finishes what was begun in the seal
    let name = &key_name("k");
    assert_eq!(code(bench.ask_of(&other, &KeyOperation::Recover { name })), "OK");
    bench.unwrap("k", None, &wrapped).unwrap();
}

#[test]
fn no_secret_is_in_a_record_an_error_or_the_file() {
    let bench = Bench::new();
    bench.create("k");
    bench.create("other");
    let wrapped = bench.wrap("k").unwrap();
    bench.unwrap("k", None, &wrapped).unwrap();
    let secret = bench.vaults.store().server_secret("ledger").unwrap();
    bench.delete("other");
    bench.purge("other").map(drop).unwrap();
    let error: KeyVaultError = bench.unwrap("k", None, &[0; 256]).unwrap_err();
    let records = serde_json::to_string(&*bench.records.taken.lock().unwrap()).unwrap();
    let said = format!("{records}{error}{error:?}");
    assert!(!said.contains("a data key"));

    let roots = crate::bench::file_seal(&bench.folder).unseal().unwrap();
    // The object identifier of RSA keys follows at once on the version in PKCS#8, and nowhere else.
    let pkcs8 = [0x02, 0x01, 0x00, 0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D];
    let data_folder = bench.path().parent().unwrap().to_owned();
    let mut files = 0;
    for entry in std::fs::read_dir(data_folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(&pkcs8) && !holds(b"a data key") && !holds(secret.expose()));
        assert!(roots.iter().all(|root| !holds(root.secret().expose())));
        files += usize::from(!bytes.is_empty());
    }
    assert!(files > 0);
}
