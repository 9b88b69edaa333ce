//! Secure release, and what needs hardware that attests to itself.

use custody_key_vault::{KeyOperation, ReleaseAlgorithm, ReleaseRequest};
use serde_json::Value;

use super::routes::not_supported;
use super::{Answered, Ask, bad_parameter, body};

pub(super) fn release(ask: &Ask<'_>) -> Answered {
    let body = &ask.call.body;
    let field = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_str().map(Some).ok_or_else(|| bad_parameter(format!("{name} is no text")))
        }
    };
    let algorithm: Option<ReleaseAlgorithm> = field("enc")?.map(str::parse).transpose()?;
    let request = ReleaseRequest {
        target: body::text(body, "target")?.to_owned(),
        nonce: field("nonce")?.map(str::to_owned),
        algorithm: algorithm.unwrap_or_default(),
    };
    let (name, version) = (ask.name()?, ask.version());
    Ok(ask.reply(&ask.ask(&KeyOperation::Release { name, version, request: &request })?))
}

/// The key must be there and the caller may see it; then the answer is no.
pub(super) fn attestation(ask: &Ask<'_>) -> Answered {
    ask.ask(&KeyOperation::Get { name: ask.name()?, version: ask.version() })?;
    Err(not_supported(
        "keys are not attested here: they are sealed by this installation, not held in a hardware \
         module that signs attestations",
    ))
}

/// The same, for wraps that only attested environments may ask for.
pub(super) fn secure_wrap(ask: &Ask<'_>) -> Answered {
    ask.ask(&KeyOperation::Get { name: ask.name()?, version: ask.version() })?;
    Err(not_supported("securewrapkey and secureunwrapkey are not offered; use wrapkey, unwrapkey"))
}
