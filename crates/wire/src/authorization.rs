//! Role definitions and role assignments, as their clients list and filter them.

use std::collections::BTreeMap;

use custody_access::built_in_roles;
use custody_directory::{self as directory, CustomRole, RoleAssignmentKind};
use custody_names::{ResourceId, RoleDefinitionId};
use custody_resources::{Kind as _, Record, Refusal, Stop, World};
use serde_json::Value;

use crate::filter::{self, Comparison, Term};
use crate::links;
use crate::views::View;

/// `GET {scope}/…/roleDefinitions[?$filter=…]`: built-in ones and those that can be assigned here.
pub(crate) fn role_definitions(view: &View<'_>) -> Result<Value, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    let own = view.call.parameter("roleName");
    let request = view.request()?;
    let permission = format!("{}/read", CustomRole::TYPE);
    let all = view.look(&permission, |world| {
        let here = directory::lineage(world, &view.place)?;
        let below = has_call(&terms, "atscopeandbelow");
        let mut all: Vec<Value> = built_in_roles()
            .iter()
            .filter_map(|role| directory::role_definition(role.id))
            .collect();
        for record in world.below(&ResourceId::root(), CustomRole::TYPE)? {
            if reaches(record, &view.place, &here, below) {
                all.push(view.platform.engine.render(record, &request)?);
            }
        }
        Ok(all)
    })?;
    let mut shown = Vec::new();
    for role in all {
        let named = own.is_none_or(|name| same(&role, "/properties/roleName", name));
        if named && fits(&role, &terms)? {
            shown.push(role);
        }
    }
    links::page(view.call, shown)
}

/// Whether a role can be assigned at the place, or below it where that is asked.
fn reaches(record: &Record, place: &ResourceId, here: &[ResourceId], below: bool) -> bool {
    let scopes = record.spec.get("assignableScopes").and_then(Value::as_array);
    let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
    let mut scopes = scopes.filter_map(|text| text.parse::<ResourceId>().ok());
    scopes.any(|scope| here.contains(&scope) || (below && place.contains(&scope)))
}

fn fits(role: &Value, terms: &[Term]) -> Result<bool, Refusal> {
    for term in terms {
        let holds = match term {
            Term::Compare { field, with: Comparison::Equal, value } => match field.as_str() {
                "rolename" => same(role, "/properties/roleName", value),
                "type" => same(role, "/properties/type", value),
                "name" => same(role, "/name", value),
                _ => return Err(filter::unknown(term)),
            },
            // Both are seen to where the roles are collected.
            Term::Call { name, .. } if name == "atscopeandbelow" || name == "atscope" => true,
            _ => return Err(filter::unknown(term)),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same(role: &Value, pointer: &str, wanted: &str) -> bool {
    let own = role.pointer(pointer).and_then(Value::as_str);
    own.is_some_and(|own| own.eq_ignore_ascii_case(wanted))
}

/// `GET {scope}/…/roleDefinitions/{GUID}`: the same at every scope.
pub(crate) fn role_definition(view: &View<'_>, name: &str) -> Result<Value, Refusal> {
    let absent = || {
        let shown: String = name.chars().take(100).collect();
        let text = format!("The specified role definition with ID '{shown}' does not exist.");
        Refusal::new(404, "RoleDefinitionDoesNotExist", text)
    };
    let role: RoleDefinitionId = name.parse().map_err(|_| absent())?;
    let request = view.request()?;
    let permission = format!("{}/read", CustomRole::TYPE);
    view.look(&permission, |world| {
        if let Some(built_in) = directory::role_definition(role) {
            return Ok(built_in);
        }
        let record = custom(role, world)?.ok_or_else(absent)?;
        Ok(view.platform.engine.render(record, &request)?)
    })
}

/// A role is one, whatever scope a request names it below: this is where its record stands.
pub(crate) fn record_of(view: &View<'_>, name: &str) -> Result<Option<ResourceId>, Refusal> {
    let Ok(role) = name.parse::<RoleDefinitionId>() else { return Ok(None) };
    view.look_freely(|world| Ok(custom(role, world)?.map(|record| record.id.clone())))
}

fn custom(role: RoleDefinitionId, world: &World) -> Result<Option<&Record>, Stop> {
    world.claimant(&directory::custom_role_claim(role))
}

/// `GET {scope}/…/roleAssignments[?$filter=…]`: what holds at the scope, and, without `atScope()`,
/// what is granted below it.
pub(crate) fn role_assignments(view: &View<'_>) -> Result<Value, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    let principal = wanted_principal(&terms)?;
    let request = view.request()?;
    let permission = format!("{}/read", RoleAssignmentKind::TYPE);
    let shown = view.look(&permission, |world| {
        let mut found: BTreeMap<String, &Record> = BTreeMap::new();
        for place in directory::lineage(world, &view.place)? {
            for record in world.children(&place, RoleAssignmentKind::TYPE)? {
                found.insert(record.id.canonical(), record);
            }
        }
        // The root's own are listed already, and what is below it may be another tenant's.
        if !has_call(&terms, "atscope") && view.place.parent().is_some() {
            for record in world.below(&view.place, RoleAssignmentKind::TYPE)? {
                found.insert(record.id.canonical(), record);
            }
        }
        let mut shown = Vec::new();
        for record in found.into_values() {
            let own = record.spec.get("principalId").and_then(Value::as_str).unwrap_or_default();
            if principal.is_none_or(|wanted| own.eq_ignore_ascii_case(wanted)) {
                shown.push(view.platform.engine.render(record, &request)?);
            }
        }
        Ok(shown)
    })?;
    links::page(view.call, shown)
}

fn wanted_principal(terms: &[Term]) -> Result<Option<&str>, Refusal> {
    let mut principal = None;
    for term in terms {
        match term {
            Term::Compare { field, with: Comparison::Equal, value } if field == "principalid" => {
                principal = Some(value.as_str());
            }
            Term::Call { name, arguments } => match (name.as_str(), arguments.as_slice()) {
                ("atscope", []) => {}
                ("assignedto", [value]) => principal = Some(value.as_str()),
                _ => return Err(filter::unknown(term)),
            },
            Term::Compare { .. } => return Err(filter::unknown(term)),
        }
    }
    Ok(principal)
}

fn has_call(terms: &[Term], wanted: &str) -> bool {
    terms.iter().any(|term| matches!(term, Term::Call { name, .. } if name == wanted))
}

/// `GET {scope}/…/permissions`: what the caller's roles allow here.
pub(crate) fn permissions(view: &View<'_>) -> Result<Value, Refusal> {
    let caller = view.call.caller.principal;
    let all = view.look_freely(|world| {
        directory::check_tenant(&view.call.caller, &view.place, world)?;
        let grants = directory::grants_for(world, &view.place)?;
        let own = grants.assignments.iter().filter(|assignment| assignment.principal == caller);
        let roles = own.filter_map(|assignment| {
            let mut known = built_in_roles().iter().chain(&grants.custom_roles);
            known.find(|role| role.id == assignment.role).cloned()
        });
        Ok(roles.collect::<Vec<_>>())
    })?;
    let shown = all.into_iter().map(|role| {
        serde_json::json!({
            "actions": role.actions,
            "notActions": role.not_actions,
            "dataActions": role.data_actions,
            "notDataActions": role.not_data_actions,
        })
    });
    links::page(view.call, shown.collect())
}
