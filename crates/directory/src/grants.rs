//! What may grant something at a place.

use custody_access::{Grants, RoleAssignment, RoleDefinition, built_in_roles};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Stop, World};

use crate::RoleAssignmentKind;
use crate::custom_role;
use crate::management_group::{DEPTH_MAX, ManagementGroup, grouped_claim, parent_of};
use crate::role_assignment::read;

/// Every role assignment that reaches `scope`: those at it and at each place above it, management
/// groups and the root included. For a key the scope is `…/vaults/NAME/keys/KEY`; the caller sets
/// the permission model of its key vault.
pub fn grants_for(world: &World, scope: &ResourceId) -> Result<Grants, Stop> {
    let mut assignments: Vec<RoleAssignment> = Vec::new();
    for place in lineage(world, scope)? {
        let textually_above = place.contains(scope);
        for record in world.children(&place, RoleAssignmentKind::TYPE)? {
            let mut assignment = read(record)?;
            if !textually_above {
                // A management group's name is no part of the names below it.
                assignment.scope = scope.clone();
            }
            assignments.push(assignment);
        }
    }
    let custom_roles = custom_roles(world, &assignments)?;
    Ok(Grants { assignments, custom_roles, ..Grants::default() })
}

/// The place and all above it, nearest first, ending with the root. Between a subscription and the
/// root stand the management groups that it is below.
pub fn lineage(world: &World, scope: &ResourceId) -> Result<Vec<ResourceId>, Stop> {
    let mut all: Vec<ResourceId> = scope.lineage().collect();
    let root = all.pop();
    let mut group = match all.last() {
        Some(top) if is_group(top) => above(world, top)?,
        Some(top) => match top.subscription_id() {
            Some(subscription) => {
                let holder = world.claimant(&grouped_claim(subscription))?;
                holder.and_then(|record| record.id.parent())
            }
            None => None,
        },
        None => None,
    };
    for _ in 0..DEPTH_MAX {
        let Some(place) = group else { break };
        group = above(world, &place)?;
        all.push(place);
    }
    all.extend(root);
    Ok(all)
}

fn is_group(place: &ResourceId) -> bool {
    place.resource_type().as_str().eq_ignore_ascii_case(ManagementGroup::TYPE)
}

fn above(world: &World, group: &ResourceId) -> Result<Option<ResourceId>, Stop> {
    let stored = world.stored::<ManagementGroup>(group)?;
    Ok(stored.as_ref().and_then(parent_of).cloned())
}

fn custom_roles(
    world: &World,
    assignments: &[RoleAssignment],
) -> Result<Vec<RoleDefinition>, Stop> {
    let mut all: Vec<RoleDefinition> = Vec::new();
    for assignment in assignments {
        let known = |role: &RoleDefinition| role.id == assignment.role;
        if built_in_roles().iter().any(known) || all.iter().any(known) {
            continue;
        }
        if let Some(record) = custom_role::find(world, assignment.role)? {
            all.push(custom_role::definition(record)?);
        }
    }
    Ok(all)
}
