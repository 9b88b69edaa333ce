//! `POST S/resourceGroups/G/moveResources` and `validateMoveResources`.

use custody_names::ResourceId;
use custody_resources::{Move, Refusal, Verb};
use custody_worker::fault;
use http::Response;
use serde::Deserialize;

use crate::reply::{self, Body};
use crate::views::View;
use crate::{address, arm};

/// The body of both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MoveBody {
    resources: Vec<ResourceId>,
    target_resource_group: ResourceId,
}

/// Moves resources to another group, or says whether that could be done. It is done when this is
/// answered.
pub(crate) fn answer(view: &View<'_>, validate_only: bool) -> Result<Response<Body>, Refusal> {
    let body = MoveBody::deserialize(&view.call.body)
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let platform = view.platform;
    let spelled = |id: &ResourceId| address::spelled(id, platform.engine.registry());
    let wanted = Move {
        resources: body.resources.iter().map(spelled).collect(),
        target: spelled(&body.target_resource_group),
        validate_only,
    };
    let verb = Verb::Action("moveResources".to_owned());
    let request = arm::request(platform, view.call, view.place.clone(), None, verb)?;
    let moved = platform
        .records
        .apply(&mut |world| Ok(platform.engine.move_resources(&request, &wanted, world)?.writes));
    moved.map_err(fault::of_apply)?;
    Ok(reply::json(204, None))
}
