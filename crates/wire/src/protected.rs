//! What Recovery Services vaults show of what they protect, whatever container it lies in.

use custody_backup_vaults::RecoveryServicesVault;
use custody_names::ResourceId;
use custody_protection::{ProtectedItem, ProtectionContainer};
use custody_resources::{Kind as _, Refusal, Stored, World};
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::base::Base;
use crate::filter::{self, Comparison, Term};
use crate::links;
use crate::reply::{self, Body};
use crate::views::View;

/// What can be filtered by, and the properties that it is held against.
const FIELDS: [(&str, &str); 8] = [
    ("backupmanagementtype", "backupManagementType"),
    ("itemtype", "workloadType"),
    ("workloadtype", "workloadType"),
    ("friendlyname", "friendlyName"),
    ("containername", "containerName"),
    ("policyname", "policyName"),
    ("status", "registrationStatus"),
    ("healthstate", "protectedItemHealthStatus"),
];

/// `GET V/backupProtectionContainers`.
pub(crate) fn containers(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    list(view, "backupProtectionContainers", |world| {
        rendered(view, world, ProtectionContainer::TYPE)
    })
}

/// `GET V/backupProtectedItems`.
pub(crate) fn items(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    list(view, "backupProtectedItems", |world| rendered(view, world, ProtectedItem::TYPE))
}

/// `GET V/backupProtectableItems`: the folders that containers name and nobody protects yet.
pub(crate) fn protectable(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    list(view, "backupProtectableItems", |world| {
        let mut all = Vec::new();
        for record in world.below(&view.place, ProtectionContainer::TYPE)? {
            let container = Stored::<ProtectionContainer>::read(record)?;
            let items = world.children(&record.id, ProtectedItem::TYPE)?;
            for name in container.spec.folders.keys() {
                let is_it = |item: &custody_resources::Record| {
                    item.id.name().is_some_and(|item| item.eq_ignore_ascii_case(name))
                };
                if !items.iter().any(is_it) {
                    all.push(protectable_item(&container, name));
                }
            }
        }
        Ok(all)
    })
}

fn protectable_item(container: &Stored<ProtectionContainer>, name: &str) -> Value {
    let id = &container.record.id;
    let kind = name.split(';').next().unwrap_or(name);
    json!({
        "id": format!("{id}/protectableItems/{name}"),
        "name": name,
        "type": format!("{}/protectableItems", ProtectionContainer::TYPE),
        "properties": {
            "backupManagementType": container.spec.backup_management_type,
            "workloadType": container.spec.workload_type,
            "protectableItemType": kind,
            "friendlyName": name.rsplit(';').next(),
            "containerName": id.name(),
            "parentName": container.spec.friendly_name,
            "serverName": container.spec.friendly_name,
            "protectionState": "NotProtected",
        },
    })
}

fn rendered(
    view: &View<'_>,
    world: &World,
    kind: &str,
) -> Result<Vec<Value>, custody_resources::Stop> {
    let request = view.request()?;
    let records = world.below(&view.place, kind)?;
    let all: Result<_, Refusal> =
        records.iter().map(|record| view.platform.engine.render(record, &request)).collect();
    Ok(all?)
}

fn list(
    view: &View<'_>,
    collection: &str,
    all: impl Fn(&World) -> Result<Vec<Value>, custody_resources::Stop>,
) -> Result<Response<Body>, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    let permission = format!("{}/{collection}/read", RecoveryServicesVault::TYPE);
    let mut shown = view.look(&permission, |world| {
        world.expect::<RecoveryServicesVault>(&view.place)?;
        all(world)
    })?;
    for term in &terms {
        let (property, wanted) = wanted(term)?;
        shown.retain(|one| {
            let value = one.get("properties").and_then(|properties| properties.get(property));
            value.and_then(Value::as_str).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        });
    }
    Ok(reply::json(200, Some(&links::page(view.call, shown)?)))
}

fn wanted(term: &Term) -> Result<(&'static str, &str), Refusal> {
    let unknown = || filter::unknown(term);
    let Term::Compare { field, with: Comparison::Equal, value } = term else {
        return Err(unknown());
    };
    let known = FIELDS.iter().find(|(name, _)| name == field);
    known.map(|(_, property)| (*property, value.as_str())).ok_or_else(unknown)
}

/// `GET V/backupFabrics/Azure/protectableContainers`: this machine, until it is registered with the
/// vault. It is what `az backup container register` looks for, and the only one whose folders can be
/// read here.
pub(crate) fn protectable_containers(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    let host = view.platform.host_name();
    let vault = &view.place;
    let subscription = vault.subscription_id().map(|id| id.to_string()).unwrap_or_default();
    let group = vault.resource_group_name().unwrap_or_default();
    let machine = format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/\
         virtualMachines/{host}"
    );
    let name = format!("VMAppContainer;Compute;{group};{host}");
    list(view, "backupFabrics/protectableContainers", |world| {
        let registered = world.below(vault, ProtectionContainer::TYPE)?;
        let is_it = |one: &custody_resources::Record| {
            one.id.name().is_some_and(|one| one.eq_ignore_ascii_case(&name))
        };
        if registered.iter().any(is_it) {
            return Ok(Vec::new());
        }
        Ok(vec![json!({
            "id": format!("{vault}/backupFabrics/Azure/protectableContainers/{name}"),
            "name": name,
            "type": format!("{}/backupFabrics/protectableContainers", RecoveryServicesVault::TYPE),
            "properties": {
                "protectableContainerType": "VMAppContainer",
                "friendlyName": host,
                "backupManagementType": "AzureWorkload",
                "healthStatus": "Healthy",
                "containerId": machine,
            },
        })])
    })
}

/// Whether a request is about a container. Its clients wait for the end of what they asked for at an
/// address that every answer must name.
pub(crate) fn is_container(id: &ResourceId) -> bool {
    id.resource_type().as_str().eq_ignore_ascii_case(ProtectionContainer::TYPE)
}

/// Names that address: with the answer all is done.
pub(crate) fn say_where_it_ends(response: &mut Response<Body>, base: &Base, place: &ResourceId) {
    let link =
        format!("{}{place}/operationResults/{REFRESHED}?api-version=2024-04-01", base.main());
    let headers = response.headers_mut();
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LOCATION, link);
    }
}

/// `POST V/backupFabrics/Azure/refreshContainers`. Folders are named, never discovered: with the
/// answer all is done.
pub(crate) fn refresh(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    permit_refresh(view)?;
    let mut response = reply::json(202, None);
    let link = format!(
        "{}{}/backupFabrics/Azure/operationResults/{REFRESHED}?api-version=2024-04-01",
        view.call.base.main(),
        view.place
    );
    let headers = response.headers_mut();
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LOCATION, link);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(response)
}

/// `GET V/backupFabrics/Azure/operationResults/refreshed`, and the same of a container: done.
pub(crate) fn refreshed(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    permit_refresh(view)?;
    Ok(reply::json(204, None))
}

/// The name of the one result that refreshing has.
pub(crate) const REFRESHED: &str = "refreshed";

fn permit_refresh(view: &View<'_>) -> Result<(), Refusal> {
    let permission =
        format!("{}/backupFabrics/refreshContainers/action", RecoveryServicesVault::TYPE);
    view.look(&permission, |world| world.expect::<RecoveryServicesVault>(&view.place).map(drop))
}
