//! A key officer's day with `azure_security_keyvault_keys` and `azure_identity`, unmodified,
//! against a key vault whose roles decide. These crates do no cryptography themselves: the server
//! is asked for everything.

mod officer;

use std::time::Instant;

use azure_core::error::ErrorKind;
use azure_security_keyvault_keys::ResourceExt as _;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, EncryptionAlgorithm, ImportKeyParameters, JsonWebKey, Key,
    KeyAttributes, KeyClientGetKeyOptions, KeyOperation, KeyOperationParameters, KeyRotationPolicy,
    KeyRotationPolicyAction, KeyRotationPolicyAttributes, KeyType, LifetimeAction,
    LifetimeActionTrigger, LifetimeActionType, RestoreKeyParameters, SignParameters,
    SignatureAlgorithm, UpdateKeyPropertiesParameters, VerifyParameters,
};
use futures::TryStreamExt as _;

use crate::officer::Officer;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let officer = Officer::new()?;
    macro_rules! steps {
        ($($step:ident)*) => {$(
            let began = Instant::now();
            $step(&officer).await.inspect_err(|_| println!("FAILED {}", stringify!($step)))?;
            println!("ok {} ({:.1} s)", stringify!($step), began.elapsed().as_secs_f64());
        )*};
    }
    steps! {
        keys_are_made_and_read
        lists_come_in_pages_and_versions_of_a_key_too
        properties_are_changed_and_a_version_is_added
        data_is_encrypted_and_keys_are_wrapped
        digests_are_signed_and_verified
        a_key_of_ones_own_is_imported
        deleted_keys_come_back_or_go_for_good
        a_rotation_policy_is_kept
        a_disabled_key_does_nothing
        an_identity_of_this_host_does_what_its_role_allows
        whoever_has_the_wrong_secret_gets_no_token
    }
    Ok(())
}

async fn keys_are_made_and_read(officer: &Officer) -> Outcome {
    let parameters = CreateKeyParameters {
        kty: Some(KeyType::Rsa),
        key_size: Some(3072),
        tags: Some([("purpose".to_owned(), "test".to_owned())].into()),
        ..CreateKeyParameters::default()
    };
    let made = officer.create("box", parameters).await?;
    let jwk = jwk(&made);
    assert_eq!(jwk.kty, Some(KeyType::Rsa));
    assert_eq!(jwk.n.as_ref().map(Vec::len), Some(384));
    assert_eq!(jwk.e, Some(vec![1, 0, 1]));
    assert_eq!(jwk.d, None);
    let attributes = made.attributes.clone().unwrap_or_default();
    assert_eq!(attributes.enabled, Some(true));
    assert_eq!(attributes.recoverable_days, Some(7));
    assert_eq!(made.tags.as_ref().map(|tags| tags["purpose"].as_str()), Some("test"));
    let read = officer.keys.get_key("box", None).await?.into_model()?;
    assert_eq!(read.resource_id()?, made.resource_id()?);
    for (curve, size) in [
        (CurveName::P256, 32),
        (CurveName::P384, 48),
        (CurveName::P521, 66),
        (CurveName::P256K, 32),
    ] {
        let parameters = CreateKeyParameters {
            kty: Some(KeyType::Ec),
            curve: Some(curve.clone()),
            ..CreateKeyParameters::default()
        };
        let made = officer.create(&format!("ec-{curve}"), parameters).await?;
        assert_eq!(crate::jwk(&made).crv, Some(curve));
        assert_eq!(crate::jwk(&made).x.as_ref().map(Vec::len), Some(size));
    }
    let nowhere = officer.keys.get_key("nowhere", None).await;
    refused(nowhere, 404, "KeyNotFound", None, "was not found in this key vault");
    Ok(())
}

