//! `custody group`: resource groups.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::commands::tags;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};
use crate::terminal;

/// Resource groups
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a resource group
    #[command(
        after_help = "Examples:\n  custody group create -n production\n\nExit codes: 0 done; \
        the others are in docs/exit-codes.md."
    )]
    Create(Create),
    /// Show a resource group
    #[command(
        after_help = "Examples:\n  custody group show -n production\n\nExit codes: 0 done, 5 \
        no such group; the others are in docs/exit-codes.md."
    )]
    Show(Named),
    /// List resource groups
    #[command(after_help = "Examples:\n  custody group list -o table\n\nExit codes: 0 done; the \
        others are in docs/exit-codes.md.")]
    List,
    /// Delete a resource group and all that is in it
    #[command(
        after_help = "Examples:\n  custody group delete -n test --yes\n\nExit codes: 0 done, \
        6 something in it blocks the deletion (the answer names it), 10 not confirmed; the others \
        are in docs/exit-codes.md."
    )]
    Delete(Delete),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the group
    #[arg(short, long, visible_short_alias = 'g', visible_alias = "resource-group")]
    name: String,
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

#[derive(Debug, Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] =
    &[("Name", "/name"), ("Location", "/location"), ("Status", "/properties/provisioningState")];

impl Options {
    /// Whether this makes something that may be the first thing of a data folder.
    pub(crate) fn creates(&self) -> bool {
        matches!(self.verb, Verb::Create(_))
    }
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let client = context.client()?;
    let addresses = context.addresses()?;
    match &options.verb {
        Verb::Create(create) => {
            let id = addresses.group(&create.named.name.parse()?);
            let mut body = Map::new();
            body.insert("location".to_owned(), location(context, create.location.as_deref())?);
            if let Some(tags) = &create.tags {
                body.insert("tags".to_owned(), tags::parse(tags)?);
            }
            Ok(Outcome::data(client.put(id.as_str(), &Value::Object(body))?).with_columns(COLUMNS))
        }
        Verb::Show(named) => {
            let id = addresses.group(&named.name.parse()?);
            Ok(Outcome::data(client.get(id.as_str())?).with_columns(COLUMNS))
        }
        Verb::List => {
            let groups = client.list(&format!("{}/resourceGroups", addresses.subscription()))?;
            Ok(Outcome::data(groups).with_columns(COLUMNS))
        }
        Verb::Delete(delete) => {
            let id = addresses.group(&delete.named.name.parse()?);
            client.get(id.as_str())?;
            let name = terminal::line(&delete.named.name);
            let consequence =
                format!("The resource group {name} and everything in it will be deleted.");
            confirm(context, delete.yes, &consequence, &delete.named.name)?;
            client.delete(id.as_str())?;
            Ok(Outcome::nothing())
        }
    }
}

/// The location that an option names, or the installation's.
pub(crate) fn location(context: &Context<'_>, named: Option<&str>) -> Result<Value, CliError> {
    match named {
        Some(location) => Ok(json!(location)),
        None => Ok(json!(context.installation()?.location)),
    }
}
