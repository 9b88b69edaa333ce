//! Management groups with what is below them.

use custody_directory::{self as directory, GroupedSubscription, ManagementGroup};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Request, Stop, World};
use serde_json::{Value, json};

use crate::links;
use crate::views::View;

/// Deepest tree that is shown.
const DEPTH_MAX: usize = 8;

/// `GET …/managementGroups/G?$expand=children[&$recurse=true]`.
pub(crate) fn expanded(view: &View<'_>) -> Result<Value, Refusal> {
    let recurse = view.call.parameter("$recurse").is_some_and(|text| text == "true");
    let request = view.request()?;
    look(view, |world| {
        let record = world.record(&view.place)?;
        let absent = || custody_resources::not_found(&view.place);
        let mut body = view.platform.engine.render(record.ok_or_else(absent)?, &request)?;
        let depth = if recurse { DEPTH_MAX } else { 1 };
        let children = children(view, &view.place, depth, &request, world)?;
        if let Some(Value::Object(properties)) = body.get_mut("properties") {
            properties.insert("children".into(), children.into());
        }
        Ok(body)
    })
}

/// `GET …/managementGroups/G/descendants`, and `…/subscriptions` where `groups` is false.
pub(crate) fn descendants(view: &View<'_>, groups: bool) -> Result<Value, Refusal> {
    let request = view.request()?;
    let shown = look(view, |world| {
        if world.record(&view.place)?.is_none() {
            return Err(custody_resources::not_found(&view.place).into());
        }
        let mut shown = Vec::new();
        let mut open = vec![view.place.clone()];
        while let Some(group) = open.pop() {
            for record in world.children(&group, GroupedSubscription::TYPE)? {
                shown.push(if groups {
                    descendant(&record.id, &group, record.status.get("displayName"))
                } else {
                    view.platform.engine.render(record, &request)?
                });
            }
            if groups {
                for child in directory::children(&group, world)? {
                    let name = child.spec.display_name.as_deref().map(Value::from);
                    shown.push(descendant(&child.record.id, &group, name.as_ref()));
                    open.push(child.record.id);
                }
            }
        }
        Ok(shown)
    })?;
    links::page(view.call, shown)
}

fn look<T>(view: &View<'_>, look: impl FnMut(&World) -> Result<T, Stop>) -> Result<T, Refusal> {
    view.look(&format!("{}/read", ManagementGroup::TYPE), look)
}

fn children(
    view: &View<'_>,
    group: &ResourceId,
    depth: usize,
    request: &Request<'_>,
    world: &World,
) -> Result<Vec<Value>, Stop> {
    let mut all = Vec::new();
    let Some(depth) = depth.checked_sub(1) else { return Ok(all) };
    for child in directory::children(group, world)? {
        let mut shown = view.platform.engine.render(&child.record, request)?;
        let name = shown.pointer_mut("/properties/displayName").map(Value::take);
        let below = children(view, &child.record.id, depth, request, world)?;
        all.push(json!({
            "id": child.record.id,
            "name": child.record.id.name(),
            "type": ManagementGroup::TYPE,
            "displayName": name,
            "children": below,
        }));
    }
    for record in world.children(group, GroupedSubscription::TYPE)? {
        let name = record.id.name();
        all.push(json!({
            "id": format!("/subscriptions/{}", name.unwrap_or_default()),
            "name": name,
            "type": "/subscriptions",
            "displayName": record.status.get("displayName"),
        }));
    }
    Ok(all)
}

fn descendant(id: &ResourceId, parent: &ResourceId, name: Option<&Value>) -> Value {
    json!({
        "id": id,
        "name": id.name(),
        "type": id.resource_type(),
        "properties": {
            "displayName": name.cloned().unwrap_or_else(|| id.name().unwrap_or_default().into()),
            "parent": { "id": parent },
        },
    })
}