async fn lists_come_in_pages_and_versions_of_a_key_too(officer: &Officer) -> Outcome {
    let mut names = Vec::new();
    let mut listed = officer.keys.list_key_properties(None)?;
    while let Some(key) = listed.try_next().await? {
        names.push(key.resource_id()?.name);
    }
    names.sort();
    assert_eq!(names, ["box", "ec-P-256", "ec-P-256K", "ec-P-384", "ec-P-521"]);
    for _ in 0..26 {
        officer.create("many", kty(KeyType::Ec)).await?;
    }
    let mut pages = officer.keys.list_key_properties_versions("many", None)?.into_pages();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.into_model()?.value.len());
    }
    assert_eq!(sizes, [25, 1]);
    Ok(())
}

async fn properties_are_changed_and_a_version_is_added(officer: &Officer) -> Outcome {
    let first = officer.keys.get_key("box", None).await?.into_model()?;
    let parameters = UpdateKeyPropertiesParameters {
        tags: Some([("a".to_owned(), "b".to_owned())].into()),
        key_ops: Some(vec![
            KeyOperation::Encrypt,
            KeyOperation::Decrypt,
            KeyOperation::WrapKey,
            KeyOperation::UnwrapKey,
            KeyOperation::Sign,
            KeyOperation::Verify,
        ]),
        ..UpdateKeyPropertiesParameters::default()
    };
    let body = parameters.try_into()?;
    let changed = officer.keys.update_key_properties("box", body, None).await?.into_model()?;
    assert_eq!(changed.tags, Some([("a".to_owned(), "b".to_owned())].into()));
    let rotated = officer.keys.rotate_key("box", None).await?.into_model()?;
    assert_ne!(rotated.resource_id()?.version, first.resource_id()?.version);
    let newest = officer.keys.get_key("box", None).await?.into_model()?;
    assert_eq!(newest.resource_id()?, rotated.resource_id()?);
    let key_version = first.resource_id()?.version;
    let options = KeyClientGetKeyOptions { key_version, ..KeyClientGetKeyOptions::default() };
    let older = officer.keys.get_key("box", Some(options)).await?.into_model()?;
    assert_eq!(jwk(&older).n, jwk(&first).n);
    Ok(())
}

async fn data_is_encrypted_and_keys_are_wrapped(officer: &Officer) -> Outcome {
    let version = officer.version("box").await?;
    for algorithm in
        [EncryptionAlgorithm::RsaOaep, EncryptionAlgorithm::RsaOaep256, EncryptionAlgorithm::Rsa1_5]
    {
        let given = |value: Vec<u8>| KeyOperationParameters {
            algorithm: Some(algorithm.clone()),
            value: Some(value),
            ..KeyOperationParameters::default()
        };
        let text = b"the only copy".to_vec();
        let keys = &officer.keys;
        let sealed = keys.encrypt("box", given(text.clone()).try_into()?, None).await?;
        let sealed = sealed.into_model()?.result.unwrap_or_default();
        let opened = keys.decrypt("box", &version, given(sealed).try_into()?, None).await?;
        assert_eq!(opened.into_model()?.result, Some(text.clone()));
        let wrapped = keys.wrap_key("box", given(text.clone()).try_into()?, None).await?;
        let wrapped = wrapped.into_model()?;
        assert_eq!(wrapped.resource_id()?.version.as_deref(), Some(version.as_str()));
        let wrapped = given(wrapped.result.unwrap_or_default());
        let opened = keys.unwrap_key("box", &version, wrapped.try_into()?, None).await?;
        assert_eq!(opened.into_model()?.result, Some(text));
    }
    let nonsense = KeyOperationParameters {
        algorithm: Some(EncryptionAlgorithm::RsaOaep256),
        value: Some(vec![0; 384]),
        ..KeyOperationParameters::default()
    };
    let answer = officer.keys.unwrap_key("box", &version, nonsense.try_into()?, None).await;
    refused(answer, 400, "BadParameter", None, "");
    Ok(())
}

