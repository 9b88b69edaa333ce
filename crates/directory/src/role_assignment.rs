//! Role assignments: a principal has a role at a scope and everywhere below it.

use custody_access::{RoleAssignment, built_in_roles};
use custody_names::{PrincipalId, ResourceId, RoleDefinitionId, TenantId};
use custody_resources::{
    Change, Identity, Kind, Place, Plan, Record, Reference, Refusal, Removal, Request, Stop,
    Stored, Target, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::custom_role::{self, CustomRole};
use crate::grants::lineage;
use crate::{delegation, known_principal, role_definition_id};

/// The permission to grant a role.
const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
/// The permission to end a grant.
const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

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
    const SHOWS_DELETED: bool = true;

    type Spec = RoleAssignmentSpec;
    type Status = RoleAssignmentStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        let scope = id.parent().unwrap_or_else(ResourceId::root);
        let (role, role_definition_id) = known_role(&change.spec, &scope, world)?;
        delegation::check(&change.request.caller, WRITE, &scope, role, world)?;
        let mut spec = RoleAssignmentSpec { role_definition_id, ..change.spec };
        if let Some(stored) = change.before {
            check_kept(stored, &spec, role)?;
            spec.principal_type = spec.principal_type.or(stored.spec.principal_type.clone());
        } else {
            check_name(id)?;
            check_new(&scope, spec.principal_id, role, world)?;
            if spec.principal_type.is_none() {
                let found = known_principal::type_of(world, spec.principal_id)?;
                let absent =
                    || principal_not_found(spec.principal_id, change.request.caller.tenant);
                spec.principal_type = Some(found.ok_or_else(absent)?);
            }
        }
        let mut plan = Plan::done(spec, RoleAssignmentStatus { scope });
        plan.writes.push(Write::RaiseRevocation);
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let (scope, role) = (&current.status.scope, current.spec.role()?);
        delegation::check(&request.caller, DELETE, scope, role, world)?;
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
    }

    fn dress(stored: &Stored<Self>, _request: &Request<'_>, body: &mut Map<String, Value>) {
        show_history(&stored.record, body);
    }

    /// The role, where it is a record.
    fn references(
        spec: &Self::Spec,
        _status: &Self::Status,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let role: Option<ResourceId> = spec.role_definition_id.parse().ok();
        role.iter().map(|role| Reference::new("grants", Target::resource(role))).collect()
    }
}

/// Who made and changed it, among the properties, where clients of authorization look for it.
pub(crate) fn show_history(record: &Record, body: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = body.get_mut("properties") else { return };
    properties.remove("provisioningState");
    let system = &record.system;
    properties.insert("createdOn".into(), json!(system.created_at));
    properties.insert("updatedOn".into(), json!(system.last_modified_at));
    properties.insert("createdBy".into(), json!(system.created_by));
    properties.insert("updatedBy".into(), json!(system.last_modified_by));
    body.remove("systemData");
    body.remove("etag");
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

/// The role, and the identifier that it is shown under.
fn known_role(
    spec: &RoleAssignmentSpec,
    scope: &ResourceId,
    world: &World,
) -> Result<(RoleDefinitionId, String), Stop> {
    let role = spec.role()?;
    if built_in_roles().iter().any(|known| known.id == role) {
        return Ok((role, role_definition_id(role)));
    }
    if let Some(record) = custom_role::find(world, role)? {
        let custom = Stored::<CustomRole>::read(record)?;
        let places = lineage(world, scope)?;
        let assignable = custom.spec.assignable_scopes.iter();
        if !assignable.filter_map(|text| text.parse().ok()).any(|one| places.contains(&one)) {
            let text = format!(
                "The scope '{scope}' is not among the assignable scopes of the role definition \
                 '{role}' or below them."
            );
            return Err(Refusal::new(
                400,
                "RoleAssignmentScopeNotAssignableToRoleDefinition",
                text,
            )
            .into());
        }
        return Ok((role, record.id.to_string()));
    }
    let text = format!("The specified role definition with ID '{role}' does not exist.");
    Err(Refusal::new(400, "RoleDefinitionDoesNotExist", text)
        .with_fix("custody role definition list")
        .into())
}

fn principal_not_found(principal: PrincipalId, tenant: TenantId) -> Refusal {
    let text = format!(
        "Principal {principal} does not exist in the directory {tenant}. Check that you have the \
         correct principal ID. If you are creating this principal and then immediately assigning a \
         role, this error might be related to a replication delay. In this case, set the role \
         assignment principalType property to a value, such as ServicePrincipal, User, or Group. \
         See https://aka.ms/docs-principaltype"
    );
    Refusal::new(400, "PrincipalNotFound", text)
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
