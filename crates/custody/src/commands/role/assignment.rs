//! `custody role assignment`.

use clap::{Args, Subcommand};
use custody_client::{Addresses, kinds};
use custody_names::ResourceId;
use serde_json::Value;

use super::shown;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};
use crate::{principal, set_up};

/// Who has which role on what
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give a principal a role
    #[command(
        after_help = "Examples:\n  custody role assignment create --assignee backup-identity \
        --role 'Key Vault Crypto Service Encryption User' --scope \
        /subscriptions/…/vaults/my-keys\n\nThe assignee is an object id, the name of an identity, or \
        me.\n\nExit codes: 0 done (also if it was there already), 4 not allowed, 5 no such role or \
        assignee; the others are in docs/exit-codes.md."
    )]
    Create(Create),
    /// List role assignments
    #[command(
        after_help = "Examples:\n  custody role assignment list --all -o table\n\nExit codes: \
        0 done; the others are in docs/exit-codes.md."
    )]
    List(List),
    /// Take a role away
    #[command(after_help = "Examples:\n  custody role assignment delete --ids \
        /subscriptions/…/roleAssignments/GUID\n  custody role assignment delete --assignee \
        backup-identity --role 'Key Vault Crypto Service Encryption User' --scope …\n\nTaking a \
        vault's identity its role on the key revokes the key for that vault.\n\nExit codes: 0 done, \
        4 not allowed, 5 nothing matches, 10 not confirmed; the others are in docs/exit-codes.md.")]
    Delete(Delete),
}

#[derive(Debug, Args)]
struct ScopeOption {
    /// Resource id that it is about
    #[arg(long, value_name = "ID")]
    scope: Option<String>,
    /// Resource group that it is about, instead of --scope
    #[arg(short = 'g', long, value_name = "GROUP")]
    resource_group: Option<String>,
}

#[derive(Debug, Args)]
struct Create {
    /// Object id, name of an identity, or me
    #[arg(long, visible_alias = "assignee-object-id", value_name = "WHO")]
    assignee: String,
    /// Name or id of the role
    #[arg(long)]
    role: String,
    #[command(flatten)]
    scope: ScopeOption,
}