async fn digests_are_signed_and_verified(officer: &Officer) -> Outcome {
    for (name, algorithm, size) in [
        ("box", SignatureAlgorithm::Rs256, 32),
        ("box", SignatureAlgorithm::Ps512, 64),
        ("ec-P-256", SignatureAlgorithm::Es256, 32),
        ("ec-P-384", SignatureAlgorithm::Es384, 48),
        ("ec-P-521", SignatureAlgorithm::Es512, 64),
        ("ec-P-256K", SignatureAlgorithm::Es256K, 32),
    ] {
        let algorithm = Some(algorithm);
        let sign = SignParameters { algorithm: algorithm.clone(), value: Some(vec![7; size]) };
        let signed = officer.keys.sign(name, sign.try_into()?, None).await?.into_model()?;
        let version = officer.version(name).await?;
        for (byte, valid) in [(7, true), (8, false)] {
            let verify = VerifyParameters {
                algorithm: algorithm.clone(),
                digest: Some(vec![byte; size]),
                signature: signed.result.clone(),
            };
            let answer = officer.keys.verify(name, &version, verify.try_into()?, None).await?;
            assert_eq!(answer.into_model()?.value, Some(valid), "{name} {algorithm:?}");
        }
    }
    Ok(())
}

async fn a_key_of_ones_own_is_imported(officer: &Officer) -> Outcome {
    // The generator of P-256 is the public half of the private key 1.
    let point = |text: &str| -> Option<Vec<u8>> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
            .collect()
    };
    let mut one = vec![0; 32];
    one[31] = 1;
    let key = JsonWebKey {
        kty: Some(KeyType::Ec),
        crv: Some(CurveName::P256),
        x: point("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        y: point("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        d: Some(one),
        ..JsonWebKey::default()
    };
    let parameters =
        ImportKeyParameters { key: Some(key.clone()), ..ImportKeyParameters::default() };
    let made = officer.keys.import_key("mine", parameters.try_into()?, None).await?.into_model()?;
    assert_eq!((&jwk(&made).x, &jwk(&made).d), (&key.x, &None));
    Ok(())
}

async fn deleted_keys_come_back_or_go_for_good(officer: &Officer) -> Outcome {
    let keys = &officer.keys;
    let made = officer.create("doomed", kty(KeyType::Rsa)).await?;
    let key_backup = keys.backup_key("doomed", None).await?.into_model()?.value;
    let saved = RestoreKeyParameters { key_backup };
    let answer = keys.restore_key(saved.clone().try_into()?, None).await;
    refused(answer, 409, "Conflict", Some("KeyAlreadyExists"), "");
    let deleted = keys.delete_key("doomed", None).await?.into_model()?;
    let recovery_id = format!("{}deletedkeys/doomed", keys.endpoint());
    assert_eq!(deleted.recovery_id, Some(recovery_id));
    assert!(deleted.deleted_date < deleted.scheduled_purge_date);
    let answer = officer.create("doomed", kty(KeyType::Rsa)).await;
    refused(answer, 409, "Conflict", Some("ObjectIsDeletedButRecoverable"), "cannot be reused");
    let listed: Vec<_> = keys.list_deleted_key_properties(None)?.try_collect().await?;
    assert_eq!(listed.len(), 1);
    let found = keys.get_deleted_key("doomed", None).await?.into_model()?;
    assert_eq!(found.resource_id()?, made.resource_id()?);
    let back = keys.recover_deleted_key("doomed", None).await?.into_model()?;
    assert_eq!(back.resource_id()?, made.resource_id()?);
    keys.delete_key("doomed", None).await?;
    keys.purge_deleted_key("doomed", None).await?;
    refused(keys.get_deleted_key("doomed", None).await, 404, "KeyNotFound", None, "");
    let restored = keys.restore_key(saved.try_into()?, None).await?.into_model()?;
    assert_eq!(restored.resource_id()?, made.resource_id()?);
    assert_eq!(jwk(&restored).n, jwk(&made).n);
    Ok(())
}

