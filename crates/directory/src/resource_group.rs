//! Resource groups.

use custody_resources::{
    Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::RoleAssignmentKind;

/// Most resources that a refused deletion names.
const BLOCKERS_NAMED_MAX: usize = 10;

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

    /// A group that holds anything stays. Its own role assignments go with it.
    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let blockers: Vec<&Record> = world
            .members(&current.record.id)?
            .iter()
            .filter(|member| !is_role_assignment(member))
            .collect();
        if blockers.is_empty() { Ok(Removal::default()) } else { Err(held(current, &blockers)) }
    }
}

fn is_role_assignment(record: &Record) -> bool {
    record.id.resource_type().as_str().eq_ignore_ascii_case(RoleAssignmentKind::TYPE)
}

fn held(current: &Stored<ResourceGroup>, blockers: &[&Record]) -> Stop {
    let group = current.record.id.name().unwrap_or_default();
    let named: Vec<String> = blockers
        .iter()
        .take(BLOCKERS_NAMED_MAX)
        .map(|record| {
            format!("{} ({})", record.id.name().unwrap_or_default(), record.id.resource_type())
        })
        .collect();
    let more = match blockers.len().saturating_sub(BLOCKERS_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "the resource group '{group}' still holds {} resource(s): {}{more}",
        blockers.len(),
        named.join(", ")
    );
    Refusal::new(409, "ResourceGroupNotEmpty", text)
        .with_fix("delete these resources first, then the group")
        .into()
}
