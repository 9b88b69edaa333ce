//! Tenants, subscriptions and locations.

use custody_directory::{self as directory, RoleAssignmentKind, Subscription};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Stop, World};
use serde_json::{Value, json};

use crate::links;
use crate::views::View;

/// `GET /tenants`: the caller's own.
pub(crate) fn tenants(view: &View<'_>) -> Result<Value, Refusal> {
    let tenant = view.call.caller.tenant;
    links::page(
        view.call,
        vec![json!({
            "id": format!("/tenants/{tenant}"),
            "tenantId": tenant,
            "displayName": "custody",
            "domains": [],
            "tenantCategory": "Home",
        })],
    )
}

/// `GET /subscriptions`: those of the caller's tenant in which it has a role anywhere.
pub(crate) fn subscriptions(view: &View<'_>) -> Result<Value, Refusal> {
    let request = view.request()?;
    let shown = view.look_freely(|world| {
        let mut shown = Vec::new();
        for record in world.children(&ResourceId::root(), Subscription::TYPE)? {
            if has_role(view, &record.id, world)? {
                let body = view.platform.engine.render(record, &request)?;
                if body.get("tenantId") == Some(&json!(view.call.caller.tenant)) {
                    shown.push(body);
                }
            }
        }
        Ok(shown)
    })?;
    links::page(view.call, shown)
}

fn has_role(view: &View<'_>, subscription: &ResourceId, world: &World) -> Result<bool, Stop> {
    let caller = view.call.caller.principal;
    let above = directory::grants_for(world, subscription)?.assignments;
    if above.iter().any(|assignment| assignment.principal == caller) {
        return Ok(true);
    }
    let below = world.below(subscription, RoleAssignmentKind::TYPE)?;
    let caller = json!(caller);
    Ok(below.iter().any(|record| record.spec.get("principalId") == Some(&caller)))
}

/// `GET S/locations`.
pub(crate) fn locations(view: &View<'_>) -> Result<Value, Refusal> {
    let subscription = &view.place;
    view.look("Microsoft.Resources/subscriptions/locations/read", |world| {
        exists(subscription, world)
    })?;
    let id = |name: &str| format!("{subscription}/locations/{name}");
    let shown = view.platform.locations.iter().map(|region| {
        let pair = region.paired_with.map(|name| json!({ "name": name, "id": id(name) }));
        json!({
            "id": id(region.name.as_str()),
            "name": region.name,
            "type": "Region",
            "displayName": region.display_name,
            "regionalDisplayName": format!("({}) {}", region.geography_group, region.display_name),
            "metadata": {
                "regionType": "Physical",
                "regionCategory": if region.is_own() { "Recommended" } else { "Other" },
                "geography": region.geography,
                "geographyGroup": region.geography_group,
                "pairedRegion": pair.into_iter().collect::<Vec<_>>(),
            },
        })
    });
    Ok(json!({ "value": shown.collect::<Vec<_>>() }))
}

/// Refuses unless the subscription, or group, is there.
pub(crate) fn exists(place: &ResourceId, world: &World) -> Result<(), Stop> {
    if place.parent().is_none() || world.record(place)?.is_some() {
        return Ok(());
    }
    Err(custody_resources::not_found(place).into())
}