async fn a_rotation_policy_is_kept(officer: &Officer) -> Outcome {
    let keys = &officer.keys;
    let by_default = keys.get_key_rotation_policy("box", None).await?.into_model()?;
    assert_eq!(by_default.lifetime_actions.unwrap_or_default().len(), 1);
    let policy = KeyRotationPolicy {
        attributes: Some(KeyRotationPolicyAttributes {
            expiry_time: Some("P2Y".to_owned()),
            ..KeyRotationPolicyAttributes::default()
        }),
        lifetime_actions: Some(vec![LifetimeAction {
            action: Some(LifetimeActionType { type_prop: Some(KeyRotationPolicyAction::Rotate) }),
            trigger: Some(LifetimeActionTrigger {
                time_after_create: Some("P90D".to_owned()),
                ..LifetimeActionTrigger::default()
            }),
        }]),
        ..KeyRotationPolicy::default()
    };
    keys.update_key_rotation_policy("box", policy.try_into()?, None).await?;
    let kept = keys.get_key_rotation_policy("box", None).await?.into_model()?;
    assert_eq!(kept.id, Some(format!("{}keys/box/rotationpolicy", keys.endpoint())));
    let attributes = kept.attributes.unwrap_or_default();
    assert_eq!(attributes.expiry_time.as_deref(), Some("P2Y"));
    let actions = kept.lifetime_actions.unwrap_or_default();
    assert!(actions.iter().any(|each| {
        let trigger =
            each.trigger.as_ref().and_then(|trigger| trigger.time_after_create.as_deref());
        trigger == Some("P90D")
    }));
    Ok(())
}

async fn a_disabled_key_does_nothing(officer: &Officer) -> Outcome {
    officer.create("off", kty(KeyType::Rsa)).await?;
    let attributes = KeyAttributes { enabled: Some(false), ..KeyAttributes::default() };
    let parameters = UpdateKeyPropertiesParameters {
        key_attributes: Some(attributes),
        ..UpdateKeyPropertiesParameters::default()
    };
    officer.keys.update_key_properties("off", parameters.try_into()?, None).await?;
    let sign =
        SignParameters { algorithm: Some(SignatureAlgorithm::Rs256), value: Some(vec![0; 32]) };
    let answer = officer.keys.sign("off", sign.try_into()?, None).await;
    let says = "Operation sign is not allowed on a disabled key.";
    refused(answer, 403, "Forbidden", Some("KeyDisabled"), says);
    Ok(())
}

async fn an_identity_of_this_host_does_what_its_role_allows(officer: &Officer) -> Outcome {
    let reader = officer.identity_of_this_host()?;
    let read = reader.keys.get_key("box", None).await?.into_model()?;
    assert_eq!(read.resource_id()?.name, "box");
    let answer = reader.create("own", kty(KeyType::Rsa)).await;
    let says = "Action: 'Microsoft.KeyVault/vaults/keys/create/action'";
    refused(answer, 403, "Forbidden", Some("ForbiddenByRbac"), says);
    Ok(())
}

async fn whoever_has_the_wrong_secret_gets_no_token(officer: &Officer) -> Outcome {
    let stranger = officer.with_secret("wrong")?;
    let refusal = stranger.keys.get_key("box", None).await.err().ok_or("a key was given out")?;
    assert!(matches!(refusal.kind(), ErrorKind::Credential), "{refusal:?}");
    assert!(format!("{refusal:?}").contains("AADSTS7000215"), "{refusal:?}");
    Ok(())
}

fn kty(kty: KeyType) -> CreateKeyParameters {
    CreateKeyParameters { kty: Some(kty), ..CreateKeyParameters::default() }
}

fn jwk(key: &Key) -> JsonWebKey {
    key.key.clone().unwrap_or_default()
}

/// Checks that the server refused with this status, code, inner code and text.
fn refused<T>(
    answer: azure_core::Result<T>,
    status: u16,
    code: &str,
    inner: Option<&str>,
    says: &str,
) {
    let Err(refusal) = answer else { panic!("{code} expected") };
    let ErrorKind::HttpResponse { status: found, error_code, raw_response } = refusal.kind() else {
        panic!("{refusal:?}")
    };
    assert_eq!((u16::from(*found), error_code.as_deref()), (status, Some(code)), "{refusal:?}");
    let body = raw_response.as_ref().map(|raw| raw.body().as_ref()).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |path: &str| body.pointer(path).and_then(serde_json::Value::as_str);
    assert_eq!(text("/error/innererror/code"), inner, "{body}");
    assert!(text("/error/message").unwrap_or_default().contains(says), "{body}");
}
