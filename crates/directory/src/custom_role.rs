//! Role definitions of the customer's own.

use custody_access::{ActionPattern, RoleDefinition, built_in_roles};
use custody_names::{ResourceId, RoleDefinitionId};
use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest name of a role, in characters (Azure's limit).
const NAME_CHARACTERS_MAX: usize = 512;
/// Most places that a role can be assigned below, and most actions of it.
const ENTRIES_MAX: usize = 2_000;
/// The permission to write a role, needed at every place that it can be assigned below.
const WRITE: &str = "Microsoft.Authorization/roleDefinitions/write";

/// `Microsoft.Authorization/roleDefinitions` that clients make. The built-in ones are no records.
pub struct CustomRole;

/// What a role allows, and where it can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomRoleSpec {
    /// What people call it; unique in its tenant.
    pub role_name: String,
    /// `CustomRole`.
    #[serde(rename = "type", default = "custom")]
    pub kind: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The places that it can be assigned at and below.
    #[serde(default)]
    pub assignable_scopes: Vec<String>,
    /// What it allows: one entry.
    #[serde(default)]
    pub permissions: Vec<RolePermissions>,
}

/// What a role allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolePermissions {
    /// Control-plane permissions.
    pub actions: Vec<ActionPattern>,
    /// What `actions` does not mean.
    pub not_actions: Vec<ActionPattern>,
    /// Data-plane permissions.
    pub data_actions: Vec<ActionPattern>,
    /// What `data_actions` does not mean.
    pub not_data_actions: Vec<ActionPattern>,
}

/// Nothing of it is the server's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

/// The claim that holds a role's GUID: a role is one, whatever scope it is named below.
pub fn custom_role_claim(role: RoleDefinitionId) -> String {
    format!("role-definition:{role}")
}

/// The record of a custom role, if there is one.
pub(crate) fn find(world: &World, role: RoleDefinitionId) -> Result<Option<&Record>, Stop> {
    world.claimant(&custom_role_claim(role))
}

/// A custom role's record as `custody-access` takes it.
pub(crate) fn definition(record: &Record) -> Result<RoleDefinition, Refusal> {
    let Stored { record, spec, .. } = Stored::<CustomRole>::read(record)?;
    let permissions = spec.permissions.into_iter().next().unwrap_or_default();
    Ok(RoleDefinition {
        id: guid(&record.id)?,
        role_name: spec.role_name,
        description: spec.description.unwrap_or_default(),
        actions: permissions.actions,
        not_actions: permissions.not_actions,
        data_actions: permissions.data_actions,
        not_data_actions: permissions.not_data_actions,
    })
}

impl Kind for CustomRole {
    const TYPE: &'static str = "Microsoft.Authorization/roleDefinitions";
    const PLACE: Place = Place::AnyScope;
    const SHOWS_DELETED: bool = true;
    // Clients take nothing but 201, for a change as well.
    const ANSWERS: custody_resources::Answers =
        custody_resources::Answers { replaced: 201, ..custody_resources::Answers::USUAL };

    type Spec = CustomRoleSpec;
    type Status = NoStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        let role = guid(id)?;
        if built_in_roles().iter().any(|known| known.id == role) {
            let text = format!("The role definition '{role}' is built in and cannot be changed.");
            return Err(Refusal::new(403, "BuiltInRoleCannotBeChanged", text).into());
        }
        let scopes = check(&change.spec)?;
        check_name_is_free(&change.spec.role_name, id, world)?;
        let spec = CustomRoleSpec { kind: custom(), ..change.spec };
        let mut plan = Plan::done(spec, NoStatus {});
        plan.linked = scopes.into_iter().map(|scope| (WRITE.to_owned(), scope)).collect();
        if change.before.is_some() {
            plan.writes.push(Write::RaiseRevocation);
        }
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let removal = Removal::unless_named(&current.record.id, world, |_, _| {
            let text = "There are existing role assignments referencing role (code: \
                        RoleDefinitionHasAssignments)";
            Refusal::new(400, "RoleDefinitionHasAssignments", text)
                .with_fix("delete the role's assignments first")
        })?;
        Ok(Removal { writes: vec![Write::RaiseRevocation], ..removal })
    }

    fn dress(stored: &Stored<Self>, _request: &Request<'_>, body: &mut Map<String, Value>) {
        crate::role_assignment::show_history(&stored.record, body);
    }

    fn claim(id: &ResourceId) -> Option<String> {
        guid(id).ok().map(custom_role_claim)
    }
}