#[derive(Debug, Args)]
struct List {
    /// Only those of this principal
    #[arg(long, value_name = "WHO")]
    assignee: Option<String>,
    /// Only those of this role
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    scope: ScopeOption,
    /// Everywhere below the subscription, which is the default
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Delete {
    /// Ids of assignments
    #[arg(long, num_args = 1.., value_name = "ID")]
    ids: Vec<String>,
    /// Those of this principal
    #[arg(long, value_name = "WHO", conflicts_with = "ids")]
    assignee: Option<String>,
    /// Those of this role
    #[arg(long, conflicts_with = "ids")]
    role: Option<String>,
    #[command(flatten)]
    scope: ScopeOption,
    /// Do not ask when all of a scope's assignments go
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] = &[
    ("PrincipalId", "/principalId"),
    ("Role", "/roleDefinitionName"),
    ("Scope", "/scope"),
    ("Name", "/name"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Create(options) => create(options, context),
        Verb::List(list) => {
            let definitions = definitions(context)?;
            let found = matching(
                context,
                &list.scope,
                list.assignee.as_deref(),
                list.role.as_deref(),
                &definitions,
            )?;
            Ok(Outcome::data(found).with_columns(COLUMNS))
        }
        Verb::Delete(options) => delete(options, context),
    }
}

fn create(options: &Create, context: &Context<'_>) -> Result<Outcome, CliError> {
    let scope = options.scope.id(context)?.ok_or_else(|| {
        CliError::Usage("say what it is about: --scope ID or --resource-group GROUP".to_owned())
    })?;
    let definitions = definitions(context)?;
    let role = role_guid(&definitions, &options.role)?;
    let principal = principal::resolve(context, &options.assignee)?;
    let collection = Addresses::collection(&scope, kinds::ROLE_ASSIGNMENT);
    let present = context.client()?.list(&collection)?.into_iter().find(|one| {
        is(one, "principalId", &principal)
            && ends(one, "roleDefinitionId", &role)
            && is(one, "scope", scope.as_str())
    });
    let assignment = match present {
        Some(assignment) => assignment,
        None => set_up::grant(context, &scope, &set_up::definition_id(&role), &principal)?,
    };
    Ok(Outcome::data(shown(assignment, &definitions)).with_columns(COLUMNS))
}

fn delete(options: &Delete, context: &Context<'_>) -> Result<Outcome, CliError> {
    let mut ids = options.ids.clone();
    if ids.is_empty() {
        let definitions = definitions(context)?;
        let (assignee, role) = (options.assignee.as_deref(), options.role.as_deref());
        let found = matching(context, &options.scope, assignee, role, &definitions)?;
        let id = |one: &Value| one.get("id").and_then(Value::as_str).map(str::to_owned);
        ids.extend(found.iter().filter_map(id));
        if ids.is_empty() {
            return Err(CliError::NotFound {
                message: "no role assignment matches".to_owned(),
                fix: "custody role assignment list -o table".to_owned(),
            });
        }
        if assignee.is_none() || role.is_none() {
            let all = crate::human::count(ids.len() as u64, "role assignment");
            confirm(context, options.yes, &format!("{all} will be deleted."), "delete")?;
        }
    }
    for id in ids {
        context.client()?.delete(id.parse::<ResourceId>()?.as_str())?;
    }
    Ok(Outcome::nothing())
}

/// The assignments at or below a scope that fit.
fn matching(
    context: &Context<'_>,
    scope: &ScopeOption,
    assignee: Option<&str>,
    role: Option<&str>,
    definitions: &[Value],
) -> Result<Vec<Value>, CliError> {
    let principal = assignee.map(|assignee| principal::resolve(context, assignee)).transpose()?;
    let role = role.map(|role| role_guid(definitions, role)).transpose()?;
    let scope = match scope.id(context)? {
        Some(scope) => scope,
        None => context.addresses()?.subscription(),
    };
    let mut found =
        context.client()?.list(&Addresses::collection(&scope, kinds::ROLE_ASSIGNMENT))?;
    // The server shows what holds at a scope, inherited ones too.
    let within = |one: &Value| property(one, "scope").parse().is_ok_and(|at| scope.contains(&at));
    found.retain(|one| {
        within(one)
            && principal.as_ref().is_none_or(|principal| is(one, "principalId", principal))
            && role.as_ref().is_none_or(|role| ends(one, "roleDefinitionId", role))
    });
    Ok(found.into_iter().map(|one| shown(one, definitions)).collect())
}

impl ScopeOption {
    fn id(&self, context: &Context<'_>) -> Result<Option<ResourceId>, CliError> {
        match (&self.scope, &self.resource_group) {
            (Some(scope), _) => Ok(Some(scope.parse()?)),
            (None, Some(group)) => Ok(Some(context.addresses()?.group(&group.parse()?))),
            (None, None) => Ok(None),
        }
    }
}

/// The built-in roles.
pub(super) fn definitions(context: &Context<'_>) -> Result<Vec<Value>, CliError> {
    let scope = context.addresses()?.subscription();
    Ok(context.client()?.list(&Addresses::collection(&scope, kinds::ROLE_DEFINITION))?)
}

/// The name of a role.
pub(super) fn role_name(definition: &Value) -> &str {
    definition.pointer("/properties/roleName").and_then(Value::as_str).unwrap_or_default()
}

/// The GUID of the role of this name, GUID or id.
fn role_guid(definitions: &[Value], role: &str) -> Result<String, CliError> {
    let last = role.rsplit('/').next().unwrap_or_default();
    let guid = |one: &Value| one.get("name").and_then(Value::as_str).map(str::to_owned);
    let found = definitions.iter().find(|one| {
        role_name(one).eq_ignore_ascii_case(role)
            || guid(one).is_some_and(|guid| guid.eq_ignore_ascii_case(last))
    });
    found.and_then(guid).ok_or_else(|| CliError::NotFound {
        message: format!("there is no role {role:?}"),
        fix: "custody role definition list -o table".to_owned(),
    })
}

fn property<'v>(assignment: &'v Value, name: &str) -> &'v str {
    let value = assignment.get("properties").and_then(|all| all.get(name));
    value.and_then(Value::as_str).unwrap_or_default()
}

fn is(assignment: &Value, name: &str, value: &str) -> bool {
    property(assignment, name).eq_ignore_ascii_case(value)
}

fn ends(assignment: &Value, name: &str, guid: &str) -> bool {
    let last = property(assignment, name).rsplit('/').next().unwrap_or_default();
    last.eq_ignore_ascii_case(guid)
}
