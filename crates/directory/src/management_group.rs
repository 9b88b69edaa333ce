//! Management groups: a tree above the subscriptions of a tenant, for grants that reach many.

use custody_names::{ResourceId, SubscriptionId, TenantId};
use custody_resources::{
    Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World, Write,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::subscription_tenant;

/// Most management groups above one another (Azure's limit, the root one aside).
pub(crate) const DEPTH_MAX: usize = 6;
/// Longest name, in characters (Azure's limit).
const NAME_CHARACTERS_MAX: usize = 90;
/// The permission to put something below a management group.
const WRITE: &str = "Microsoft.Management/managementGroups/write";
/// The permission that a subscription's owner has and others have not.
const GRANT: &str = "Microsoft.Authorization/roleAssignments/write";

/// `Microsoft.Management/managementGroups`.
pub struct ManagementGroup;

/// What a client may write of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagementGroupSpec {
    /// The name people see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where it stands.
    pub details: ManagementGroupDetails,
}

/// Where a management group stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagementGroupDetails {
    /// The group above it; none stands directly below the tenant. Clients that know of none
    /// write one without an identifier.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "named_parent")]
    pub parent: Option<ManagementGroupParent>,
}

/// The group above another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementGroupParent {
    /// Its identifier.
    pub id: ResourceId,
}

fn named_parent<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ManagementGroupParent>, D::Error> {
    #[derive(Deserialize)]
    struct Given {
        id: Option<ResourceId>,
    }
    let given = Option::<Given>::deserialize(deserializer)?;
    Ok(given.and_then(|given| given.id).map(|id| ManagementGroupParent { id }))
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagementGroupStatus {
    /// Its tenant.
    pub tenant_id: TenantId,
}

/// `Microsoft.Management/managementGroups/subscriptions`: that a subscription is below a group.
pub struct GroupedSubscription;

/// There is nothing to say beside which and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoSpec {}

/// What is shown of the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupedSubscriptionStatus {
    /// Its tenant.
    pub tenant: String,
    /// The name people see.
    pub display_name: String,
    /// The group that it is below.
    pub parent: ManagementGroupParent,
    /// `Enabled`.
    pub state: String,
}

/// The claim by which a subscription is below one management group at most.
pub(crate) fn grouped_claim(subscription: SubscriptionId) -> String {
    format!("management-group-of:{subscription}")
}

impl Kind for ManagementGroup {
    const TYPE: &'static str = "Microsoft.Management/managementGroups";
    const PLACE: Place = Place::Root;
    // The client takes no 201, and for a deletion no 200.
    const ANSWERS: custody_resources::Answers = custody_resources::Answers {
        created: 200,
        deleted: 204,
        ..custody_resources::Answers::USUAL
    };

    type Spec = ManagementGroupSpec;
    type Status = ManagementGroupStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let tenant = change.request.caller.tenant;
        let id = change.before.map_or(&change.request.id, |stored| &stored.record.id);
        check_name(id.name().unwrap_or_default())?;
        let mut spec = change.spec;
        if let Some(stored) = change.before {
            check_tenant(stored, tenant)?;
            // A PUT that names no parent does not move the group.
            spec.details.parent = spec.details.parent.or(stored.spec.details.parent.clone());
            spec.display_name = spec.display_name.or(stored.spec.display_name.clone());
        }
        let moved = change.before.is_none_or(|stored| stored.spec.details != spec.details);
        let mut plan = Plan::<Self>::done(spec, ManagementGroupStatus { tenant_id: tenant });
        if moved {
            if let Some(parent) = &plan.spec.details.parent {
                check_parent(id, &parent.id, tenant, world)?;
                plan.linked.push((WRITE.to_owned(), parent.id.clone()));
            }
            plan.writes.push(Write::RaiseRevocation);
        }
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        check_tenant(current, request.caller.tenant)?;
        let id = &current.record.id;
        let groups = !children(id, world)?.is_empty();
        if groups || !world.children(id, GroupedSubscription::TYPE)?.is_empty() {
            let name = id.name().unwrap_or_default();
            let text = format!("The management group '{name}' has children and cannot be deleted.");
            return Err(Refusal::new(409, "ManagementGroupNotEmpty", text)
                .with_fix("move its subscriptions and groups elsewhere first")
                .into());
        }
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
    }

    fn dress(stored: &Stored<Self>, _request: &Request<'_>, body: &mut Map<String, Value>) {
        let name = stored.record.id.name().unwrap_or_default();
        let details = json!({
            "version": stored.record.revision,
            "updatedTime": stored.record.system.last_modified_at,
            "updatedBy": stored.record.system.last_modified_by,
            "parent": parent_of(stored).map(|id| json!({ "id": id, "name": id.name() })),
        });
        let properties = json!({
            "tenantId": stored.status.tenant_id,
            "displayName": stored.spec.display_name.as_deref().unwrap_or(name),
            "details": details,
        });
        body.insert("properties".into(), properties);
        body.remove("systemData");
    }
}

