//! `custody audit`: where the records of a key vault are sent, beside the ledger.

use clap::{Args, Subcommand, ValueEnum};
use custody_client::{Addresses, kinds};
use custody_names::ResourceId;
use serde_json::json;

use crate::arguments::{GroupOption, WithinOption};
use crate::commands::group;
use crate::commands::identity::flat;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};

/// The diagnostic setting that `send` makes of a key vault for a destination.
const SETTING_PREFIX: &str = "custody-";

/// Where the records of key vaults are sent
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Places that records can be sent to
    #[command(subcommand)]
    Destination(Destination),
    /// Send a key vault's records to a destination from now on
    #[command(after_help = "Examples:\n  custody audit send --vault-name keys-1 --to siem\n\nThe \
        same as az monitor diagnostic-settings create. The ledger keeps every record in any \
        case; a destination gets each at least once, in order.\n\nExit codes: 0 done, 5 no such \
        key vault or destination; the others are in docs/exit-codes.md.")]
    Send(Route),
    /// Stop sending a key vault's records to a destination
    #[command(
        after_help = "Examples:\n  custody audit stop --vault-name keys-1 --to siem\n\nExit codes: \
        0 done; the others are in docs/exit-codes.md."
    )]
    Stop(Route),
    /// Say how far each destination and event subscription has come
    #[command(
        after_help = "Examples:\n  custody audit status\n\nExit codes: 0 done; the others are in \
        docs/exit-codes.md."
    )]
    Status,
}

#[derive(Debug, Subcommand)]
enum Destination {
    /// Create a destination
    #[command(after_help = "Examples:\n  custody audit destination create -n file --type file\n  \
        custody audit destination create -n siem --type webhook --address \
        https://siem.example/custody\n  custody audit destination create -n log --type syslog \
        --address unix:/dev/log\n\nA file is audit/NAME.jsonl in the data folder.\n\nExit codes: 0 \
        done, 2 the address does not fit; the others are in docs/exit-codes.md.")]
    Create(Create),
    /// List destinations
    #[command(
        after_help = "Examples:\n  custody audit destination list -o table\n\nExit codes: 0 done; \
        the others are in docs/exit-codes.md."
    )]
    List(WithinOption),
    /// Delete a destination
    #[command(
        after_help = "Examples:\n  custody audit destination delete -n siem\n\nExit codes: 0 \
        done; the others are in docs/exit-codes.md."
    )]
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the destination
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    group: GroupOption,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    named: Named,
    /// How records reach it
    #[arg(long = "type", value_enum)]
    sort: Sort,
    /// https://… for a webhook, unix:PATH or udp:HOST:PORT for syslog
    #[arg(long)]
    address: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    File,
    Syslog,
    Webhook,
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Syslog => "Syslog",
            Self::Webhook => "Webhook",
        }
    }
}

#[derive(Debug, Args)]
struct Route {
    /// Key vault [default: the installation's]
    #[arg(long, value_name = "NAME")]
    vault_name: Option<String>,
    /// Name of the destination
    #[arg(long, value_name = "NAME")]
    to: String,
    #[command(flatten)]
    group: GroupOption,
}

const COLUMNS: &[Column] =
    &[("Name", "/name"), ("Type", "/destinationType"), ("Address", "/address")];

const STATUS_COLUMNS: &[Column] = &[
    ("Receiver", "/id"),
    ("Sequence", "/sequence"),
    ("GivenUp", "/dropped"),
    ("Problem", "/problem"),
];

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Destination(verb) => destination(verb, context),
        Verb::Send(route) => send(route, context),
        Verb::Stop(route) => {
            context.client()?.delete(&setting(route, context)?)?;
            Ok(Outcome::nothing())
        }
        Verb::Status => {
            let deliveries = context.client()?.list("/custody/audit")?;
            Ok(Outcome::data(deliveries).with_columns(STATUS_COLUMNS))
        }
    }
}

fn destination(verb: &Destination, context: &Context<'_>) -> Result<Outcome, CliError> {
    let client = context.client()?;
    let value = match verb {
        Destination::Create(create) => {
            let location = group::location(context, None)?;
            let properties =
                json!({ "destinationType": create.sort.word(), "address": create.address });
            let body = json!({ "location": location, "properties": properties });
            flat(
                client
                    .put(id(&create.named.name, &create.named.group, context)?.as_str(), &body)?,
            )
        }
        Destination::List(within) => {
            let listed =
                context.resources(within.resource_group.as_deref(), kinds::AUDIT_DESTINATION)?;
            listed.into_iter().map(flat).collect()
        }
        Destination::Delete(named) => {
            client.delete(id(&named.name, &named.group, context)?.as_str())?;
            return Ok(Outcome::nothing());
        }
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

fn send(route: &Route, context: &Context<'_>) -> Result<Outcome, CliError> {
    let body = json!({ "properties": {
        "logs": [{ "category": "AuditEvent", "enabled": true }],
        "workspaceId": id(&route.to, &route.group, context)?,
    } });
    Ok(Outcome::data(context.client()?.put(&setting(route, context)?, &body)?))
}

fn id(name: &str, group: &GroupOption, context: &Context<'_>) -> Result<ResourceId, CliError> {
    context.resource_id(group, kinds::AUDIT_DESTINATION, name)
}

/// The path of the diagnostic setting that ties a key vault to a destination.
fn setting(route: &Route, context: &Context<'_>) -> Result<String, CliError> {
    let vault = match &route.vault_name {
        Some(name) => name.clone(),
        None => context.installation()?.defaults.key_vault.clone(),
    };
    let vault = context.resource_id(&route.group, kinds::KEY_VAULT, &vault)?;
    let settings = Addresses::collection(&vault, kinds::DIAGNOSTIC_SETTING);
    Ok(format!("{settings}/{SETTING_PREFIX}{}", route.to))
}
