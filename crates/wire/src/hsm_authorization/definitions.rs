//! The roles that can be assigned within a managed HSM: the built-in ones and its own.

use custody_access::{RoleDefinition, managed_hsm_roles};
use custody_key_vault::{
    LocalRoleDefinitionSpec, define_local_role, local_role_definitions,
    remove_local_role_definition,
};
use custody_names::{ResourceId, RoleDefinitionId};
use custody_resources::{Refusal, Stop, SystemData, World};
use serde_json::{Value, json};

use super::{Ask, DEFINITIONS, unknown_role};
use crate::links;

/// The permission to read roles.
const READ: &str = "roleDefinitions/read/action";

impl Ask<'_> {
    pub(super) fn definitions(&self) -> Result<Value, Refusal> {
        let own = self.look(READ, |hsm, world| local_role_definitions(&hsm.id, world))?;
        let built_in = managed_hsm_roles().iter().map(|role| render(role, true));
        links::page(self.call, built_in.chain(own.iter().map(|role| render(role, false))).collect())
    }

    pub(super) fn definition(&self, name: &str) -> Result<Value, Refusal> {
        let role: RoleDefinitionId = name.parse().map_err(|_| unknown_role(name))?;
        self.look(READ, |hsm, world| {
            let found = find(&hsm.id, role, world)?.ok_or_else(|| unknown_role(name))?;
            Ok(render(&found, is_built_in(role)))
        })
    }

    /// Defines a role, or defines it anew: who has it may do what it says from the next request on.
    pub(super) fn define(&self, name: &str) -> Result<Value, Refusal> {
        self.check_root()?;
        let role: RoleDefinitionId = name.parse().map_err(|_| {
            Refusal::new(400, "BadParameter", "the name of a role definition is a GUID")
        })?;
        let properties = self.call.body.get("properties").unwrap_or(&Value::Null);
        let spec = LocalRoleDefinitionSpec::read(role, properties)?;
        let system = SystemData::new(&self.call.caller.name, self.platform.clock.now());
        self.change("roleDefinitions/write/action", 201, |hsm, world| {
            let (spec, system) = (spec.clone(), system.clone());
            let shown = render(&spec.clone().definition(role), false);
            Ok((shown, vec![define_local_role(&hsm.id, role, spec, system, world)?]))
        })
    }

    /// Takes a role away that nobody has, and shows it once more.
    pub(super) fn remove_definition(&self, name: &str) -> Result<Value, Refusal> {
        self.check_root()?;
        let role: RoleDefinitionId = name.parse().map_err(|_| unknown_role(name))?;
        self.change("roleDefinitions/delete/action", 200, |hsm, world| {
            let found = find(&hsm.id, role, world)?.ok_or_else(|| unknown_role(name))?;
            let removed = remove_local_role_definition(&hsm.id, role, world)?;
            Ok((render(&found, is_built_in(role)), vec![removed]))
        })
    }

    /// A definition counts in all of the managed HSM, so a role on keys alone cannot allow to write
    /// it.
    fn check_root(&self) -> Result<(), Refusal> {
        if self.scope.is_root() {
            return Ok(());
        }
        let text = format!("Role definitions are written at '/', not '{}'.", self.scope.as_str());
        Err(Refusal::new(400, "BadParameter", text).with_fix("use / as the scope"))
    }
}

/// The role of this GUID, built in or the managed HSM's own.
pub(super) fn find(
    hsm: &ResourceId,
    role: RoleDefinitionId,
    world: &World,
) -> Result<Option<RoleDefinition>, Stop> {
    let own = local_role_definitions(hsm, world)?;
    let mut all = managed_hsm_roles().iter().cloned().chain(own);
    Ok(all.find(|known| known.id == role))
}

fn is_built_in(role: RoleDefinitionId) -> bool {
    managed_hsm_roles().iter().any(|known| known.id == role)
}

fn render(role: &RoleDefinition, built_in: bool) -> Value {
    json!({
        "id": format!("{DEFINITIONS}/{}", role.id),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.role_name,
            "type": if built_in { "AKVBuiltInRole" } else { "CustomRole" },
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": [],
                "notActions": [],
                "dataActions": role.data_actions,
                "notDataActions": role.not_data_actions,
            }],
        },
    })
}
