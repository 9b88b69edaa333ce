//! The roles that a managed HSM defines for itself, beside the built-in ones. Like the assignments
//! they are written on its own data plane alone, count nowhere else and go with it.

use custody_access::{ActionPattern, RoleDefinition, managed_hsm_roles};
use custody_names::{ResourceId, RoleDefinitionId};
use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Stop, Stored, SystemData, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::local_role_kind::LocalRoleKind;
use crate::managed_hsm_kind::ManagedHsmKind;

/// Most roles that a managed HSM defines (Azure's limit).
pub const LOCAL_ROLE_DEFINITIONS_MAX: usize = 50;
/// Most data actions that a role names.
const ACTIONS_MAX: usize = 200;
/// Longest name and description of a role, in characters.
const TEXT_CHARACTERS_MAX: usize = 512;
/// What every data action of a managed HSM begins with, in lower case.
const ACTION_PREFIX: &str = "microsoft.keyvault/managedhsm/";

/// A role that a managed HSM defines.
pub struct LocalRoleDefinitionKind;

/// What it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRoleDefinitionSpec {
    /// What people call it.
    pub role_name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it allows.
    pub data_actions: Vec<ActionPattern>,
    /// What `data_actions` does not mean.
    #[serde(default)]
    pub not_data_actions: Vec<ActionPattern>,
}

/// There is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

/// A role as clients write it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    role_name: Option<String>,
    description: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    assignable_scopes: Option<Vec<String>>,
    permissions: Vec<AskedPermissions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AskedPermissions {
    actions: Option<Vec<String>>,
    not_actions: Option<Vec<String>>,
    data_actions: Option<Vec<ActionPattern>>,
    not_data_actions: Option<Vec<ActionPattern>>,
}

impl LocalRoleDefinitionSpec {
    /// Reads the `properties` of a role that is to be called `id`.
    ///
    /// # Errors
    /// 400 `BadParameter` if it says something that a managed HSM's role cannot be.
    pub fn read(id: RoleDefinitionId, properties: &Value) -> Result<Self, Refusal> {
        let asked =
            Asked::deserialize(properties).map_err(|error| bad(format!("properties: {error}")))?;
        if asked.kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("CustomRole")) {
            return Err(bad("properties.type must be CustomRole"));
        }
        if asked.assignable_scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope != "/")) {
            return Err(bad("properties.assignableScopes must be [\"/\"]"));
        }
        let mut permissions = asked.permissions.into_iter();
        let (Some(one), None) = (permissions.next(), permissions.next()) else {
            return Err(bad("properties.permissions must have exactly one entry"));
        };
        let control = one.actions.iter().chain(&one.not_actions).flatten();
        if control.count() > 0 {
            return Err(bad(
                "actions and notActions mean nothing in a managed HSM; use dataActions",
            ));
        }
        let spec = Self {
            role_name: asked.role_name.unwrap_or_else(|| id.to_string()),
            description: asked.description.unwrap_or_default(),
            data_actions: one.data_actions.unwrap_or_default(),
            not_data_actions: one.not_data_actions.unwrap_or_default(),
        };
        spec.check()?;
        Ok(spec)
    }

    /// The role as decisions take it.
    pub fn definition(self, id: RoleDefinitionId) -> RoleDefinition {
        RoleDefinition {
            id,
            role_name: self.role_name,
            description: self.description,
            actions: Vec::new(),
            not_actions: Vec::new(),
            data_actions: self.data_actions,
            not_data_actions: self.not_data_actions,
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let long = |text: &str| text.chars().count() > TEXT_CHARACTERS_MAX;
        if self.role_name.trim().is_empty() || long(&self.role_name) || long(&self.description) {
            return Err(bad(format!(
                "properties.roleName has 1 to {TEXT_CHARACTERS_MAX} characters, the description as \
                 many at most"
            )));
        }
        let all = || self.data_actions.iter().chain(&self.not_data_actions);
        if self.data_actions.is_empty() || all().count() > ACTIONS_MAX {
            return Err(bad(format!("a role names 1 to {ACTIONS_MAX} dataActions")));
        }
        match all().find(|action| !is_action(action.as_str())) {
            None => Ok(()),
            Some(action) => {
                let shown: String = action.as_str().chars().take(200).collect();
                Err(bad(format!("'{shown}' is no data action of a managed HSM")))
            }
        }
    }
}

