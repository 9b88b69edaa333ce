//! The kinds of the directory and the decision on requests, through the engine and records in
//! memory.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod authorization;
mod custom_roles;
mod groups;
mod identities;
mod management_groups;
mod role_assignments;
mod role_definitions;
mod sign_in;
mod tokens;

use custody_ambient::Clock as _;
use custody_directory::{Founding, RoleAuthorizer, found, register};
use custody_names::CorrelationId;
use custody_resources::Registry;
use custody_test_world::control_plane::{ControlPlane, SUBSCRIPTION};
use serde_json::{Value, json};

/// A founded installation with the group `G`.
fn plane() -> ControlPlane {
    let plane = ControlPlane::new(register(Registry::new()), RoleAuthorizer);
    let administrator = ControlPlane::administrator();
    let founding = Founding {
        tenant: administrator.tenant,
        subscription: SUBSCRIPTION[15..].parse().unwrap(),
        subscription_name: "Local".to_owned(),
        administrator: administrator.principal,
        administrator_name: administrator.name,
        now: plane.clock.now(),
        correlation: CorrelationId::from_bytes([1; 16]),
    };
    plane.write(found(&founding).unwrap());
    plane.put(&group(), json!({ "location": "local" })).unwrap();
    plane
}

fn group() -> String {
    format!("{SUBSCRIPTION}/resourceGroups/G")
}

fn identity(name: &str) -> String {
    format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", group())
}

/// The `number`th role assignment at `scope`.
fn assignment(scope: &str, number: u8) -> String {
    let scope = scope.trim_end_matches('/');
    let name = format!("00000000-0000-0000-0000-0000000000{number:02}");
    format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}")
}

/// The body that gives `principal` the role of this name.
fn grant(role: &str, principal: &str) -> Value {
    let definition = custody_directory::role_definitions(Some(role));
    json!({ "properties": {
        "roleDefinitionId": definition["value"][0]["id"],
        "principalId": principal,
        "principalType": "User",
    } })
}
