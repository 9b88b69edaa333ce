//! What stands in the bodies of requests.

use std::collections::{BTreeMap, BTreeSet};

use custody_ambient::Timestamp;
use custody_envelope::SecretBytes;
use custody_key_vault::{
    AttributeChange, Change, Curve, ImportedKey, KeyShape, KeyUse, NewKey, OctSize, ReleasePolicy,
    RsaComponents, RsaSize,
};
use custody_names::KeyVersion;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::Value;

use super::{Fault, bad_parameter};

/// What `create`, `import` and `update` may say of a key; everything else is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyBody {
    kty: Option<String>,
    key_size: Option<u32>,
    public_exponent: Option<u64>,
    crv: Option<String>,
    key_ops: Option<BTreeSet<KeyUse>>,
    attributes: Option<AttributesBody>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<PolicyBody>,
    key: Option<Value>,
    #[serde(alias = "Hsm")]
    hsm: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttributesBody {
    enabled: Option<bool>,
    nbf: Seconds,
    exp: Seconds,
    exportable: Option<bool>,
    min_decryption_version: Option<String>,
}

#[derive(Deserialize)]
struct PolicyBody {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    data: String,
    #[serde(default)]
    immutable: bool,
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

/// The body of `create`.
pub(super) fn new_key(body: &Value) -> Result<NewKey, Fault> {
    let body = key_body(body)?;
    let kty = body.kty.as_deref().unwrap_or_default();
    let (kind, hsm) = kty.strip_suffix("-HSM").map_or((kty, false), |kind| (kind, true));
    if body.public_exponent.is_some_and(|exponent| exponent != 65_537) {
        return Err(bad_parameter("public_exponent must be 65537"));
    }
    let shape = match kind {
        "RSA" => KeyShape::Rsa(RsaSize::try_from(body.key_size.unwrap_or(2048))?),
        "EC" => KeyShape::Ec(body.crv.as_deref().unwrap_or("P-256").parse::<Curve>()?),
        "oct" => KeyShape::Oct(OctSize::try_from(body.key_size.unwrap_or(256))?),
        _ => return Err(bad_parameter("kty must be RSA, RSA-HSM, EC, EC-HSM, oct or oct-HSM")),
    };
    if let (KeyShape::Ec(curve), Some(size)) = (shape, body.key_size)
        && curve.bits() != size
    {
        return Err(bad_parameter(format!("key_size {size} is not that of {}", curve.as_str())));
    }
    described(body, NewKey { hsm, ..NewKey::of_shape(shape) })
}

/// The body of `import`: what the key shall be, and the key. A public half alone is custody's own.
pub(super) fn imported_key(body: &Value, own: bool) -> Result<(NewKey, ImportedKey), Fault> {
    let mut body = key_body(body)?;
    let jwk = body.key.take().filter(Value::is_object);
    let jwk = jwk.ok_or_else(|| bad_parameter("key must be a JSON web key"))?;
    let kty = jwk.get("kty").and_then(Value::as_str).unwrap_or_default();
    let (kind, hsm) = kty.strip_suffix("-HSM").map_or((kty, false), |kind| (kind, true));
    if jwk.get("key_hsm").or_else(|| jwk.get("t")).is_some_and(|field| !field.is_null()) {
        return Err(super::routes::not_supported(
            "keys that come wrapped for a hardware module (key_hsm) cannot be imported here; \
             import the key itself",
        ));
    }
    let secret = |name: &str| binary(&jwk, name).map(SecretBytes::new);
    let public = own && jwk.get("d").is_none();
    let key = match kind {
        "RSA" if public => ImportedKey::rsa_public(binary(&jwk, "n")?, binary(&jwk, "e")?)?,
        "EC" if public => {
            let curve = jwk.get("crv").and_then(Value::as_str).unwrap_or_default();
            let (x, y) = (binary(&jwk, "x")?, binary(&jwk, "y")?);
            ImportedKey::ec_public(curve.parse::<Curve>()?, &x, &y)?
        }
        "RSA" => ImportedKey::rsa(RsaComponents {
            n: binary(&jwk, "n")?,
            e: binary(&jwk, "e")?,
            d: secret("d")?,
            p: secret("p")?,
            q: secret("q")?,
            dp: secret("dp")?,
            dq: secret("dq")?,
            qi: secret("qi")?,
        })?,
        "EC" => {
            let curve = jwk.get("crv").and_then(Value::as_str).unwrap_or_default();
            let (x, y) = (binary(&jwk, "x")?, binary(&jwk, "y")?);
            ImportedKey::ec(curve.parse::<Curve>()?, &x, &y, &secret("d")?)?
        }
        "oct" => ImportedKey::oct(secret("k")?)?,
        _ => {
            return Err(bad_parameter("key.kty must be RSA, EC or oct, or one of those with -HSM"));
        }
    };
    if body.key_ops.is_none() {
        body.key_ops = match jwk.get("key_ops") {
            None | Some(Value::Null) => None,
            Some(operations) => Some(
                BTreeSet::deserialize(operations)
                    .map_err(|error| bad_parameter(format!("key.key_ops: {error}")))?,
            ),
        };
    }
    let hsm = hsm || body.hsm == Some(true);
    let operations = key.usual_operations()?;
    let new = described(body, NewKey { hsm, operations, ..NewKey::of_shape(key.shape()?) })?;
    Ok((new, key))
}

/// The body of `update`. The floor is custody's own: other api-versions do not reach it.
pub(super) fn change(body: &Value, own: bool) -> Result<AttributeChange, Fault> {
    let body = key_body(body)?;
    let policy = body.release_policy.map(policy).transpose()?;
    let attributes = body.attributes.unwrap_or_default();
    let floor = match attributes.min_decryption_version.filter(|_| own) {
        None => Change::Keep,
        Some(text) if text.is_empty() => Change::Clear,
        Some(text) => Change::Set(text.parse::<KeyVersion>()?),
    };
    Ok(AttributeChange {
        enabled: attributes.enabled,
        not_before: attributes.nbf.change()?,
        expires: attributes.exp.change()?,
        operations: body.key_ops,
        tags: body.tags,
        release_policy: policy,
        floor,
    })
}

/// A binary value of a body. Padding is not written, and taken where it is.
pub(super) fn binary(body: &Value, name: &str) -> Result<Vec<u8>, Fault> {
    optional_binary(body, name)?.ok_or_else(|| bad_parameter(format!("{name} is missing")))
}

/// A binary value that may be absent.
pub(super) fn optional_binary(body: &Value, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let text = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str().ok_or_else(|| bad_parameter(format!("{name} is no text")))?,
    };
    let bytes = BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes());
    // The text may be secret, so what is wrong with it is not repeated.
    bytes.map(Some).map_err(|_| bad_parameter(format!("{name} is no base64url")))
}

