//! Resource providers: what the registry knows, as ARM shows it. All of them are registered.

use std::collections::BTreeMap;

use custody_resources::Refusal;
use serde_json::{Value, json};

use crate::links;
use crate::tenancy::exists;
use crate::views::View;

/// The api-versions that are named; any other well-formed one is taken as well.
const API_VERSIONS: [&str; 4] = ["2026-02-01", "2024-11-01", "2022-04-01", "2018-11-30"];
/// Types that are no kinds of the registry, because they are views or stand elsewhere.
const VIEWS: [&str; 23] = [
    "Microsoft.Authorization/permissions",
    "Microsoft.Insights/diagnosticSettingsCategories",
    "Microsoft.Insights/eventtypes",
    "Microsoft.KeyVault/checkMhsmNameAvailability",
    "Microsoft.KeyVault/checkNameAvailability",
    "Microsoft.KeyVault/deletedManagedHSMs",
    "Microsoft.KeyVault/deletedVaults",
    "Microsoft.KeyVault/managedHSMs/keys",
    "Microsoft.KeyVault/managedHSMs/keys/versions",
    "Microsoft.KeyVault/managedHSMs/privateEndpointConnections",
    "Microsoft.KeyVault/managedHSMs/privateLinkResources",
    "Microsoft.KeyVault/managedHSMs/regions",
    "Microsoft.KeyVault/vaults/accessPolicies",
    "Microsoft.KeyVault/vaults/keys",
    "Microsoft.KeyVault/vaults/keys/versions",
    "Microsoft.KeyVault/vaults/privateEndpointConnections",
    "Microsoft.KeyVault/vaults/privateLinkResources",
    "Microsoft.Resources/locations",
    "Microsoft.Resources/providers",
    "Microsoft.Resources/resources",
    "Microsoft.Resources/subscriptions/locations",
    "Microsoft.Resources/tags",
    "Microsoft.Resources/tenants",
];

/// All providers.
pub(crate) fn list(view: &View<'_>) -> Result<Value, Refusal> {
    check(view)?;
    let shown = by_namespace(view).into_values().map(|types| provider(view, &types));
    links::page(view.call, shown.collect())
}

/// One provider, of a namespace in any case.
pub(crate) fn show(view: &View<'_>, namespace: &str) -> Result<Value, Refusal> {
    check(view)?;
    let all = by_namespace(view);
    let types = all.get(&namespace.to_ascii_lowercase()).ok_or_else(|| {
        let shown: String = namespace.chars().take(200).collect();
        let text = format!("The resource namespace '{shown}' is invalid.");
        Refusal::new(404, "InvalidResourceNamespace", text)
    })?;
    Ok(provider(view, types))
}

fn check(view: &View<'_>) -> Result<(), Refusal> {
    if view.place.parent().is_none() {
        // What there is at all is no secret of any tenant's.
        return Ok(());
    }
    view.look("Microsoft.Resources/subscriptions/providers/read", |world| {
        exists(&view.place, world)
    })
}

/// The types of every namespace; a type is its full name and whether it has a location.
fn by_namespace(view: &View<'_>) -> BTreeMap<String, Vec<(&'static str, bool)>> {
    let kinds = view.platform.engine.registry().iter();
    let kinds = kinds.map(|kind| (kind.resource_type(), kind.tracked()));
    let mut all: BTreeMap<String, Vec<(&'static str, bool)>> = BTreeMap::new();
    for (name, tracked) in kinds.chain(VIEWS.map(|name| (name, false))) {
        let namespace = name.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let types = all.entry(namespace).or_default();
        if types.iter().all(|(other, _)| !other.eq_ignore_ascii_case(name)) {
            types.push((name, tracked));
        }
    }
    all
}

fn provider(view: &View<'_>, types: &[(&'static str, bool)]) -> Value {
    let places = view.platform.locations.iter();
    let locations: Vec<&str> = places.map(|place| place.display_name.as_str()).collect();
    let namespace = types.first().and_then(|(name, _)| name.split('/').next()).unwrap_or_default();
    let shown = types.iter().filter_map(|(name, tracked)| {
        let (_, name) = name.split_once('/')?;
        let capabilities = if *tracked { "SupportsTags, SupportsLocation" } else { "None" };
        Some(json!({
            "resourceType": name,
            "locations": if *tracked { locations.clone() } else { Vec::new() },
            "apiVersions": API_VERSIONS,
            "capabilities": capabilities,
        }))
    });
    let place = view.place.as_str().trim_end_matches('/');
    json!({
        "id": format!("{place}/providers/{namespace}"),
        "namespace": namespace,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationFree",
        "resourceTypes": shown.collect::<Vec<_>>(),
    })
}
