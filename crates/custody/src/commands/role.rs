//! `custody role`: who may do what.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};

mod assignment;

/// Roles and their assignments
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    Assignment(assignment::Options),
    Definition(Definition),
}

/// What each role allows
#[derive(Debug, Args)]
struct Definition {
    #[command(subcommand)]
    verb: DefinitionVerb,
}

#[derive(Debug, Subcommand)]
enum DefinitionVerb {
    /// List roles
    #[command(after_help = "Examples:\n  custody role definition list -o table\n  custody role \
        definition list -n 'Key Vault Crypto User'\n\nExit codes: 0 done; the others are in \
        docs/exit-codes.md.")]
    List(DefinitionList),
}

#[derive(Debug, Args)]
struct DefinitionList {
    /// Only the role of this name
    #[arg(short, long)]
    name: Option<String>,
}

const COLUMNS: &[Column] = &[
    ("Name", "/properties/roleName"),
    ("Id", "/name"),
    ("Description", "/properties/description"),
];

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.noun {
        Noun::Assignment(options) => assignment::run(options, context),
        Noun::Definition(Definition { verb: DefinitionVerb::List(list) }) => {
            let mut definitions = assignment::definitions(context)?;
            if let Some(name) = &list.name {
                definitions.retain(|one| assignment::role_name(one).eq_ignore_ascii_case(name));
            }
            Ok(Outcome::data(definitions).with_columns(COLUMNS))
        }
    }
}

/// The fields of a role assignment beside its name, with the role's name, as `az` shows them.
fn shown(assignment: Value, definitions: &[Value]) -> Value {
    let mut flat = crate::commands::identity::flat(assignment);
    let id = flat.get("roleDefinitionId").and_then(Value::as_str).unwrap_or_default();
    let guid = id.rsplit('/').next().unwrap_or_default().to_owned();
    let role = definitions.iter().find(|one| {
        one.get("name").and_then(Value::as_str).is_some_and(|n| n.eq_ignore_ascii_case(&guid))
    });
    if let (Value::Object(fields), Some(role)) = (&mut flat, role) {
        fields.insert("roleDefinitionName".to_owned(), json!(assignment::role_name(role)));
    }
    flat
}
