//! `{scope}/providers/Microsoft.Resources/tags/default`: the tags of one resource, by themselves.

use std::collections::BTreeMap;

use custody_resources::{Precondition, Refusal, Verb, World};
use http::Method;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::arm;
use crate::tenancy::exists;
use crate::views::View;

/// Tags by name.
type Tags = BTreeMap<String, String>;

/// Shows the tags or changes them. To change them takes the right to write the resource, for a
/// change of tags is a change of the resource; between look and change nobody else's is lost.
pub(crate) fn answer(view: &View<'_>) -> Result<Value, Refusal> {
    let (tags, etag) = found(view)?;
    if view.call.method == Method::GET {
        return Ok(shown(view, &tags));
    }
    let tags = wanted(view, tags)?;
    let platform = view.platform;
    let mut request = arm::request(platform, view.call, view.place.clone(), None, Verb::Patch)?;
    request.body = json!({ "tags": tags });
    request.if_match = Some(Precondition::Etag(etag));
    if let Some(operation) = platform.decide(&request)?.operation {
        platform.begin(operation);
    }
    Ok(shown(view, &tags))
}

/// The resource's tags and the etag that they were seen at.
fn found(view: &View<'_>) -> Result<(Tags, String), Refusal> {
    let kind = view.place.resource_type();
    let known = view.platform.engine.registry().find(kind.as_str());
    if !known.is_some_and(custody_resources::Erased::tracked) {
        return Err(Refusal::bad_request(format!("resources of type {kind} have no tags")));
    }
    view.look("Microsoft.Resources/tags/read", |world: &World| {
        exists(&view.place, world)?;
        let record = world.record(&view.place)?;
        Ok(record.map(|record| (record.tags.clone(), record.etag())).unwrap_or_default())
    })
}

/// The tags after the change.
fn wanted(view: &View<'_>, mut tags: Tags) -> Result<Tags, Refusal> {
    let body = &view.call.body;
    if view.call.method == Method::DELETE {
        return Ok(Tags::new());
    }
    let asked = body.pointer("/properties/tags").unwrap_or(&Value::Null);
    let asked = Option::<Tags>::deserialize(asked)
        .map_err(|error| Refusal::bad_request(format!("properties.tags: {error}")))?
        .unwrap_or_default();
    let operation = match (view.call.method.as_str(), body.get("operation").and_then(Value::as_str))
    {
        ("PUT", _) => "replace".to_owned(),
        (_, given) => given.unwrap_or_default().to_ascii_lowercase(),
    };
    match operation.as_str() {
        "replace" => return Ok(asked),
        "merge" => {
            for (name, value) in asked {
                // Names are told apart without their case.
                tags.retain(|other, _| !other.eq_ignore_ascii_case(&name));
                tags.insert(name, value);
            }
        }
        "delete" => tags.retain(|name, value| {
            !asked.iter().any(|(other, gone)| other.eq_ignore_ascii_case(name) && gone == value)
        }),
        _ => {
            let text = "operation must be Replace, Merge or Delete";
            return Err(Refusal::bad_request(text));
        }
    }
    Ok(tags)
}

fn shown(view: &View<'_>, tags: &Tags) -> Value {
    json!({
        "id": format!("{}/providers/Microsoft.Resources/tags/default", view.place),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": { "tags": tags },
    })
}
