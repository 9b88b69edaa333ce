//! The roles of a managed HSM, assigned within it. Nobody's role above it reaches its keys, and
//! only its own data plane writes them.

use custody_access::{Grants, MANAGED_HSM_ADMINISTRATOR, RoleAssignment};
use custody_names::{PrincipalId, ResourceId, RoleDefinitionId};
use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Request, Stop, Stored, SystemData, World, Write,
};
use serde::{Deserialize, Serialize};

use crate::local_role_definition_kind::local_role_definitions;
use crate::managed_hsm_kind::ManagedHsmKind;

/// That a principal has a local role.
pub struct LocalRoleKind;

/// Who has which role where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRoleSpec {
    /// The role.
    pub role: RoleDefinitionId,
    /// Who has it.
    pub principal_id: PrincipalId,
    /// Where within the managed HSM.
    pub scope: LocalScope,
}

/// A place within a managed HSM: `/`, `/keys` or `/keys/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalScope(String);

/// There is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

impl LocalRoleSpec {
    /// Whether it makes somebody an administrator of all of the managed HSM.
    pub fn administers(&self) -> bool {
        self.role == MANAGED_HSM_ADMINISTRATOR && self.scope.is_root()
    }
}

impl LocalScope {
    /// Reads the segments of a scope.
    pub fn parse(segments: &[&str]) -> Result<Self, Refusal> {
        let wrong = || {
            let text = format!("'/{}' is no scope within a managed HSM", segments.join("/"));
            Refusal::new(400, "BadParameter", text)
                .with_fix("use /, /keys or /keys/NAME as the scope")
        };
        let is_keys = |word: &str| word.eq_ignore_ascii_case("keys");
        match segments {
            [] => Ok(Self("/".to_owned())),
            [keys] if is_keys(keys) => Ok(Self("/keys".to_owned())),
            [keys, name] if is_keys(keys) => {
                let name: custody_names::KeyName = name.parse().map_err(|_| wrong())?;
                Ok(Self(format!("/keys/{name}")))
            }
            _ => Err(wrong()),
        }
    }

    /// The scope as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `other` or lies above it. Upper and lower case are the same.
    pub fn contains(&self, other: &Self) -> bool {
        let (upper, lower) = (self.0.to_ascii_lowercase(), other.0.to_ascii_lowercase());
        let below = || lower.strip_prefix(&upper).is_some_and(|rest| rest.starts_with('/'));
        self.is_root() || upper == lower || below()
    }

    /// Whether it is the managed HSM itself, `/`.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The place in the tree of resources whose keys grants there reach: all keys are the whole
    /// HSM, its random bytes too. Requests about roles are decided by [`Self::contains`] instead.
    pub fn place(&self, hsm: &ResourceId) -> Result<ResourceId, Refusal> {
        let below = self.0.strip_prefix("/keys/").map(|name| format!("{hsm}/keys/{name}"));
        let Some(place) = below else { return Ok(hsm.clone()) };
        place.parse().map_err(|_| Refusal::bug(format!("{place} is no place")))
    }
}

impl Kind for LocalRoleKind {
    const TYPE: &'static str = "Microsoft.KeyVault/managedHSMs/roleAssignments";
    const PLACE: Place = Place::Below(ManagedHsmKind::TYPE);
    const WRITABLE: bool = false;

    type Spec = LocalRoleSpec;
    type Status = NoStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("local roles are not written by way of ARM").into())
    }
}

/// The local roles of a managed HSM, as decisions on its keys take them: those assigned, and those
/// that it defines itself. They alone reach its keys (rule 44).
pub fn local_grants(hsm: &ResourceId, world: &World) -> Result<Grants, Stop> {
    grants(hsm, |_| true, world)
}

/// The same for decisions on its roles at `scope`: who may assign roles on all keys may not do so
/// on the HSM itself, so only what is assigned there or above counts.
pub fn local_grants_at(
    scope: &LocalScope,
    hsm: &ResourceId,
    world: &World,
) -> Result<Grants, Stop> {
    grants(hsm, |assigned| assigned.contains(scope), world)
}

fn grants(
    hsm: &ResourceId,
    counts: impl Fn(&LocalScope) -> bool,
    world: &World,
) -> Result<Grants, Stop> {
    let mut assignments = Vec::new();
    for record in world.children(hsm, LocalRoleKind::TYPE)? {
        let Stored { record, spec, .. } = Stored::<LocalRoleKind>::read(record)?;
        if !counts(&spec.scope) {
            continue;
        }
        let scope = spec.scope.place(hsm)?;
        assignments.push(RoleAssignment {
            id: record.id,
            principal: spec.principal_id,
            role: spec.role,
            scope,
        });
    }
    let custom_roles = local_role_definitions(hsm, world)?;
    Ok(Grants { assignments, custom_roles, ..Grants::default() })
}

/// The write that assigns a local role, under the name `name` (a GUID).
pub fn assign_local_role(
    hsm: &ResourceId,
    name: &str,
    spec: LocalRoleSpec,
    system: SystemData,
) -> Result<Write, Refusal> {
    let id = name.parse().map(|name| hsm.child("roleAssignments", &name));
    let id =
        id.map_err(|error: custody_names::InvalidName| Refusal::bad_request(error.to_string()))?;
    let record = Record::blank(id, system);
    Stored::<LocalRoleKind> { record, spec, status: NoStatus {} }.into_write()
}

/// Who administers all of a managed HSM: at `/`, not on keys alone.
pub fn administrators(hsm: &ResourceId, world: &World) -> Result<Vec<PrincipalId>, Stop> {
    let mut found = Vec::new();
    for record in world.children(hsm, LocalRoleKind::TYPE)? {
        let spec = Stored::<LocalRoleKind>::read(record)?.spec;
        if spec.administers() {
            found.push(spec.principal_id);
        }
    }
    Ok(found)
}

/// The writes that make `administrators` administer a managed HSM that has no local roles yet.
pub(crate) fn appoint(
    hsm: &ResourceId,
    administrators: &[PrincipalId],
    request: &Request<'_>,
) -> Result<Vec<Write>, Refusal> {
    let system = SystemData::by(&request.caller, request.now);
    let scope = LocalScope::parse(&[])?;
    let assign = |principal: &PrincipalId| {
        let spec = LocalRoleSpec {
            role: MANAGED_HSM_ADMINISTRATOR,
            principal_id: *principal,
            scope: scope.clone(),
        };
        // Any GUID will do, and a principal's own is free where there are no assignments.
        assign_local_role(hsm, &principal.to_string(), spec, system.clone())
    };
    administrators.iter().map(assign).collect()
}
