//! Life of a key: made, read, changed, rotated, deleted, recovered, purged; and what its attributes
//! allow meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use custody_envelope::{KekFault, SecretBytes};
use custody_key_vault::{
    AttributeChange, Change, EncryptionAlgorithm, KeyAnswer, KeyItem, KeyOperation, KeyShape,
    KeyUse, NewKey, Page, PublicKey, RsaSize, Standing, VaultOperation,
};

use crate::bench::{Bench, code, key_name, officer, one_key, vault};

const DAY: Duration = Duration::from_hours(24);

fn listed(bench: &Bench, operation: &KeyOperation<'_>) -> Vec<KeyItem> {
    match bench.ask(operation).map_err(|error| error.to_string()).unwrap() {
        KeyAnswer::Keys { keys, .. } | KeyAnswer::Versions { keys, .. } => keys,
        _ => panic!("not keys"),
    }
}

#[test]
fn sizes_make_keys_that_wrap_and_unwrap() {
    let bench = Bench::new();
    let check = |size: RsaSize, algorithm: EncryptionAlgorithm| {
        let name = &key_name(&format!("k{}", size.bits()));
        let key = NewKey::of_size(size);
        let key = one_key(bench.ask(&KeyOperation::Create { name, key: &key }));
        assert_eq!(key.shape, KeyShape::Rsa(size));
        let PublicKey::Rsa { modulus, exponent } = &key.public_key else { panic!("not RSA") };
        assert_eq!(u32::try_from(modulus.len() * 8), Ok(size.bits()));
        assert!(modulus[0] >= 0x80);
        assert_eq!(exponent, &[1, 0, 1]);
        let plain = &SecretBytes::new(vec![7; 72]);
        let wrap = KeyOperation::Wrap { name, version: None, algorithm, plain };
        let Ok(KeyAnswer::Wrapped { key: by, wrapped }) = bench.ask(&wrap) else {
            panic!("no wrap")
        };
        assert_eq!(by, key.id);
        let version = Some(&by.version);
        let unwrap = KeyOperation::Unwrap { name, version, algorithm, wrapped: &wrapped };
        let Ok(KeyAnswer::Unwrapped { plain: got, .. }) = bench.ask(&unwrap) else {
            panic!("no unwrap")
        };
        assert_eq!(got.expose(), plain.expose());
    };
    check(RsaSize::Bits2048, EncryptionAlgorithm::RsaOaep256);
    check(RsaSize::Bits2048, EncryptionAlgorithm::RsaOaep);
    check(RsaSize::Bits3072, EncryptionAlgorithm::RsaOaep256);
    check(RsaSize::Bits4096, EncryptionAlgorithm::RsaOaep256);
    for bits in [0, 1024, 2047, 8192] {
        let error = RsaSize::try_from(bits).unwrap_err();
        assert_eq!(error.answer().code, "BadParameter");
        assert!(error.to_string().contains("2048, 3072 or 4096"));
    }
}

#[test]
fn attributes_decide_what_a_key_does() {
    let mut bench = Bench::new();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let start = bench.now;
    let check = |change: AttributeChange, expected: [&str; 2], standing: Standing| {
        let reset = AttributeChange {
            enabled: Some(true),
            not_before: Change::Clear,
            expires: Change::Clear,
            operations: Some(KeyUse::EACH.into()),
            ..AttributeChange::nothing()
        };
        bench.update("k", &reset);
        let key = bench.update("k", &change);
        assert_eq!(key.attributes.standing(bench.now), standing);
        let got = [code(bench.wrap("k")), code(bench.unwrap("k", None, &wrapped))];
        assert_eq!(got, expected, "{change:?}");
    };
    let nothing = AttributeChange::nothing;
    let (before, after) = (start - DAY, start + DAY);
    check(nothing(), ["OK", "OK"], Standing::Active);
    check(
        AttributeChange { enabled: Some(false), ..nothing() },
        ["KeyDisabled", "KeyDisabled"],
        Standing::Disabled,
    );
    check(
        AttributeChange { not_before: Change::Set(after), ..nothing() },
        ["KeyNotYetValid", "OK"],
        Standing::NotYetValid,
    );
    check(
        AttributeChange { not_before: Change::Set(start), ..nothing() },
        ["OK", "OK"],
        Standing::Active,
    );
    check(
        AttributeChange { expires: Change::Set(before), ..nothing() },
        ["KeyExpired", "OK"],
        Standing::Expired,
    );
    check(
        AttributeChange { expires: Change::Set(start), ..nothing() },
        ["KeyExpired", "OK"],
        Standing::Expired,
    );
    check(
        AttributeChange { enabled: Some(false), expires: Change::Set(before), ..nothing() },
        ["KeyDisabled", "KeyDisabled"],
        Standing::Disabled,
    );
    check(
        AttributeChange { operations: Some([KeyUse::UnwrapKey].into()), ..nothing() },
        ["KeyOperationForbidden", "OK"],
        Standing::Active,
    );
    check(
        AttributeChange { operations: Some(BTreeSet::new()), ..nothing() },
        ["KeyOperationForbidden", "KeyOperationForbidden"],
        Standing::Active,
    );
    bench.now = after;
    assert_eq!(bench.update("k", &nothing()).attributes.updated, after);
}

