//! Backups of single keys.

use custody_key_vault::KeyOperation;

use super::{Answered, Ask, body};

pub(super) fn backup(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::Backup { name: ask.name()? })?))
}

pub(super) fn restore(ask: &Ask<'_>) -> Answered {
    let blob = body::binary(&ask.call.body, "value")?;
    Ok(ask.reply(&ask.ask(&KeyOperation::Restore { blob: &blob })?))
}
