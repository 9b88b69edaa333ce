//! ARM paths that show something else than one record or the records of one kind.

use std::sync::Arc;

use custody_backup_vaults::Vault;
use custody_directory::CustomRole;
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Request, Stop, Verb, World};
use custody_worker::{Platform, fault, key_health};
use http::{Method, Response};
use serde_json::Value;

use crate::reply::{self, Body};
use crate::server::Call;
use crate::{
    activity_log, arm, authorization, diagnostics, guard_requests, inventory, management, moves,
    name_checks, private_links, protected, providers, recovery_services, tags, tenancy,
};

/// A view under way: the platform, the request and the place that it is about.
pub(crate) struct View<'v> {
    pub(crate) platform: &'v Arc<Platform>,
    pub(crate) call: &'v Call<'v>,
    pub(crate) place: ResourceId,
}

/// Where the record of a request stands that names it by another path: a custom role is one,
/// whatever scope it is named below.
pub(crate) fn record_of(
    platform: &Arc<Platform>,
    call: &Call<'_>,
    id: ResourceId,
) -> Result<ResourceId, Refusal> {
    if !id.resource_type().as_str().eq_ignore_ascii_case(CustomRole::TYPE) {
        return Ok(id);
    }
    let name = id.name().unwrap_or_default().to_owned();
    let view = View { platform, call, place: id };
    let found = authorization::record_of(&view, &name)?;
    Ok(found.unwrap_or(view.place))
}

/// Answers if the path is one of a view.
pub(crate) fn answer(
    platform: &Arc<Platform>,
    call: &Call<'_>,
) -> Result<Option<Response<Body>>, Refusal> {
    let segments = crate::address::segments(&call.path);
    let lower: Vec<String> = segments.iter().map(|part| part.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    // Every view is named by its last words; what stands before them is its place.
    let at = |length: usize| -> Result<View<'_>, Refusal> {
        let place = segments.get(..segments.len().saturating_sub(length)).unwrap_or_default();
        let place = format!("/{}", place.join("/"));
        let place = place.parse().map_err(|error: custody_names::InvalidName| {
            Refusal::new(400, "InvalidResourceId", error.to_string())
        })?;
        Ok(View { platform, call, place })
    };
    if let [
        ..,
        "microsoft.keyvault",
        "vaults" | "managedhsms",
        _,
        "privateendpointconnections",
        _,
    ] = words.as_slice()
    {
        let name = segments.last().copied().unwrap_or_default();
        return private_links::connection(&at(2)?, name).map(Some);
    }
    if let [
        "subscriptions",
        _,
        "resourcegroups",
        _,
        word @ ("moveresources" | "validatemoveresources"),
    ] = words.as_slice()
        && *call.method == Method::POST
    {
        return moves::answer(&at(1)?, *word == "validatemoveresources").map(Some);
    }
    if let Some(response) = of_recovery_services(call, &words, &at)? {
        return Ok(Some(response));
    }
    if let [.., "backupvaults" | "vaults", _, "keyhealth"] = words.as_slice()
        && let Some(body) = health_of_keys(&at(1)?)?
    {
        return Ok(Some(reply::json(200, Some(&body))));
    }
    let body = match of_resources(call, &words, &at)? {
        Some(body) => Some(body),
        None => match of_key_holders(call, &words, &at)? {
            Some(body) => Some(body),
            None => match of_guards(call, &words, &at)? {
                Some(body) => Some(body),
                None => of_providers(call, &words, &at)?,
            },
        },
    };
    Ok(body.map(|body| reply::json(200, Some(&body))))
}

/// Makes the view whose place is the path without its last words, so many of them.
type At<'a, 'v> = dyn Fn(usize) -> Result<View<'v>, Refusal> + 'a;

