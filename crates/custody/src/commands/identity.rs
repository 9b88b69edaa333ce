//! `custody identity`: user-assigned identities.

use clap::{Args, Subcommand};
use custody_client::kinds;
use serde_json::{Map, Value, json};

use crate::arguments::{GroupOption, WithinOption};
use crate::commands::{group, tags};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};

/// Identities that vaults act under
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create an identity
    #[command(
        after_help = "Examples:\n  custody identity create -n backup-identity\n\nExit codes: 0 \
        done, 5 no such group; the others are in docs/exit-codes.md."
    )]
    Create(Create),
    /// Show an identity
    #[command(after_help = "Examples:\n  custody identity show -n backup-identity --query \
        principalId -o tsv\n\nExit codes: 0 done, 5 no such identity; the others are in \
        docs/exit-codes.md.")]
    Show(Named),
    /// List identities
    #[command(
        after_help = "Examples:\n  custody identity list -o table\n\nExit codes: 0 done; the \
        others are in docs/exit-codes.md."
    )]
    List(WithinOption),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the identity
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    group: GroupOption,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    named: Named,
    /// Location [default: the installation's]
    #[arg(short, long)]
    location: Option<String>,
    /// Tags, KEY=VALUE …
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    tags: Option<Vec<String>>,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("ResourceGroup", "/resourceGroup"),
    ("PrincipalId", "/principalId"),
    ("ClientId", "/clientId"),
];

impl Options {
    /// Whether this makes something that may be the first thing of a data folder.
    pub(crate) fn creates(&self) -> bool {
        matches!(self.verb, Verb::Create(_))
    }
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let client = context.client()?;
    let id = |named: &Named| context.resource_id(&named.group, kinds::IDENTITY, &named.name);
    let value = match &options.verb {
        Verb::Create(create) => {
            let mut body = Map::new();
            let location = group::location(context, create.location.as_deref())?;
            body.insert("location".to_owned(), location);
            if let Some(tags) = &create.tags {
                body.insert("tags".to_owned(), tags::parse(tags)?);
            }
            flat(client.put(id(&create.named)?.as_str(), &Value::Object(body))?)
        }
        Verb::Show(named) => flat(client.get(id(named)?.as_str())?),
        Verb::List(within) => Value::Array(all(context, within.resource_group.as_deref())?),
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

/// The identities of a group, or all.
pub(crate) fn all(context: &Context<'_>, group: Option<&str>) -> Result<Vec<Value>, CliError> {
    let listed = context.resources(group, kinds::IDENTITY)?;
    Ok(listed.into_iter().map(flat).collect())
}

/// A resource as `az` shows it: its properties beside its name.
pub(crate) fn flat(resource: Value) -> Value {
    let Value::Object(mut fields) = resource else { return resource };
    let id = fields.get("id").and_then(Value::as_str).unwrap_or_default();
    let group = id.parse::<custody_names::ResourceId>().ok();
    let group = group.as_ref().and_then(|id| id.resource_group_name()).map(str::to_owned);
    if let Some(group) = group {
        fields.insert("resourceGroup".to_owned(), json!(group));
    }
    if let Some(Value::Object(properties)) = fields.remove("properties") {
        for (name, value) in properties {
            fields.entry(name).or_insert(value);
        }
    }
    Value::Object(fields)
}
