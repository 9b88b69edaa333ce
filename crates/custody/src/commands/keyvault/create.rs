//! `custody keyvault create`.

use super::{ArgAction, Args, BoolishValueParser, COLUMNS, GroupOption, group, kinds, tags};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the key vault
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    group: GroupOption,
    /// Location [default: the installation's]
    #[arg(short, long)]
    location: Option<String>,
    /// Days that deleted keys can be recovered for, 7 to 90
    #[arg(long, value_name = "DAYS", default_value_t = 90,
        value_parser = clap::value_parser!(u32).range(7..=90))]
    retention_days: u32,
    /// Forbid purging, for good
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    enable_purge_protection: Option<bool>,
    /// Whether roles decide who may do what; else access policies do
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    enable_rbac_authorization: bool,
    /// Tags, KEY=VALUE …
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    tags: Option<Vec<String>>,
}

/// Creates a key vault, or brings one up to date.
pub(super) fn run(create: &Create, context: &Context<'_>) -> Result<Outcome, CliError> {
    let mut properties = json!({
        "tenantId": context.installation()?.tenant_id,
        "sku": { "family": "A", "name": "standard" },
        "enableSoftDelete": true,
        "softDeleteRetentionInDays": create.retention_days,
        "enableRbacAuthorization": create.enable_rbac_authorization,
        "accessPolicies": [],
    });
    if let (Value::Object(fields), Some(true)) = (&mut properties, create.enable_purge_protection) {
        fields.insert("enablePurgeProtection".to_owned(), true.into());
    }
    let mut body = json!({
        "location": group::location(context, create.location.as_deref())?,
        "properties": properties,
    });
    if let (Value::Object(fields), Some(words)) = (&mut body, &create.tags) {
        fields.insert("tags".to_owned(), tags::parse(words)?);
    }
    let id = context.resource_id(&create.group, kinds::KEY_VAULT, &create.name)?;
    Ok(Outcome::data(context.client()?.put(id.as_str(), &body)?).with_columns(COLUMNS))
}
