//! Soft-deleted keys: list, show, recover, purge.

use custody_key_vault::KeyOperation;

use super::keys::paged;
use super::{Answered, Ask};

pub(super) fn list(ask: &Ask<'_>) -> Answered {
    paged(ask, |page| KeyOperation::ListDeleted { page })
}

pub(super) fn show(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::GetDeleted { name: ask.name()? })?))
}

pub(super) fn recover(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::Recover { name: ask.name()? })?))
}

pub(super) fn purge(ask: &Ask<'_>) -> Answered {
    Ok(ask.reply(&ask.ask(&KeyOperation::Purge { name: ask.name()? })?))
}
