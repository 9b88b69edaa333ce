//! Key Vault's data plane: keys, versions, deleted keys, wrap and unwrap. Its error shape is its
//! own (`error.innererror`), its binary values are base64url, its times whole seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custody_ambient::Timestamp;
use custody_envelope::{SecretBytes, WrapAlgorithm};
use custody_key_vault::{
    AttributeChange, Change, DeletedKey, Key, KeyAnswer, KeyOperation, KeyUse, KeyVaultError,
    KeyVaultRef, NewKey, RsaSize,
};
use custody_names::{KeyName, KeyVaultName, KeyVersion};
use custody_resources::Refusal;
use custody_worker::{Cause, Platform, principal_of};
use data_encoding::BASE64URL_NOPAD;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::reply::{self, Body};
use crate::server::Call;

/// Answers one request to the key vault `vault`.
pub(crate) fn answer(platform: &Arc<Platform>, vault: &str, call: &Call<'_>) -> Response<Body> {
    match try_answer(platform, vault, call) {
        Ok((status, body)) => reply::json(status, body.as_ref()),
        Err(Fault::Key(error)) => key_error(&error),
        Err(Fault::Other(refusal)) => reply::refusal(&refusal),
    }
}

enum Fault {
    Key(KeyVaultError),
    Other(Refusal),
}

impl From<KeyVaultError> for Fault {
    fn from(error: KeyVaultError) -> Self {
        Self::Key(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal)
    }
}

type Answered = Result<(u16, Option<Value>), Fault>;

fn try_answer(platform: &Arc<Platform>, vault: &str, call: &Call<'_>) -> Answered {
    let name: KeyVaultName = vault.parse().map_err(bad_parameter)?;
    // An absent version may come as an empty segment: /keys/k1/ and /keys/k1//unwrapkey.
    let segments: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let lower: Vec<String> = segments.iter().map(|part| part.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    let key_name = segments.get(1).map(|text| text.parse::<KeyName>());
    let named = key_name.as_ref().and_then(|name| name.as_ref().ok());
    let Some(facts) = platform.key_vault(&name, named)? else {
        return Err(KeyVaultError::VaultNotFound(name).into());
    };
    let ask = |operation: &KeyOperation<'_>| {
        let cause = Cause { correlation: call.correlation, job: None };
        let answer =
            platform.ask_key_vault(&principal_of(&call.caller), &facts, operation, cause)?;
        let status = answer.status();
        Ok((status, render(&answer, &facts.vault)))
    };
    let key = || {
        let name = key_name.clone().ok_or_else(|| unknown_path(call))?;
        name.map_err(bad_parameter)
    };
    match (call.method, words.as_slice()) {
        (&Method::GET, ["keys"]) => ask(&KeyOperation::List),
        (&Method::GET, ["deletedkeys"]) => ask(&KeyOperation::ListDeleted),
        (&Method::GET, ["deletedkeys", _]) => ask(&KeyOperation::GetDeleted { name: &key()? }),
        (&Method::DELETE, ["deletedkeys", _]) => ask(&KeyOperation::Purge { name: &key()? }),
        (&Method::POST, ["deletedkeys", _, "recover"]) => {
            ask(&KeyOperation::Recover { name: &key()? })
        }
        (&Method::POST, ["keys", _, "create"]) => {
            ask(&KeyOperation::Create { name: &key()?, key: &new_key(&call.body)? })
        }
        (&Method::POST, ["keys", _, "rotate"]) => ask(&KeyOperation::Rotate { name: &key()? }),
        (&Method::DELETE, ["keys", _]) => ask(&KeyOperation::Delete { name: &key()? }),
        (&Method::GET, ["keys", _, "versions"]) => {
            ask(&KeyOperation::ListVersions { name: &key()? })
        }
        (&Method::GET, ["keys", _, rest @ ..]) => {
            let version = version(rest, call)?;
            ask(&KeyOperation::Get { name: &key()?, version: version.as_ref() })
        }
        (&Method::PATCH, ["keys", _, rest @ ..]) => {
            let version = version(rest, call)?;
            let change = change(&call.body)?;
            ask(&KeyOperation::Update { name: &key()?, version: version.as_ref(), change: &change })
        }
        (&Method::POST, ["keys", _, rest @ .., verb @ ("wrapkey" | "unwrapkey")]) => {
            let version = version(rest, call)?;
            wrap_or_unwrap(&key()?, version.as_ref(), verb, &call.body, ask)
        }
        _ => Err(unknown_path(call)),
    }
}