#[test]
fn bad_requests_are_refused() {
    let bench = Bench::new();
    bench.create("k");
    let check = |change: AttributeChange| {
        let name = &key_name("k");
        let operation = KeyOperation::Update { name, version: None, change: &change };
        assert_eq!(code(bench.ask(&operation)), "BadParameter", "{change:?}");
    };
    let nothing = AttributeChange::nothing;
    let tags = |count: usize, length: usize| -> Option<BTreeMap<String, String>> {
        Some((0..count).map(|n| (format!("t{n}"), "x".repeat(length))).collect())
    };
    check(AttributeChange {
        not_before: Change::Set(bench.now),
        expires: Change::Set(bench.now),
        ..nothing()
    });
    check(AttributeChange { tags: tags(16, 1), ..nothing() });
    check(AttributeChange { tags: tags(1, 257), ..nothing() });
    let tagged = bench.update("k", &AttributeChange { tags: tags(15, 256), ..nothing() });
    assert_eq!(tagged.tags.len(), 15);

    let name = &key_name("k");
    for length in [0, 191] {
        let plain = &SecretBytes::new(vec![1; length]);
        let algorithm = EncryptionAlgorithm::RsaOaep256;
        let wrap = KeyOperation::Wrap { name, version: None, algorithm, plain };
        assert_eq!(code(bench.ask(&wrap)), "BadParameter", "{length}");
    }
    for wrapped in [&[][..], &[0; 256], &[1; 17]] {
        let error = bench.unwrap("k", None, wrapped).unwrap_err();
        assert_eq!((error.code(), error.fault()), ("WrapMismatch", KekFault::Mismatch));
        assert_eq!(error.answer().status, 400);
    }
    let unknown = "0".repeat(32).parse().unwrap();
    assert_eq!(code(bench.unwrap("k", Some(&unknown), &[])), "KeyNotFound");
    assert_eq!(code(bench.unwrap("absent", None, &[])), "KeyNotFound");
}

#[test]
fn rotation_adds_a_version_and_keeps_the_old_one() {
    let bench = Bench::new();
    let first = bench.create("k");
    let tags = BTreeMap::from([("owner".to_owned(), "kim".to_owned())]);
    bench.update("k", &AttributeChange { tags: Some(tags.clone()), ..AttributeChange::nothing() });
    let wrapped = bench.wrap("k").unwrap();
    let changes = bench.vaults.store().changes().unwrap();
    let second = one_key(bench.ask(&KeyOperation::Rotate { name: &key_name("K") }));
    assert!(bench.vaults.store().changes().unwrap() > changes);
    assert_ne!(first.id.version, second.id.version);
    assert_eq!((second.id.key.as_str(), second.shape, &second.tags), ("k", first.shape, &tags));

    bench.unwrap("k", Some(&first.id.version), &wrapped).unwrap();
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "WrapMismatch");
    let name = &key_name("k");
    let versions = listed(&bench, &KeyOperation::ListVersions { name, page: Page::WHOLE });
    let ids: Vec<_> = versions.iter().map(|key| key.id.clone()).collect();
    assert_eq!(ids, [second.id.clone(), first.id.clone()]);
    let newest = listed(&bench, &KeyOperation::List { page: Page::WHOLE });
    assert_eq!(newest.iter().map(|key| &key.id).collect::<Vec<_>>(), [&second.id]);

    // Disabling the old version leaves the new one alone.
    let version = Some(&first.id.version);
    let change = &AttributeChange { enabled: Some(false), ..AttributeChange::nothing() };
    one_key(bench.ask(&KeyOperation::Update { name, version, change }));
    assert_eq!(code(bench.unwrap("k", version, &wrapped)), "KeyDisabled");
    bench.wrap("k").unwrap();
    assert_eq!(one_key(bench.ask(&KeyOperation::Get { name, version })).id, first.id);
    assert_eq!(one_key(bench.ask(&KeyOperation::Get { name, version: None })).id, second.id);
}

