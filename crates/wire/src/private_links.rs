//! What a key vault or managed HSM says of private endpoints and regions.
//!
//! A private endpoint is an address in a virtual network of Azure. There are none here, so nothing
//! can be linked and no connection ever comes up: the lists are empty, and a connection that a
//! client wants to approve is not found, as in Azure. A private network reaches a key vault here by
//! the address that the server listens on; who may, the key vault's network rules say.

use custody_key_vault::managed_hsm_regions;
use custody_names::ResourceId;
use custody_resources::{Refusal, Stop, World, not_found};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::reply::{self, Body};
use crate::views::View;

/// `GET …/privateEndpointConnections`, `GET …/privateLinkResources`: none.
pub(crate) fn none(view: &View<'_>, word: &str) -> Result<Value, Refusal> {
    let permission = format!("{}/{word}/read", view.place.resource_type());
    view.look(&permission, |world| holder(view, world).map(drop))?;
    Ok(json!({ "value": [] }))
}

/// `GET …/managedHSMs/NAME/regions`.
pub(crate) fn regions(view: &View<'_>) -> Result<Value, Refusal> {
    let permission = format!("{}/regions/read", view.place.resource_type());
    let regions = view.look(&permission, |world| holder(view, world).map(managed_hsm_regions))?;
    Ok(json!({ "value": regions }))
}

/// `…/privateEndpointConnections/NAME`: it is not there to be shown or approved, and to delete it
/// nothing has to be done.
pub(crate) fn connection(view: &View<'_>, name: &str) -> Result<Response<Body>, Refusal> {
    let verb = match *view.call.method {
        Method::PUT => "write",
        Method::DELETE => "delete",
        _ => "read",
    };
    let word = "privateEndpointConnections";
    let permission = format!("{}/{word}/{verb}", view.place.resource_type());
    view.look(&permission, |world| holder(view, world).map(drop))?;
    if view.call.method == Method::DELETE {
        return Ok(reply::json(204, None));
    }
    let id: ResourceId = format!("{}/{word}/{name}", view.place)
        .parse()
        .map_err(|error: custody_names::InvalidName| Refusal::bad_request(error.to_string()))?;
    let absent = not_found(&id);
    let text = format!(
        "{} Connections are made by private endpoints, of which there are none here; limit the \
         addresses with networkAcls instead.",
        absent.message
    );
    Err(Refusal { message: text, ..absent })
}

fn holder<'w>(view: &View<'_>, world: &'w World) -> Result<&'w custody_resources::Record, Stop> {
    Ok(world.record(&view.place)?.ok_or_else(|| not_found(&view.place))?)
}