fn wrap_or_unwrap(
    name: &KeyName,
    version: Option<&KeyVersion>,
    verb: &str,
    body: &Value,
    ask: impl Fn(&KeyOperation<'_>) -> Answered,
) -> Answered {
    let algorithm = match body.get("alg").and_then(Value::as_str) {
        Some("RSA-OAEP-256") => WrapAlgorithm::RsaOaep256,
        Some("RSA-OAEP") => WrapAlgorithm::RsaOaep,
        other => {
            let text = format!("alg must be RSA-OAEP-256 or RSA-OAEP, not {other:?}");
            return Err(KeyVaultError::BadParameter(text).into());
        }
    };
    let value = body.get("value").and_then(Value::as_str).unwrap_or_default();
    let bytes = BASE64URL_NOPAD.decode(value.trim_end_matches('=').as_bytes());
    let bytes = bytes
        .map_err(|error| KeyVaultError::BadParameter(format!("value is no base64url: {error}")))?;
    if verb == "wrapkey" {
        let plain = SecretBytes::new(bytes);
        ask(&KeyOperation::Wrap { name, version, algorithm, plain: &plain })
    } else {
        ask(&KeyOperation::Unwrap { name, version, algorithm, wrapped: &bytes })
    }
}

fn version(rest: &[&str], call: &Call<'_>) -> Result<Option<KeyVersion>, Fault> {
    match rest {
        [] => Ok(None),
        [version] => Ok(Some(version.parse().map_err(bad_parameter)?)),
        _ => Err(unknown_path(call)),
    }
}

fn bad_parameter(error: custody_names::InvalidName) -> Fault {
    KeyVaultError::BadParameter(error.to_string()).into()
}

fn unknown_path(call: &Call<'_>) -> Fault {
    let text = format!(
        "{} {} is not served; secrets and certificates are not kept here",
        call.method, call.path
    );
    Refusal::new(404, "NotFound", text).into()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttributesBody {
    enabled: Option<bool>,
    nbf: Seconds,
    exp: Seconds,
}

/// A time in a body: absent keeps what is stored, `null` clears it.
#[derive(Clone, Copy, Default)]
enum Seconds {
    #[default]
    Absent,
    Null,
    At(i64),
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Ok(Option::<i64>::deserialize(source)?.map_or(Self::Null, Self::At))
    }
}

impl Seconds {
    fn time(self) -> Result<Option<Timestamp>, Fault> {
        match self {
            Self::Absent | Self::Null => Ok(None),
            Self::At(value) => seconds(value).map(Some),
        }
    }

    fn change(self) -> Result<Change<Timestamp>, Fault> {
        Ok(match self {
            Self::Absent => Change::Keep,
            Self::Null => Change::Clear,
            Self::At(value) => Change::Set(seconds(value)?),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyBody {
    kty: Option<String>,
    key_size: Option<u32>,
    key_ops: Option<BTreeSet<KeyUse>>,
    attributes: AttributesBody,
    tags: Option<BTreeMap<String, String>>,
}

fn key_body(body: &Value) -> Result<KeyBody, Fault> {
    if body.is_null() {
        return Ok(KeyBody::default());
    }
    let read = KeyBody::deserialize(body);
    read.map_err(|error| KeyVaultError::BadParameter(error.to_string()).into())
}

fn new_key(body: &Value) -> Result<NewKey, Fault> {
    let body = key_body(body)?;
    match body.kty.as_deref() {
        Some("RSA" | "RSA-HSM") => {}
        other => {
            let text = format!("kty must be RSA, not {}", other.unwrap_or("absent"));
            return Err(KeyVaultError::BadParameter(text).into());
        }
    }
    let mut key = NewKey::of_size(RsaSize::try_from(body.key_size.unwrap_or(2048))?);
    key.enabled = body.attributes.enabled.unwrap_or(true);
    key.not_before = body.attributes.nbf.time()?;
    key.expires = body.attributes.exp.time()?;
    key.tags = body.tags.unwrap_or_default();
    if let Some(operations) = body.key_ops {
        key.operations = operations;
    }
    Ok(key)
}

fn change(body: &Value) -> Result<AttributeChange, Fault> {
    let body = key_body(body)?;
    Ok(AttributeChange {
        enabled: body.attributes.enabled,
        not_before: body.attributes.nbf.change()?,
        expires: body.attributes.exp.change()?,
        operations: body.key_ops,
        tags: body.tags,
    })
}

fn seconds(value: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_second(value)
        .map_err(|error| KeyVaultError::BadParameter(error.to_string()).into())
}

fn render(answer: &KeyAnswer, vault: &KeyVaultRef) -> Option<Value> {
    Some(match answer {
        KeyAnswer::Key(key) => bundle(key, vault),
        KeyAnswer::DeletedKey(deleted) => {
            let mut body = bundle(&deleted.key, vault);
            add_deletion(&mut body, deleted);
            body
        }
        KeyAnswer::Keys(keys) => {
            json!({ "value": keys.iter().map(|key| item(key, vault)).collect::<Vec<_>>() })
        }
        KeyAnswer::DeletedKeys(keys) => {
            let items = keys.iter().map(|deleted| {
                let mut body = item(&deleted.key, vault);
                add_deletion(&mut body, deleted);
                body
            });
            json!({ "value": items.collect::<Vec<_>>() })
        }
        KeyAnswer::Purged { kits } if kits.is_empty() => return None,
        KeyAnswer::Purged { kits } => {
            json!({ "kitsThatStillOpenIt": kits.iter().map(|kit| json!({
                "id": kit.id.to_string(), "created": kit.created,
            })).collect::<Vec<_>>() })
        }
        KeyAnswer::Wrapped { key, wrapped } => {
            json!({ "kid": key.to_string(), "value": BASE64URL_NOPAD.encode(wrapped) })
        }
        KeyAnswer::Unwrapped { key, plain } => {
            json!({ "kid": key.to_string(), "value": BASE64URL_NOPAD.encode(plain.expose()) })
        }
    })
}

fn bundle(key: &Key, vault: &KeyVaultRef) -> Value {
    json!({
        "key": {
            "kid": key.id.to_string(),
            "kty": "RSA",
            "key_ops": key.operations,
            "n": BASE64URL_NOPAD.encode(&key.public_key.modulus),
            "e": BASE64URL_NOPAD.encode(&key.public_key.exponent),
        },
        "attributes": attributes(key, vault),
        "tags": key.tags,
    })
}

fn item(key: &Key, vault: &KeyVaultRef) -> Value {
    json!({ "kid": key.id.to_string(), "attributes": attributes(key, vault), "tags": key.tags })
}

fn attributes(key: &Key, vault: &KeyVaultRef) -> Value {
    let own = &key.attributes;
    let mut all = Map::new();
    all.insert("enabled".into(), own.enabled.into());
    for (name, time) in [("nbf", own.not_before), ("exp", own.expires)] {
        if let Some(time) = time {
            all.insert(name.into(), time.as_second().into());
        }
    }
    all.insert("created".into(), own.created.as_second().into());
    all.insert("updated".into(), own.updated.as_second().into());
    all.insert("recoveryLevel".into(), vault.recovery_level().into());
    all.insert("recoverableDays".into(), vault.soft_delete_days.into());
    all.insert("exportable".into(), false.into());
    all.insert("key_size".into(), key.size.bits().into());
    Value::Object(all)
}

fn add_deletion(body: &mut Value, deleted: &DeletedKey) {
    let Some(fields) = body.as_object_mut() else { return };
    let place = deleted.key.id.versionless().to_string().replacen("/keys/", "/deletedkeys/", 1);
    fields.insert("recoveryId".into(), place.into());
    fields.insert("deletedDate".into(), deleted.deleted.as_second().into());
    fields.insert("scheduledPurgeDate".into(), deleted.scheduled_purge.as_second().into());
}

fn key_error(error: &KeyVaultError) -> Response<Body> {
    let answer = error.answer();
    let mut body = json!({ "code": answer.code, "message": error.to_string() });
    if let (Some(inner), Some(fields)) = (answer.inner, body.as_object_mut()) {
        fields.insert("innererror".into(), json!({ "code": inner }));
    }
    reply::json(answer.status, Some(&json!({ "error": body })))
}
