//! Resources of all kinds at once: by filter, and by tag.

use std::collections::BTreeMap;

use custody_directory::{ResourceGroup, check_tenant};
use custody_resources::{Kind as _, Record, Refusal, Stop, World};
use serde_json::{Map, Value, json};

use crate::filter::{self, Comparison, Term};
use crate::links;
use crate::tenancy::exists;
use crate::views::View;

/// What generic lists show of a resource.
const SHOWN: [&str; 8] = ["id", "name", "type", "kind", "location", "identity", "sku", "tags"];

/// `GET S/resources` and `GET S/resourceGroups/G/resources`: those that the caller may read.
pub(crate) fn resources(view: &View<'_>) -> Result<Value, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    let expand = view.call.parameter("$expand").unwrap_or_default().to_ascii_lowercase();
    let request = view.request()?;
    let shown = view.look_freely(|world| {
        check_tenant(&view.call.caller, &view.place, world)?;
        exists(&view.place, world)?;
        let mut shown = Vec::new();
        for record in tracked(view, world)? {
            if matches(record, &terms)? {
                let whole = view.platform.engine.render(record, &request)?;
                shown.push(generic(record, whole, &expand));
            }
        }
        Ok(shown)
    })?;
    links::page(view.call, shown)
}

/// `GET S/resourceGroups?$filter=tagName eq 'a' and tagValue eq 'b'`.
pub(crate) fn groups(view: &View<'_>) -> Result<Value, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    let request = view.request()?;
    let permission = format!("{}/read", ResourceGroup::TYPE);
    let shown = view.look(&permission, |world| {
        exists(&view.place, world)?;
        let mut shown = Vec::new();
        for record in world.children(&view.place, ResourceGroup::TYPE)? {
            if matches(record, &terms)? {
                shown.push(view.platform.engine.render(record, &request)?);
            }
        }
        Ok(shown)
    })?;
    links::page(view.call, shown)
}

/// `GET S/tagNames`: the tags in use, with how often.
pub(crate) fn tag_names(view: &View<'_>) -> Result<Value, Refusal> {
    let used = view.look("Microsoft.Resources/subscriptions/tagNames/read", |world| {
        exists(&view.place, world)?;
        let mut used: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let groups = world.children(&view.place, ResourceGroup::TYPE)?;
        for record in groups.iter().chain(tracked(view, world)?) {
            for (name, value) in &record.tags {
                *used.entry(name.clone()).or_default().entry(value.clone()).or_default() += 1;
            }
        }
        Ok(used)
    })?;
    let count =
        |value: u64| json!({ "type": if value > 0 { "Total" } else { "Partial" }, "value": value });
    let shown = used.into_iter().map(|(name, values)| {
        let id = format!("{}/tagNames/{name}", view.place);
        let total = values.values().sum();
        let values = values.into_iter().map(|(value, times)| {
            json!({ "id": format!("{id}/tagValues/{value}"), "tagValue": value, "count": count(times) })
        });
        let values: Vec<Value> = values.collect();
        json!({ "id": id, "tagName": name, "count": count(total), "values": values })
    });
    links::page(view.call, shown.collect())
}

/// The resources with a location below the place, without groups, that the caller may read.
fn tracked<'w>(view: &View<'_>, world: &'w World) -> Result<Vec<&'w Record>, Stop> {
    let mut all = Vec::new();
    for kind in view.platform.engine.registry().iter() {
        if !kind.tracked() || kind.resource_type().eq_ignore_ascii_case(ResourceGroup::TYPE) {
            continue;
        }
        let permission = format!("{}/read", kind.resource_type());
        let records = world.below(&view.place, kind.resource_type())?;
        let everywhere = !records.is_empty() && view.may(&permission, &view.place, world)?;
        for record in records {
            if everywhere || view.may(&permission, &record.id, world)? {
                all.push(record);
            }
        }
    }
    all.sort_by_key(|record| record.id.canonical());
    Ok(all)
}

fn matches(record: &Record, terms: &[Term]) -> Result<bool, Refusal> {
    let mut tag: (Option<&str>, Option<&str>) = (None, None);
    for term in terms {
        let holds = match term {
            Term::Compare { field, with, value }
                if field == "tagname" && *with == Comparison::Equal =>
            {
                tag.0 = Some(value);
                true
            }
            Term::Compare { field, with, value }
                if field == "tagvalue" && *with == Comparison::Equal =>
            {
                tag.1 = Some(value);
                true
            }
            Term::Compare { field, with, value } => {
                let own = field_of(record, field).ok_or_else(|| filter::unknown(term))?;
                match with {
                    Comparison::Equal => own.eq_ignore_ascii_case(&plain(field, value)),
                    Comparison::NotEqual => !own.eq_ignore_ascii_case(&plain(field, value)),
                    Comparison::AtLeast | Comparison::AtMost => return Err(filter::unknown(term)),
                }
            }
            Term::Call { name, arguments } => match (name.as_str(), arguments.as_slice()) {
                ("substringof", [part, field]) | ("contains", [field, part]) => {
                    let own = field_of(record, field).ok_or_else(|| filter::unknown(term))?;
                    own.to_lowercase().contains(&part.to_lowercase())
                }
                ("startswith", [field, part]) => {
                    let own = field_of(record, field).ok_or_else(|| filter::unknown(term))?;
                    own.to_lowercase().starts_with(&part.to_lowercase())
                }
                _ => return Err(filter::unknown(term)),
            },
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(has_tag(record, tag))
}

fn has_tag(record: &Record, wanted: (Option<&str>, Option<&str>)) -> bool {
    let named = |name: &str| wanted.0.is_none_or(|wanted| name.eq_ignore_ascii_case(wanted));
    let valued = |value: &str| wanted.1.is_none_or(|wanted| value == wanted);
    wanted == (None, None) || record.tags.iter().any(|(name, value)| named(name) && valued(value))
}

/// Locations are compared in their normal form.
fn plain(field: &str, value: &str) -> String {
    if field == "location" { value.replace(' ', "") } else { value.to_owned() }
}

fn field_of(record: &Record, field: &str) -> Option<String> {
    match field {
        "resourcetype" => Some(record.id.resource_type().as_str().to_owned()),
        "name" => Some(record.id.name().unwrap_or_default().to_owned()),
        "resourcegroup" => Some(record.id.resource_group_name().unwrap_or_default().to_owned()),
        "location" => Some(record.location.as_ref().map(ToString::to_string).unwrap_or_default()),
        "id" => Some(record.id.to_string()),
        _ => None,
    }
}

fn generic(record: &Record, mut whole: Value, expand: &str) -> Value {
    let state = whole.pointer("/properties/provisioningState").cloned();
    let sku = whole.pointer("/properties/sku").cloned();
    let mut shown = Map::new();
    if let Value::Object(fields) = &mut whole {
        for name in SHOWN {
            if let Some(value) = fields.remove(name) {
                shown.insert(name.to_owned(), value);
            }
        }
    }
    if let Some(sku) = sku {
        shown.entry("sku").or_insert(sku);
    }
    let mut add = |name: &str, value: Value| {
        if expand.contains(&name.to_ascii_lowercase()) {
            shown.insert(name.to_owned(), value);
        }
    };
    add("createdTime", json!(record.system.created_at));
    add("changedTime", json!(record.system.last_modified_at));
    add("provisioningState", state.unwrap_or_default());
    Value::Object(shown)
}
