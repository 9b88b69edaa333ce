//! Role assignments: a principal has a role at a scope and everywhere below it.

use custody_access::{RoleAssignment, built_in_roles};
use custody_names::{PrincipalId, ResourceId, RoleDefinitionId};
use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored, World, Write,
};
use serde::{Deserialize, Serialize};

use crate::role_definition_id;

/// `Microsoft.Authorization/roleAssignments`, below any scope, the keys of a key vault included.
pub struct RoleAssignmentKind;

/// Who has which role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleAssignmentSpec {
    /// The role definition; stored as `/providers/Microsoft.Authorization/roleDefinitions/GUID`.
    pub role_definition_id: String,
    /// The object id of the principal.
    pub principal_id: PrincipalId,
    /// What kind of principal the client says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_type: Option<String>,
    /// Why, in the client's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What clients read besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignmentStatus {
    /// Where it holds.
    pub scope: ResourceId,
}

impl RoleAssignmentSpec {
    /// The role's GUID: the last name of its identifier, or the GUID alone.
    fn role(&self) -> Result<RoleDefinitionId, Refusal> {
        let given = &self.role_definition_id;
        let name = given.rsplit('/').next().unwrap_or_default();
        name.parse().map_err(|_| {
            let text = format!("properties.roleDefinitionId: '{given}' does not end with a GUID");
            Refusal::new(400, "InvalidRoleDefinitionId", text)
        })
    }
}

/// A role assignment's record as `custody-access` takes it.
pub(crate) fn read(record: &Record) -> Result<RoleAssignment, Refusal> {
    let stored = Stored::<RoleAssignmentKind>::read(record)?;
    Ok(RoleAssignment {
        id: stored.record.id,
        principal: stored.spec.principal_id,
        role: stored.spec.role()?,
        scope: stored.status.scope,
    })
}

/// The identifier of the assignment called `name` (a GUID) at `scope`.
pub fn role_assignment_id(scope: &ResourceId, name: &str) -> Result<ResourceId, Refusal> {
    let scope = scope.as_str().trim_end_matches('/');
    format!("{scope}/providers/{}/{name}", RoleAssignmentKind::TYPE)
        .parse()
        .map_err(|error: custody_names::InvalidName| Refusal::bad_request(error.to_string()))
}

impl Kind for RoleAssignmentKind {
    const TYPE: &'static str = "Microsoft.Authorization/roleAssignments";
    const PLACE: Place = Place::AnyScope;

    type Spec = RoleAssignmentSpec;
    type Status = RoleAssignmentStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        let scope = id.parent().unwrap_or_else(ResourceId::root);
        let role = known_role(&change.spec)?;
        if let Some(stored) = change.before {
            check_kept(stored, &change.spec, role)?;
        } else {
            check_name(id)?;
            check_new(&scope, change.spec.principal_id, role, world)?;
        }
        let spec =
            RoleAssignmentSpec { role_definition_id: role_definition_id(role), ..change.spec };
        let mut plan = Plan::done(spec, RoleAssignmentStatus { scope });
        plan.writes.push(Write::RaiseRevocation);
        Ok(plan)
    }

    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
    }
}

fn check_name(id: &ResourceId) -> Result<(), Refusal> {
    let name = id.name().unwrap_or_default();
    // Any type of GUID will do: what matters is its form.
    if name.parse::<RoleDefinitionId>().is_ok() {
        return Ok(());
    }
    let text = format!(
        "The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."
    );
    Err(Refusal::new(400, "InvalidRoleAssignmentId", text))
}

fn known_role(spec: &RoleAssignmentSpec) -> Result<RoleDefinitionId, Refusal> {
    let role = spec.role()?;
    if built_in_roles().iter().any(|known| known.id == role) {
        return Ok(role);
    }
    let text = format!("The specified role definition with ID '{role}' does not exist.");
    Err(Refusal::new(400, "RoleDefinitionDoesNotExist", text)
        .with_fix("custody role definition list"))
}

/// An assignment is what it is: another role or principal is another assignment.
fn check_kept(
    stored: &Stored<RoleAssignmentKind>,
    spec: &RoleAssignmentSpec,
    role: RoleDefinitionId,
) -> Result<(), Refusal> {
    if stored.spec.principal_id == spec.principal_id && stored.spec.role()? == role {
        return Ok(());
    }
    let text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.";
    Err(Refusal::new(400, "RoleAssignmentUpdateNotPermitted", text)
        .with_fix("create another assignment under a new GUID and delete this one"))
}

/// A principal has a role at a scope once.
fn check_new(
    scope: &ResourceId,
    principal: PrincipalId,
    role: RoleDefinitionId,
    world: &World,
) -> Result<(), Stop> {
    for record in world.children(scope, RoleAssignmentKind::TYPE)? {
        let other = read(record)?;
        if other.principal == principal && other.role == role {
            let name = other.id.name().unwrap_or_default();
            let text = format!(
                "The role assignment already exists. The ID of the existing role assignment is {name}."
            );
            return Err(Refusal::new(409, "RoleAssignmentExists", text).into());
        }
    }
    Ok(())
}