impl Kind for LocalRoleDefinitionKind {
    const TYPE: &'static str = "Microsoft.KeyVault/managedHSMs/roleDefinitions";
    const PLACE: Place = Place::Below(ManagedHsmKind::TYPE);
    const WRITABLE: bool = false;

    type Spec = LocalRoleDefinitionSpec;
    type Status = NoStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("local roles are not written by way of ARM").into())
    }
}

/// The roles that a managed HSM defines, as decisions take them.
pub fn local_role_definitions(
    hsm: &ResourceId,
    world: &World,
) -> Result<Vec<RoleDefinition>, Stop> {
    let mut all = Vec::new();
    for record in world.children(hsm, LocalRoleDefinitionKind::TYPE)? {
        let Stored { record, spec, .. } = Stored::<LocalRoleDefinitionKind>::read(record)?;
        let broken = || Refusal::bug(format!("{} is not named by a GUID", record.id));
        let name = record.id.name().unwrap_or_default();
        all.push(spec.definition(name.parse().map_err(|_| broken())?));
    }
    Ok(all)
}

/// The write that defines a role, or defines it anew.
pub fn define_local_role(
    hsm: &ResourceId,
    role: RoleDefinitionId,
    spec: LocalRoleDefinitionSpec,
    system: SystemData,
    world: &World,
) -> Result<Write, Stop> {
    check_not_built_in(role)?;
    let id = record_id(hsm, role)?;
    let record = if let Some(before) = world.stored::<LocalRoleDefinitionKind>(&id)? {
        let SystemData { created_by, created_by_type, created_at, .. } = before.record.system;
        let system = SystemData { created_by, created_by_type, created_at, ..system };
        Record { system, ..before.record }
    } else {
        let known = world.children(hsm, LocalRoleDefinitionKind::TYPE)?.len();
        if known >= LOCAL_ROLE_DEFINITIONS_MAX {
            let text = format!(
                "A managed HSM defines at most {LOCAL_ROLE_DEFINITIONS_MAX} roles of its own."
            );
            return Err(Refusal::new(409, "RoleDefinitionLimitExceeded", text).into());
        }
        Record::blank(id, system)
    };
    let stored = Stored::<LocalRoleDefinitionKind> { record, spec, status: NoStatus {} };
    Ok(stored.into_write()?)
}

/// The write that takes a role away that nobody has.
pub fn remove_local_role_definition(
    hsm: &ResourceId,
    role: RoleDefinitionId,
    world: &World,
) -> Result<Write, Stop> {
    check_not_built_in(role)?;
    for record in world.children(hsm, LocalRoleKind::TYPE)? {
        if Stored::<LocalRoleKind>::read(record)?.spec.role == role {
            let text = "There are existing role assignments referencing role (code: \
                        RoleDefinitionHasAssignments)";
            return Err(Refusal::new(400, "RoleDefinitionHasAssignments", text)
                .with_fix("delete the role's assignments first")
                .into());
        }
    }
    Ok(Write::Remove(record_id(hsm, role)?))
}

fn check_not_built_in(role: RoleDefinitionId) -> Result<(), Refusal> {
    if managed_hsm_roles().iter().all(|known| known.id != role) {
        return Ok(());
    }
    let text = format!("The role definition '{role}' is built in and cannot be changed.");
    Err(Refusal::new(403, "BuiltInRoleCannotBeChanged", text))
}

fn record_id(hsm: &ResourceId, role: RoleDefinitionId) -> Result<ResourceId, Refusal> {
    let name = role.to_string().parse();
    let name = name.map_err(|_| Refusal::bug("a GUID is a resource name"))?;
    Ok(hsm.child("roleDefinitions", &name))
}

/// `Microsoft.KeyVault/managedHsm/…`, with wildcards behind that.
fn is_action(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./*_-".contains(c);
    let lower = text.to_ascii_lowercase();
    lower.strip_prefix(ACTION_PREFIX).is_some_and(|rest| !rest.is_empty())
        && text.chars().all(plain)
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadParameter", text)
}
