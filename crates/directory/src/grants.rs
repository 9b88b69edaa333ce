//! What may grant something at a place.

use custody_access::{Grants, RoleAssignment};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Stop, World};

use crate::RoleAssignmentKind;
use crate::role_assignment::read;

/// Every role assignment that reaches `scope`: those at it and at each place above it, the root
/// included. For a key the scope is `…/vaults/NAME/keys/KEY`; the caller sets the permission model
/// of its key vault.
pub fn grants_for(world: &World, scope: &ResourceId) -> Result<Grants, Stop> {
    let mut assignments: Vec<RoleAssignment> = Vec::new();
    for place in scope.lineage() {
        let found = world.children(&place, RoleAssignmentKind::TYPE)?;
        let found: Result<Vec<RoleAssignment>, Refusal> = found.iter().map(read).collect();
        assignments.extend(found?);
    }
    Ok(Grants { assignments, ..Grants::default() })
}