/// Tenants, subscriptions and what lies in them.
fn of_resources(
    call: &Call<'_>,
    words: &[&str],
    at: &At<'_, '_>,
) -> Result<Option<Value>, Refusal> {
    Ok(Some(match (call.method, words) {
        (&Method::GET, ["tenants"]) => tenancy::tenants(&at(1)?)?,
        (&Method::GET, ["subscriptions"]) => tenancy::subscriptions(&at(1)?)?,
        (&Method::GET, ["subscriptions", _, "locations"]) => tenancy::locations(&at(1)?)?,
        (&Method::GET, ["providers"] | ["subscriptions", _, "providers"]) => {
            providers::list(&at(1)?)?
        }
        (&Method::GET, ["providers", name] | ["subscriptions", _, "providers", name]) => {
            providers::show(&at(2)?, name)?
        }
        (&Method::POST, ["subscriptions", _, "providers", name, "register" | "unregister"]) => {
            providers::show(&at(3)?, name)?
        }
        (
            &Method::GET,
            ["subscriptions", _, "resources"]
            | ["subscriptions", _, "resourcegroups", _, "resources"],
        ) => inventory::resources(&at(1)?)?,
        (&Method::GET, ["subscriptions", _, "resourcegroups"])
            if call.parameter("$filter").is_some() =>
        {
            inventory::groups(&at(1)?)?
        }
        (&Method::GET, ["subscriptions", _, "tagnames"]) => inventory::tag_names(&at(1)?)?,
        _ => return Ok(None),
    }))
}

/// What Recovery Services vaults show besides themselves.
fn of_recovery_services(
    call: &Call<'_>,
    words: &[&str],
    at: &At<'_, '_>,
) -> Result<Option<Response<Body>>, Refusal> {
    if let [
        ..,
        "microsoft.recoveryservices",
        "vaults",
        _,
        "backupfabrics",
        "azure",
        "refreshcontainers",
    ] = words
        && *call.method == Method::POST
    {
        return protected::refresh(&at(3)?).map(Some);
    }
    if let [.., "vaults", _, "backupfabrics", "azure", "operationresults", protected::REFRESHED] =
        words
    {
        return protected::refreshed(&at(4)?).map(Some);
    }
    if let [
        ..,
        "vaults",
        _,
        "backupfabrics",
        "azure",
        "protectioncontainers",
        _,
        "operationresults",
        protected::REFRESHED,
    ] = words
    {
        return protected::refreshed(&at(6)?).map(Some);
    }
    if let [.., "vaults", _, "backupfabrics", "azure", "protectablecontainers"] = words
        && *call.method == Method::GET
    {
        return protected::protectable_containers(&at(3)?).map(Some);
    }
    let [.., "providers", "microsoft.recoveryservices", "vaults", _, collection] = words else {
        let [.., "microsoft.recoveryservices", "vaults", _, collection, name] = words else {
            return Ok(None);
        };
        return match (*collection, *name) {
            ("backupencryptionconfigs", "backupresourceencryptionconfig") => {
                recovery_services::encryption(&at(2)?).map(Some)
            }
            ("backupconfig", "vaultconfig") => {
                recovery_services::SOFT_DELETE.answer(&at(2)?).map(Some)
            }
            ("backupstorageconfig", "vaultstorageconfig") => {
                recovery_services::REDUNDANCY.answer(&at(2)?).map(Some)
            }
            _ => Ok(None),
        };
    };
    match *collection {
        "backupprotectioncontainers" => protected::containers(&at(1)?).map(Some),
        "backupprotecteditems" => protected::items(&at(1)?).map(Some),
        "backupprotectableitems" => protected::protectable(&at(1)?).map(Some),
        _ => Ok(None),
    }
}

/// `GET V/keyHealth`, of vaults of either kind.
fn health_of_keys(view: &View<'_>) -> Result<Option<Value>, Refusal> {
    if *view.call.method != Method::GET || !Vault::is_vault(&view.place) {
        return Ok(None);
    }
    let permission = format!("{}/keyHealth/read", view.place.resource_type());
    view.look(&permission, |world| Vault::expect(&view.place, world).map(drop))?;
    key_health::show(view.platform, &view.place).map(Some)
}

/// What key vaults and managed HSMs show besides themselves.
fn of_key_holders(
    call: &Call<'_>,
    words: &[&str],
    at: &At<'_, '_>,
) -> Result<Option<Value>, Refusal> {
    if *call.method != Method::GET {
        return Ok(None);
    }
    Ok(Some(match words {
        [.., "microsoft.keyvault", "vaults" | "managedhsms", _, "privateendpointconnections"] => {
            private_links::none(&at(1)?, "privateEndpointConnections")?
        }
        [.., "microsoft.keyvault", "vaults" | "managedhsms", _, "privatelinkresources"] => {
            private_links::none(&at(1)?, "privateLinkResources")?
        }
        [.., "microsoft.keyvault", "managedhsms", _, "regions"] => private_links::regions(&at(1)?)?,
        _ => return Ok(None),
    }))
}