fn custom() -> String {
    "CustomRole".to_owned()
}

fn guid(id: &ResourceId) -> Result<RoleDefinitionId, Refusal> {
    let name = id.name().unwrap_or_default();
    name.parse().map_err(|_| {
        let text = format!(
            "The role definition ID '{name}' is not valid. The role definition ID must be a GUID."
        );
        Refusal::new(400, "InvalidRoleDefinitionId", text)
    })
}

/// What a role must say; its assignable scopes, read.
fn check(spec: &CustomRoleSpec) -> Result<Vec<ResourceId>, Refusal> {
    let length = spec.role_name.trim().chars().count();
    if length == 0 || length > NAME_CHARACTERS_MAX {
        let text = format!("A role's name has 1 to {NAME_CHARACTERS_MAX} characters.");
        return Err(Refusal::new(400, "InvalidRoleDefinitionName", text));
    }
    let [permissions] = spec.permissions.as_slice() else {
        let text = "A custom role has exactly one entry of permissions.".to_owned();
        return Err(Refusal::new(400, "InvalidRoleDefinitionPermissions", text));
    };
    let lists = [
        &permissions.actions,
        &permissions.not_actions,
        &permissions.data_actions,
        &permissions.not_data_actions,
    ];
    if lists.iter().map(|list| list.len()).sum::<usize>() > ENTRIES_MAX {
        let text = format!("A role names at most {ENTRIES_MAX} actions.");
        return Err(Refusal::new(400, "InvalidRoleDefinitionPermissions", text));
    }
    for action in lists.into_iter().flatten() {
        if !is_action(action.as_str()) {
            let text = format!(
                "'{}' does not match any of the actions supported by the providers.",
                action.as_str()
            );
            return Err(Refusal::new(400, "InvalidActionOrNotAction", text));
        }
    }
    if spec.assignable_scopes.is_empty() || spec.assignable_scopes.len() > ENTRIES_MAX {
        let text = format!("A role names 1 to {ENTRIES_MAX} assignable scopes.");
        return Err(Refusal::new(400, "InvalidAssignableScopes", text));
    }
    spec.assignable_scopes.iter().map(|scope| assignable(scope)).collect()
}

/// `Namespace/type/verb`, with wildcards.
fn is_action(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./*_-$".contains(c);
    text == "*" || (text.contains('/') && text.chars().all(plain) && !text.contains("//"))
}

/// Custom roles are for subscriptions, groups, resources and management groups, not for everything.
fn assignable(text: &str) -> Result<ResourceId, Refusal> {
    let scope = text.parse::<ResourceId>().ok().filter(|scope| scope.parent().is_some());
    scope.ok_or_else(|| {
        let shown: String = text.chars().take(200).collect();
        let text = format!("'{shown}' is no scope that a custom role can be assignable at.");
        Refusal::new(400, "InvalidAssignableScopes", text)
    })
}

fn check_name_is_free(name: &str, own: &ResourceId, world: &World) -> Result<(), Stop> {
    let built_in = built_in_roles().iter().any(|role| role.role_name.eq_ignore_ascii_case(name));
    let mut others = world.below(&ResourceId::root(), CustomRole::TYPE)?.iter();
    let wanted = json!(name.to_lowercase());
    let named = |record: &Record| {
        let other = record.spec.get("roleName").and_then(Value::as_str);
        other.map(|other| json!(other.to_lowercase())) == Some(wanted.clone())
    };
    if built_in || others.any(|record| record.id != *own && named(record)) {
        let text = "A custom role with the same name already exists in this directory. Use a \
                    different name";
        return Err(Refusal::new(409, "RoleDefinitionWithSameNameExists", text).into());
    }
    Ok(())
}
