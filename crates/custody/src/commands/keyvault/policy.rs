//! `custody keyvault set-policy` and `delete-policy`.

use clap::Args;
use serde_json::json;

use super::{COLUMNS, Named};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use crate::principal;

#[derive(Debug, Args)]
pub(super) struct SetPolicy {
    #[command(flatten)]
    named: Named,
    /// Object id of the principal, name of an identity, or me
    #[arg(long, value_name = "WHO")]
    object_id: String,
    /// What it may do with keys: all, get, list, create, update, delete, recover, purge, wrapKey,
    /// unwrapKey, rotate …
    #[arg(long, num_args = 0.., required = true, value_name = "PERMISSION")]
    key_permissions: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DeletePolicy {
    #[command(flatten)]
    named: Named,
    /// Object id of the principal, name of an identity, or me
    #[arg(long, value_name = "WHO")]
    object_id: String,
}

/// Replaces the principal's permissions.
pub(super) fn set(policy: &SetPolicy, context: &Context<'_>) -> Result<Outcome, CliError> {
    change(context, &policy.named, "replace", &policy.object_id, &policy.key_permissions)
}

/// Removes the principal's policy.
pub(super) fn delete(policy: &DeletePolicy, context: &Context<'_>) -> Result<Outcome, CliError> {
    change(context, &policy.named, "remove", &policy.object_id, &[])
}

fn change(
    context: &Context<'_>,
    named: &Named,
    how: &str,
    object_id: &str,
    keys: &[String],
) -> Result<Outcome, CliError> {
    let id = named.id(context)?;
    let client = context.client()?;
    let object_id = principal::resolve(context, object_id)?;
    let body = json!({ "properties": { "accessPolicies": [{
        "tenantId": context.installation()?.tenant_id,
        "objectId": object_id,
        "permissions": { "keys": keys },
    }] } });
    client.put(&format!("{id}/accessPolicies/{how}"), &body)?;
    Ok(Outcome::data(client.get(id.as_str())?).with_columns(COLUMNS))
}