#[test]
fn deleted_keys_come_back_or_go_for_good() {
    let mut bench = Bench::new();
    bench.vault.soft_delete_days = 7;
    let key = bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let name = &key_name("k");
    assert_eq!(code(bench.ask(&KeyOperation::GetDeleted { name })), "KeyNotFound");
    assert_eq!(code(bench.ask(&KeyOperation::Recover { name })), "KeyNotFound");
    assert_eq!(code(bench.purge("k")), "KeyNotFound"); // only what is deleted can be purged
    bench.delete("k");
    assert_eq!(code(bench.ask(&KeyOperation::Get { name, version: None })), "KeyNotFound");
    assert_eq!(code(bench.ask(&KeyOperation::Delete { name })), "KeyNotFound");
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "KeyNotFound");
    assert_eq!(code(bench.ask(&KeyOperation::Rotate { name })), "KeyNotFound");
    let again = NewKey::of_size(RsaSize::Bits2048);
    let error = bench.ask(&KeyOperation::Create { name, key: &again }).map(drop).unwrap_err();
    assert_eq!((error.answer().status, error.code()), (409, "ObjectIsDeletedButRecoverable"));
    assert_eq!(listed(&bench, &KeyOperation::List { page: Page::WHOLE }), []);
    let Ok(KeyAnswer::DeletedKeys { keys: deleted, .. }) =
        bench.ask(&KeyOperation::ListDeleted { page: Page::WHOLE })
    else {
        panic!("no list")
    };
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].item.id, key.id);
    assert_eq!(deleted[0].deleted, bench.now);
    assert_eq!(deleted[0].scheduled_purge, bench.now + 7 * DAY);

    assert_eq!(one_key(bench.ask(&KeyOperation::Recover { name })).id, key.id);
    bench.unwrap("k", None, &wrapped).unwrap();

    bench.delete("k");
    let Ok(answer) = bench.purge("k") else { panic!("no purge") };
    assert_eq!(answer.status(), 204);
    assert_eq!(code(bench.ask(&KeyOperation::GetDeleted { name })), "KeyNotFound");
    bench.create("k"); // the name is free again
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "WrapMismatch");
}

#[test]
fn purge_protection_holds_until_the_time_has_come() {
    let mut bench = Bench::new();
    bench.vault.purge_protection = true;
    bench.create("k");
    bench.delete("k");
    let error = bench.purge("k").map(drop).unwrap_err();
    assert_eq!(error.to_string(), "Operation \"purge\" is not enabled for this vault.");
    assert_eq!((error.answer().status, error.code()), (403, "PurgeProtected"));
    let expired = |bench: &Bench| bench.vaults.purge_expired(&officer(), &bench.context()).unwrap();
    let changes = bench.vaults.store().changes().unwrap();
    assert_eq!(expired(&bench), []);
    assert_eq!(bench.vaults.store().changes().unwrap(), changes);
    let second = Duration::from_secs(1);
    bench.now = bench.now + 90 * DAY - second;
    assert_eq!(expired(&bench), []);
    bench.now += second;
    let purged = expired(&bench);
    assert_eq!(purged.len(), 1);
    assert_eq!(purged[0].key.key, key_name("k"));
    assert_eq!(purged[0].vault, bench.vault.resource);
    assert_eq!(bench.records.last().operation_name, "KeyPurge");
    assert_eq!(expired(&bench), []);
    let name = &key_name("k");
    assert_eq!(code(bench.ask(&KeyOperation::GetDeleted { name })), "KeyNotFound");
}

#[test]
fn recovery_levels() {
    let check = |days: u32, protected: bool, expected: &str| {
        let mut vault = vault("kv1");
        (vault.soft_delete_days, vault.purge_protection) = (days, protected);
        assert_eq!(vault.recovery_level(), expected);
    };
    check(90, false, "Recoverable+Purgeable");
    check(90, true, "Recoverable");
    check(7, false, "CustomizedRecoverable+Purgeable");
    check(89, true, "CustomizedRecoverable");
}

#[test]
fn whole_key_vaults_are_deleted_recovered_and_purged() {
    let mut bench = Bench::new();
    bench.create("k");
    bench.create("gone");
    bench.delete("gone");
    let wrapped = bench.wrap("k").unwrap();
    let perform = |bench: &Bench, operation| {
        bench.vaults.perform_on_vault(&officer(), &bench.vault, operation, &bench.context())
    };
    let changes = bench.vaults.store().changes().unwrap();
    perform(&bench, VaultOperation::Delete).unwrap();
    assert!(bench.vaults.store().changes().unwrap() > changes);
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "VaultNotFound");
    assert_eq!(code(bench.ask(&KeyOperation::List { page: Page::WHOLE })), "VaultNotFound");
    perform(&bench, VaultOperation::Recover).unwrap();
    bench.unwrap("k", None, &wrapped).unwrap();
    let name = &key_name("gone");
    assert_eq!(code(bench.ask(&KeyOperation::GetDeleted { name })), "OK"); // as it was
    perform(&bench, VaultOperation::Delete).unwrap();
    bench.vault.purge_protection = true;
    assert_eq!(code(perform(&bench, VaultOperation::Purge)), "PurgeProtected");
    bench.vault.purge_protection = false;
    perform(&bench, VaultOperation::Purge).unwrap();
    assert_eq!(bench.records.last().operation_name, "VaultPurge");
    // A key vault made under the same name has none of the old keys.
    assert_eq!(listed(&bench, &KeyOperation::List { page: Page::WHOLE }), []);
    assert_eq!(code(bench.unwrap("k", None, &wrapped)), "KeyNotFound");
}

#[test]
fn another_tenant_or_key_vault_does_not_reach_the_keys() {
    let mut bench = Bench::new();
    bench.create("k");
    bench.vault.tenant = custody_names::TenantId::from_bytes([9; 16]);
    let name = &key_name("k");
    assert_eq!(code(bench.ask(&KeyOperation::Get { name, version: None })), "VaultNotFound");
    bench.vault = vault("kv2");
    assert_eq!(code(bench.ask(&KeyOperation::Get { name, version: None })), "KeyNotFound");
}
