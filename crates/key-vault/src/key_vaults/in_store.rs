//! What a request reads of the key store, and what it changes in it.

use custody_names::{KeyName, KeyUri};

use crate::answer::KeyAnswer;
use crate::audit::RequestContext;
use crate::crypto::KeyPair;
use crate::error::{KeyVaultError, Result};
use crate::key_rows::Birth;
use crate::operation::KeyOperation;
use crate::rotation_policy::RotationPolicy;
use crate::session::Session;
use crate::vault::KeyVaultRef;

/// Whether a request changes the store.
pub(super) fn changes(operation: &KeyOperation<'_>) -> bool {
    matches!(
        operation,
        KeyOperation::Create { .. }
            | KeyOperation::CreateIfAbsent { .. }
            | KeyOperation::Delete { .. }
            | KeyOperation::Import { .. }
            | KeyOperation::Purge { .. }
            | KeyOperation::Recover { .. }
            | KeyOperation::Restore { .. }
            | KeyOperation::Rotate { .. }
            | KeyOperation::SetRotationPolicy { .. }
            | KeyOperation::Update { .. }
    )
}

/// Whether a request only reads what the store knows of keys.
pub(super) fn reads(operation: &KeyOperation<'_>) -> bool {
    matches!(
        operation,
        KeyOperation::GetDeleted { .. }
            | KeyOperation::GetRotationPolicy { .. }
            | KeyOperation::List { .. }
            | KeyOperation::ListDeleted { .. }
            | KeyOperation::ListVersions { .. }
    )
}

/// What the store knows of keys.
pub(super) fn read(
    session: &Session<'_>,
    vault: &KeyVaultRef,
    operation: &KeyOperation<'_>,
) -> Result<KeyAnswer> {
    match operation {
        KeyOperation::GetDeleted { name } => {
            session.deleted_key(vault, name).map(KeyAnswer::DeletedKey)
        }
        KeyOperation::GetRotationPolicy { name } => {
            let policy = session.rotation_policy(vault, name)?;
            let policy = policy.unwrap_or_else(RotationPolicy::unset);
            Ok(KeyAnswer::RotationPolicy { key: key_uri(vault, name), policy })
        }
        KeyOperation::List { page } => {
            let (keys, next) = session.keys(vault, *page)?;
            Ok(KeyAnswer::Keys { keys, next })
        }
        KeyOperation::ListDeleted { page } => {
            let (keys, next) = session.deleted_keys(vault, *page)?;
            Ok(KeyAnswer::DeletedKeys { keys, next })
        }
        KeyOperation::ListVersions { name, page } => {
            let (keys, next) = session.versions(vault, name, *page)?;
            Ok(KeyAnswer::Versions { keys, next })
        }
        _ => Err(KeyVaultError::Bug("a change was asked for as a question")),
    }
}

/// Changes the store as a request wants it; `pair` is the key that was made or brought for it.
pub(super) fn change(
    session: &Session<'_>,
    vault: &KeyVaultRef,
    operation: &KeyOperation<'_>,
    pair: Option<&KeyPair>,
    context: &RequestContext,
) -> Result<KeyAnswer> {
    let now = context.now;
    if vault.strictness.guards_dependants && context.dependants > 0 && operation.takes_out_of_use()
    {
        return Err(KeyVaultError::KeyHasDependants(context.dependants));
    }
    match (operation, pair) {
        (KeyOperation::Create { name, key }, Some(pair)) => {
            session.create(vault, name, key, pair, Birth::made(now)).map(KeyAnswer::Key)
        }
        (KeyOperation::CreateIfAbsent { name, key, policy }, pair) => {
            session.create_if_absent(vault, name, key, (pair, *policy), now).map(KeyAnswer::Key)
        }
        (KeyOperation::Import { name, key, material }, Some(pair)) => {
            let born = Birth::imported(now, material);
            session.create(vault, name, key, pair, born).map(KeyAnswer::Key)
        }
        (KeyOperation::Rotate { name }, Some(pair)) => {
            session.rotate(vault, name, pair, now).map(KeyAnswer::Key)
        }
        (KeyOperation::Update { name, version, change }, _) => {
            session.update(vault, name, *version, change, now).map(KeyAnswer::Key)
        }
        (KeyOperation::Delete { name }, _) => {
            session.delete(vault, name, now).map(KeyAnswer::DeletedKey)
        }
        (KeyOperation::Recover { name }, _) => session.recover(vault, name).map(KeyAnswer::Key),
        (KeyOperation::Restore { blob }, _) => session.restore(vault, blob).map(KeyAnswer::Key),
        (KeyOperation::SetRotationPolicy { name, policy }, _) => {
            let policy = session.set_rotation_policy(vault, name, policy, now)?;
            Ok(KeyAnswer::RotationPolicy { key: key_uri(vault, name), policy })
        }
        (KeyOperation::Purge { name }, _) => {
            session.purge(vault, name).map(|kits| KeyAnswer::Purged { kits })
        }
        _ => Err(KeyVaultError::Bug("a question was asked as a change")),
    }
}

fn key_uri(vault: &KeyVaultRef, name: &KeyName) -> KeyUri {
    KeyUri { vault: vault.vault.clone(), key: name.clone(), version: None }
}
