//! Encrypt, decrypt, wrap, unwrap, sign, verify, random bytes.

use custody_envelope::SecretBytes;
use custody_key_vault::{EncryptionAlgorithm, KeyOperation, Sealed, SignatureAlgorithm};
use serde_json::Value;

use super::{Answered, Ask, Fault, bad_parameter, body};

pub(super) fn encrypt(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), encryption(ask)?);
    let plain = SecretBytes::new(value(ask)?);
    let beside = beside(ask, Vec::new())?;
    let (plain, beside) = (&plain, &beside);
    let operation = KeyOperation::Encrypt { name, version, algorithm, plain, beside };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn decrypt(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), encryption(ask)?);
    let sealed = beside(ask, value(ask)?)?;
    let operation = KeyOperation::Decrypt { name, version, algorithm, sealed: &sealed };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn wrap(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), encryption(ask)?);
    let plain = SecretBytes::new(value(ask)?);
    let operation = KeyOperation::Wrap { name, version, algorithm, plain: &plain };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn unwrap(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), encryption(ask)?);
    let wrapped = value(ask)?;
    let operation = KeyOperation::Unwrap { name, version, algorithm, wrapped: &wrapped };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn sign(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), signing(ask)?);
    let digest = value(ask)?;
    let operation = KeyOperation::Sign { name, version, algorithm, digest: &digest };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn verify(ask: &Ask<'_>) -> Answered {
    let (name, version, algorithm) = (ask.name()?, ask.version(), signing(ask)?);
    let digest = body::binary(&ask.call.body, "digest")?;
    let signature = value(ask)?;
    let (digest, signature) = (&digest, &signature);
    let operation = KeyOperation::Verify { name, version, algorithm, digest, signature };
    Ok(ask.reply(&ask.ask(&operation)?))
}

pub(super) fn random(ask: &Ask<'_>) -> Answered {
    let count = ask.call.body.get("count").and_then(Value::as_u64);
    let count = count.and_then(|count| u32::try_from(count).ok());
    let count = count.ok_or_else(|| bad_parameter("count must be a number of bytes"))?;
    Ok(ask.reply(&ask.ask(&KeyOperation::Random { count })?))
}

/// How data keys are wrapped or data encrypted.
pub(super) fn encryption(ask: &Ask<'_>) -> Result<EncryptionAlgorithm, Fault> {
    Ok(body::text(&ask.call.body, "alg")?.parse()?)
}

fn signing(ask: &Ask<'_>) -> Result<SignatureAlgorithm, Fault> {
    Ok(body::text(&ask.call.body, "alg")?.parse()?)
}

fn value(ask: &Ask<'_>) -> Result<Vec<u8>, Fault> {
    body::binary(&ask.call.body, "value")
}

fn beside(ask: &Ask<'_>, bytes: Vec<u8>) -> Result<Sealed, Fault> {
    let body = &ask.call.body;
    Ok(Sealed {
        bytes,
        iv: body::optional_binary(body, "iv")?,
        tag: body::optional_binary(body, "tag")?,
        associated: body::optional_binary(body, "aad")?,
    })
}
