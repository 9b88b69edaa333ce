//! Moving resources to another group: they get other identifiers, and all that names them follows.

use custody_names::ResourceId;
use serde::Deserialize as _;
use serde_json::Value;

use crate::engine::not_found;
use crate::erased::Erased;
use crate::events::{barred, events, refused};
use crate::{
    Answer, Decided, Engine, ProvisioningState, Record, Refusal, Request, Stop, Target, World,
    Write,
};

/// Most resources in one move, as in ARM.
const RESOURCES_MAX: usize = 800;
/// The permission that a move needs at its source.
const MOVE: &str = "Microsoft.Resources/subscriptions/resourceGroups/moveResources/action";
/// The permission that it needs at its target.
const TAKE: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";
/// Beginning of the types whose records stay behind: who may do what is granted anew at the new
/// place, as in Azure.
const LEFT_BEHIND: &str = "microsoft.authorization/";

/// What is to be moved where.
pub struct Move {
    /// The resources, directly in the group that the request names.
    pub resources: Vec<ResourceId>,
    /// The group that they are to lie in.
    pub target: ResourceId,
    /// Whether it is only asked if that could be done.
    pub validate_only: bool,
}

impl Engine {
    /// Decides a move out of the group that `request` names. Everything moves or nothing does.
    ///
    /// # Errors
    /// Stops where the caller may not, where source, target or a resource is not there, or where a
    /// resource cannot be moved ([`crate::Kind::plan_move`]).
    pub fn move_resources(
        &self,
        request: &Request<'_>,
        wanted: &Move,
        world: &World,
    ) -> Result<Decided, Stop> {
        let permitted = self.permit(&request.caller, MOVE, &request.id, world);
        permitted.map_err(|stop| barred(stop, request, MOVE))?;
        self.permit(&request.caller, TAKE, &wanted.target, world)
            .map_err(|stop| barred(stop, request, MOVE))?;
        let moved = self.moves(request, wanted, world);
        let mut writes = moved.map_err(|stop| refused(stop, request, MOVE))?;
        if wanted.validate_only {
            writes.clear();
        } else {
            writes.push(Write::RaiseRevocation);
            writes.extend(events(request, MOVE, 204, false));
        }
        Ok(Decided { answer: Answer { status: 204, body: None, operation: None }, writes })
    }

    fn moves(
        &self,
        request: &Request<'_>,
        wanted: &Move,
        world: &World,
    ) -> Result<Vec<Write>, Stop> {
        if wanted.resources.is_empty() || wanted.resources.len() > RESOURCES_MAX {
            let text = format!("a move takes 1 to {RESOURCES_MAX} resources");
            return Err(Refusal::bad_request(text).into());
        }
        for group in [&request.id, &wanted.target] {
            let record = world.record(group)?.ok_or_else(|| not_found(group))?;
            if record.state == ProvisioningState::Deleting {
                let text = format!("the group {group} is being deleted");
                return Err(Refusal::new(409, "ResourceGroupBeingDeleted", text).into());
            }
        }
        let mut writes = Vec::new();
        for id in &wanted.resources {
            let (record, to) = self.one(request, id, &wanted.target, world)?;
            writes.push(Write::Remove(record.id.clone()));
            writes.push(Write::Put(Box::new(renamed(record, &record.id, &to)?)));
            writes.extend(carried_along(&record.id, &to, world)?);
        }
        Ok(writes)
    }

    /// One resource and what it will be called; refused if it cannot move.
    fn one<'w>(
        &self,
        request: &Request<'_>,
        id: &ResourceId,
        target: &ResourceId,
        world: &'w World,
    ) -> Result<(&'w Record, ResourceId), Stop> {
        let kind = id.resource_type();
        if id.parent().as_ref() != Some(&request.id) {
            let text = format!("{id} does not lie in the group {}", request.id);
            return Err(Refusal::new(400, "ResourcesNotInSameGroup", text).into());
        }
        let record = world.record(id)?.ok_or_else(|| not_found(id))?;
        if record.state != ProvisioningState::Succeeded {
            let text = format!("{id} is not settled; it can be moved when it is");
            return Err(Refusal::new(409, "ResourceNotSettled", text).into());
        }
        let known: Option<&dyn Erased> = self.registry().find(kind.as_str());
        known.ok_or_else(|| not_found(id))?.plan_move(record)?;
        let name = id.name().unwrap_or_default().parse();
        let name = name.map_err(|_| Refusal::bug("a resource's name is a name"))?;
        let to = target.resource(&kind, &name);
        if world.record(&to)?.is_some() {
            let text = format!("{to} is there already");
            return Err(Refusal::new(409, "ResourceMoveConflict", text).into());
        }
        Ok((record, to))
    }
}

/// The writes that bring all that stands below `from`, at whatever depth, to the same place below
/// `to`. Who takes `from` away removes what stood there. Role assignments stay behind.
///
/// # Errors
/// Stops until all of it is loaded.
pub fn carried_along(
    from: &ResourceId,
    to: &ResourceId,
    world: &World,
) -> Result<Vec<Write>, Stop> {
    let parts = world
        .everything(from)?
        .iter()
        .filter(|part| !part.id.resource_type().as_str().to_lowercase().starts_with(LEFT_BEHIND));
    let moved: Result<Vec<Write>, Refusal> =
        parts.map(|part| Ok(Write::Put(Box::new(renamed(part, from, to)?)))).collect();
    Ok(moved?)
}

/// The record as a new one under another identifier, with every mention of the old one replaced.
///
/// # Errors
/// An impossible case: a record that cannot be read again is a bug.
pub fn renamed(record: &Record, from: &ResourceId, to: &ResourceId) -> Result<Record, Refusal> {
    let broken = |error: serde_json::Error| Refusal::bug(error.to_string());
    let mut value = serde_json::to_value(record).map_err(broken)?;
    replace(&mut value, from.as_str(), to.as_str());
    let mut moved = Record::deserialize(value).map_err(broken)?;
    for reference in &mut moved.references {
        // The index knows canonical identifiers alone.
        if let Target::Resource(id) = &mut reference.to {
            *id = id.to_lowercase();
        }
    }
    moved.revision = 1;
    Ok(moved)
}

/// Replaces `from` at the beginning of texts, where the identifier ends there or goes on below.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => {
            let rest = text
                .get(..from.len())
                .filter(|head| head.eq_ignore_ascii_case(from))
                .and_then(|_| text.get(from.len()..))
                .filter(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some(rest) = rest {
                *text = format!("{to}{rest}");
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| replace(one, from, to)),
        Value::Object(all) => all.values_mut().for_each(|one| replace(one, from, to)),
        _ => {}
    }
}