impl Kind for GroupedSubscription {
    const TYPE: &'static str = "Microsoft.Management/managementGroups/subscriptions";
    const PLACE: Place = Place::Below(ManagementGroup::TYPE);
    const ANSWERS: custody_resources::Answers = custody_resources::Answers {
        created: 200,
        deleted: 204,
        ..custody_resources::Answers::USUAL
    };

    type Spec = NoSpec;
    type Status = GroupedSubscriptionStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        let subscription = subscription(id)?;
        let place = ResourceId::subscription(subscription);
        let absent = || custody_resources::not_found(&place);
        let record = world.record(&place)?.ok_or_else(absent)?;
        let tenant = change.request.caller.tenant;
        if subscription_tenant(record).is_some_and(|own| own != tenant) {
            return Err(absent().into());
        }
        let parent = id.parent().unwrap_or_else(ResourceId::root);
        check_tenant(&world.expect::<ManagementGroup>(&parent)?, tenant)?;
        let name = record.spec.get("displayName").and_then(Value::as_str).unwrap_or_default();
        let status = GroupedSubscriptionStatus {
            tenant: tenant.to_string(),
            display_name: name.to_owned(),
            parent: ManagementGroupParent { id: parent },
            state: "Enabled".to_owned(),
        };
        let mut plan = Plan::done(NoSpec {}, status);
        let before = world.claimant(&grouped_claim(subscription))?;
        if let Some(elsewhere) = before.filter(|record| record.id != *id) {
            plan.writes.push(Write::Remove(elsewhere.id.clone()));
        }
        plan.writes.push(Write::RaiseRevocation);
        plan.linked.push((GRANT.to_owned(), place));
        Ok(plan)
    }

    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
    }

    fn claim(id: &ResourceId) -> Option<String> {
        subscription(id).ok().map(grouped_claim)
    }
}

/// The group above, if it stands below one.
pub(crate) fn parent_of(group: &Stored<ManagementGroup>) -> Option<&ResourceId> {
    group.spec.details.parent.as_ref().map(|parent| &parent.id)
}

/// The groups directly below a group.
pub fn children(group: &ResourceId, world: &World) -> Result<Vec<Stored<ManagementGroup>>, Stop> {
    let mut all = Vec::new();
    for record in world.children(&ResourceId::root(), ManagementGroup::TYPE)? {
        let stored = Stored::<ManagementGroup>::read(record)?;
        if parent_of(&stored) == Some(group) {
            all.push(stored);
        }
    }
    Ok(all)
}

fn subscription(id: &ResourceId) -> Result<SubscriptionId, Refusal> {
    id.name().unwrap_or_default().parse().map_err(|_| {
        Refusal::new(400, "InvalidSubscriptionId", format!("{id} names no subscription"))
    })
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_().".contains(c);
    if name.len() <= NAME_CHARACTERS_MAX && name.chars().all(plain) && !name.ends_with('.') {
        return Ok(());
    }
    let text = format!("'{name}' cannot name a management group.");
    Err(Refusal::new(400, "InvalidManagementGroupName", text))
}

/// Names of groups are unique over all tenants; another tenant's group is not there.
fn check_tenant(group: &Stored<ManagementGroup>, tenant: TenantId) -> Result<(), Refusal> {
    if group.status.tenant_id == tenant {
        return Ok(());
    }
    Err(custody_resources::not_found(&group.record.id))
}

/// The parent is there, and neither the group itself nor below it, and not too far down.
fn check_parent(
    id: &ResourceId,
    parent: &ResourceId,
    tenant: TenantId,
    world: &World,
) -> Result<(), Stop> {
    let wrong = |text: String| Refusal::new(400, "InvalidManagementGroupParent", text);
    let mut above = Some(parent.clone());
    for _ in 0..DEPTH_MAX {
        let Some(place) = above else { return Ok(()) };
        if place == *id {
            return Err(wrong(format!("{id} cannot stand below itself")).into());
        }
        let group = world.stored::<ManagementGroup>(&place)?;
        let group = group.ok_or_else(|| wrong(format!("there is no management group {place}")))?;
        check_tenant(&group, tenant)?;
        above = parent_of(&group).cloned();
    }
    Err(wrong(format!("management groups stand at most {DEPTH_MAX} deep")).into())
}
