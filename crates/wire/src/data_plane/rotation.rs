//! Rotation and rotation policies.

use custody_key_vault::{KeyOperation, RotationPolicy};
use serde::Deserialize as _;

use super::{Answered, Ask, bad_parameter};

pub(super) fn rotate(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::Rotate { name: ask.name()? })?))
}

pub(super) fn policy(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::GetRotationPolicy { name: ask.name()? })?))
}

pub(super) fn set_policy(ask: &Ask<'_>) -> Answered {
    if !ask.call.body.is_object() {
        return Err(bad_parameter("the body must be a rotation policy"));
    }
    let policy = RotationPolicy::deserialize(&ask.call.body)
        .map_err(|error| bad_parameter(format!("the rotation policy does not fit: {error}")))?;
    let operation = KeyOperation::SetRotationPolicy { name: ask.name()?, policy: &policy };
    Ok(ask.reply(&ask.ask(&operation)?))
}
