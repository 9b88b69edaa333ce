//! Resource groups.

use custody_names::ResourceId;
use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored, Task, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::RoleAssignmentKind;

/// Most resources that a refused deletion names.
const BLOCKERS_NAMED_MAX: usize = 10;

/// The name of the task that deletes what a group holds, and then the group.
pub const TASK_DELETE_GROUP: &str = "delete-group";

/// `Microsoft.Resources/subscriptions/resourceGroups`.
pub struct ResourceGroup;

/// A group has no properties of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoProperties {}

impl Kind for ResourceGroup {
    const TYPE: &'static str = "Microsoft.Resources/subscriptions/resourceGroups";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions");
    const TRACKED: bool = true;
    const MOVED: &'static str = "InvalidResourceGroupLocation";

    type Spec = NoProperties;
    type Status = NoProperties;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Ok(Plan::done(change.spec, NoProperties {}))
    }

    /// Azure shows groups under another type than it finds them by.
    fn dress(_stored: &Stored<Self>, _request: &Request<'_>, body: &mut Map<String, Value>) {
        body.insert("type".into(), "Microsoft.Resources/resourceGroups".into());
        body.remove("systemData");
        body.remove("etag");
    }

    /// A group that holds nothing goes at once, its own role assignments with it. One that holds
    /// something goes when all that is gone: an operation, which names what stays.
    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let blockers = members(&current.record.id, world)?;
        if blockers.is_empty() {
            return Ok(Removal::default());
        }
        let task = Task { name: TASK_DELETE_GROUP.to_owned(), input: Value::Null };
        Ok(Removal { task: Some(task), writes: Vec::new() })
    }
}

/// What a group holds, its own role assignments aside.
pub fn members<'w>(group: &ResourceId, world: &'w World) -> Result<Vec<&'w Record>, Stop> {
    let all = world.members(group)?.iter();
    Ok(all.filter(|member| !is_role_assignment(member)).collect())
}

fn is_role_assignment(record: &Record) -> bool {
    record.id.resource_type().as_str().eq_ignore_ascii_case(RoleAssignmentKind::TYPE)
}

/// Why a group stays: something in it could not be deleted.
pub fn group_stays(group: &ResourceId, blockers: &[(Record, Refusal)]) -> Refusal {
    let group = group.name().unwrap_or_default();
    let named: Vec<String> = blockers
        .iter()
        .take(BLOCKERS_NAMED_MAX)
        .map(|(record, why)| format!("{} ({}: {})", record.id, why.code, why.message))
        .collect();
    let more = match blockers.len().saturating_sub(BLOCKERS_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "Deletion of resource group '{group}' failed as {} resource(s) in it could not be deleted: \
         {}{more}. The provisioning state of the resource group will be rolled back.",
        blockers.len(),
        named.join("; ")
    );
    Refusal::new(409, "ResourceGroupDeletionBlocked", text)
        .with_fix("mend or delete these resources first, then delete the group again")
}