/// A text of a body.
pub(super) fn text<'b>(body: &'b Value, name: &str) -> Result<&'b str, Fault> {
    let found = body.get(name).and_then(Value::as_str);
    found.ok_or_else(|| bad_parameter(format!("{name} is missing or no text")))
}

fn key_body(body: &Value) -> Result<KeyBody, Fault> {
    match body {
        Value::Null => Ok(KeyBody::default()),
        // A list would be read as the fields in their order.
        Value::Object(_) => KeyBody::deserialize(body)
            .map_err(|error| bad_parameter(format!("the body does not fit: {error}"))),
        _ => Err(bad_parameter("the body must be a JSON object")),
    }
}

fn described(body: KeyBody, mut key: NewKey) -> Result<NewKey, Fault> {
    let attributes = body.attributes.unwrap_or_default();
    key.enabled = attributes.enabled.unwrap_or(true);
    key.not_before = attributes.nbf.time()?;
    key.expires = attributes.exp.time()?;
    key.exportable = attributes.exportable.unwrap_or(false);
    key.tags = body.tags.unwrap_or_default();
    key.release_policy = body.release_policy.map(policy).transpose()?;
    if let Some(operations) = body.key_ops {
        key.operations = operations;
    }
    if key.exportable {
        // Whoever makes a key exportable means it to be released.
        key.operations.insert(KeyUse::Export);
    }
    Ok(key)
}

fn policy(body: PolicyBody) -> Result<ReleasePolicy, Fault> {
    let data = BASE64URL_NOPAD
        .decode(body.data.trim_end_matches('=').as_bytes())
        .map_err(|_| bad_parameter("release_policy.data is no base64url"))?;
    Ok(ReleasePolicy::new(data, body.content_type, body.immutable)?)
}

fn seconds(value: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_second(value).map_err(|error| bad_parameter(error.to_string()))
}