/// What resource guards show besides themselves.
fn of_guards(call: &Call<'_>, words: &[&str], at: &At<'_, '_>) -> Result<Option<Value>, Refusal> {
    if *call.method != Method::GET {
        return Ok(None);
    }
    match words {
        [.., "microsoft.dataprotection", "resourceguards", _, requests] => {
            guard_requests::list(&at(1)?, requests)
        }
        [.., "microsoft.dataprotection", "resourceguards", _, requests, name] => {
            guard_requests::show(&at(2)?, requests, name)
        }
        _ => Ok(None),
    }
}

/// What single providers show besides their resources.
fn of_providers(
    call: &Call<'_>,
    words: &[&str],
    at: &At<'_, '_>,
) -> Result<Option<Value>, Refusal> {
    Ok(Some(match (call.method, words) {
        (&Method::GET, [.., "providers", "microsoft.authorization", "roledefinitions"]) => {
            authorization::role_definitions(&at(3)?)?
        }
        (&Method::GET, [.., "providers", "microsoft.authorization", "roledefinitions", name]) => {
            authorization::role_definition(&at(4)?, name)?
        }
        (&Method::GET, [.., "providers", "microsoft.authorization", "roleassignments"]) => {
            authorization::role_assignments(&at(3)?)?
        }
        (&Method::GET, [.., "providers", "microsoft.authorization", "permissions"]) => {
            authorization::permissions(&at(3)?)?
        }
        (&Method::GET, [.., "microsoft.insights", "diagnosticsettingscategories"]) => {
            diagnostics::categories(&at(3)?)?
        }
        (&Method::GET, [.., "microsoft.insights", "diagnosticsettingscategories", name]) => {
            diagnostics::category(&at(4)?, name)?
        }
        (&Method::GET, ["providers", "microsoft.management", "managementgroups", _])
            if call.parameter("$expand").is_some() =>
        {
            management::expanded(&at(0)?)?
        }
        (&Method::GET, ["providers", "microsoft.management", "managementgroups", _, word])
            if ["descendants", "subscriptions"].contains(word) =>
        {
            management::descendants(&at(1)?, *word == "descendants")?
        }
        (
            &Method::GET | &Method::PUT | &Method::PATCH | &Method::DELETE,
            [.., "providers", "microsoft.resources", "tags", "default"],
        ) => tags::answer(&at(4)?)?,
        (
            &Method::POST,
            ["subscriptions", _, "providers", "microsoft.keyvault", "checknameavailability"],
        ) => name_checks::check(&at(3)?, "")?,
        (
            &Method::POST,
            ["subscriptions", _, "providers", "microsoft.keyvault", "checkmhsmnameavailability"],
        ) => name_checks::check(&at(3)?, "Mhsm")?,
        (
            &Method::GET,
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.insights",
                "eventtypes",
                "management",
                "values",
            ],
        ) => activity_log::events(&at(5)?)?,
        _ => return Ok(None),
    }))
}

impl<'v> View<'v> {
    /// Looks at the records, if the caller has the permission at the place.
    pub(crate) fn look<T>(
        &self,
        permission: &str,
        mut look: impl FnMut(&World) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        self.look_freely(|world| {
            self.platform.engine.permit(&self.call.caller, permission, &self.place, world)?;
            look(world)
        })
    }

    /// Looks at the records where what is shown depends on what the caller may see.
    pub(crate) fn look_freely<T>(
        &self,
        mut look: impl FnMut(&World) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        let mut found = None;
        let looked = self.platform.records.view(&mut |world| {
            found = Some(look(world)?);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        found.ok_or_else(|| Refusal::bug("a view looked and saw nothing"))
    }

    /// Whether the caller may do this there.
    pub(crate) fn may(
        &self,
        permission: &str,
        scope: &ResourceId,
        world: &World,
    ) -> Result<bool, Stop> {
        match self.platform.engine.permit(&self.call.caller, permission, scope, world) {
            Ok(()) => Ok(true),
            Err(Stop::Refused(_)) => Ok(false),
            Err(needs) => Err(needs),
        }
    }

    /// The request that records are shown for.
    pub(crate) fn request(&self) -> Result<Request<'v>, Refusal> {
        arm::request(self.platform, self.call, self.place.clone(), None, Verb::Read)
    }
}
