//! The one way a request takes through every kind.

use custody_names::{Location, ResourceId};
use serde_json::{Map, Value};

use crate::erased::Planned;
use crate::events::{barred, events, refused};
use crate::place::is_a;
use crate::{
    Act, Admission, Answer, Answers, Caller, Decided, Erased, Operation, OperationState, Place,
    Precondition, Progress, ProvisioningState, Record, Refusal, Registry, Removal, Request, Stop,
    Task, Verb, World, Write,
};

/// Most resources in one page of a list.
pub(crate) const PAGE_MAX: usize = 1_000;

/// The decision "may this caller do this here", made on the records of the same transaction.
pub trait Authorize: Send + Sync {
    /// Refuses, or not, `permission` (`TYPE/read`, `TYPE/backup/action` …) at `scope`.
    fn check(
        &self,
        caller: &Caller,
        permission: &str,
        scope: &ResourceId,
        world: &World,
    ) -> Result<(), Stop>;
}

/// Decides requests.
pub struct Engine {
    registry: Registry,
    authorize: Box<dyn Authorize>,
    admissions: Vec<Box<dyn Admission>>,
    locations: Option<Vec<Location>>,
}

impl Engine {
    /// An engine for these kinds.
    pub fn new(registry: Registry, authorize: Box<dyn Authorize>) -> Self {
        Self { registry, authorize, admissions: Vec::new(), locations: None }
    }

    /// The same with one more admission, asked after those before it.
    #[must_use]
    pub fn with_admission(mut self, admission: Box<dyn Admission>) -> Self {
        self.admissions.push(admission);
        self
    }

    /// The same, where resources are created in these locations alone.
    #[must_use]
    pub fn with_locations(self, locations: Vec<Location>) -> Self {
        Self { locations: Some(locations), ..self }
    }

    /// The resource as the sender of `request` sees it, for what shows several kinds at once.
    pub fn render(&self, record: &Record, request: &Request<'_>) -> Result<Value, Refusal> {
        let wanted = record.id.resource_type();
        let kind =
            self.registry.find(wanted.as_str()).ok_or_else(|| unknown_type(wanted.as_str()))?;
        kind.render(record, request)
    }

    /// The kinds it knows.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Asks whether the caller may do this there, for what is no kind of its own (jobs, the
    /// ledger, looking into a recovery point).
    pub fn permit(
        &self,
        caller: &Caller,
        permission: &str,
        scope: &ResourceId,
        world: &World,
    ) -> Result<(), Stop> {
        self.authorize.check(caller, permission, scope, world)
    }

    /// Decides one request. Stops with [`Stop::Needs`] until `world` holds what it must see. A
    /// refused write leaves its events in the refusal.
    pub fn answer(&self, request: &Request<'_>, world: &World) -> Result<Decided, Stop> {
        let wanted = match &request.listed {
            Some(listed) => listed.clone(),
            None => request.id.resource_type().as_str().to_owned(),
        };
        let kind = self.registry.find(&wanted).ok_or_else(|| unknown_type(&wanted))?;
        let permission = permission(kind, &request.verb)?;
        let permitted = self.authorize.check(&request.caller, &permission, &request.id, world);
        match &request.verb {
            Verb::Read => return permitted.and_then(|()| read(kind, request, world)),
            Verb::List => return permitted.and_then(|()| list(kind, request, world)),
            _ => permitted.map_err(|stop| barred(stop, request, &permission))?,
        }
        self.admit(request, world).map_err(|stop| refused(stop, request, &permission))?;
        let decided = match &request.verb {
            Verb::Delete => delete(kind, &permission, request, world),
            Verb::Action(action) => self.act(kind, action, &permission, request, world),
            _ => self.write(kind, &permission, request, world),
        };
        decided.map_err(|stop| refused(stop, request, &permission))
    }

    fn admit(&self, request: &Request<'_>, world: &World) -> Result<(), Stop> {
        if self.admissions.is_empty() {
            return Ok(());
        }
        let before = world.record(&request.id)?;
        let gate = self.authorize.as_ref();
        self.admissions.iter().try_for_each(|one| one.admit(request, before, gate, world))
    }

    fn write(
        &self,
        kind: &dyn Erased,
        permission: &str,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Decided, Stop> {
        check_writable(kind)?;
        self.check_place(kind, request, world)?;
        let before = world.record(&request.id)?;
        if before.is_none() && request.verb == Verb::Patch {
            return Err(not_found(&request.id).into());
        }
        check_etag(request, before)?;
        check_idle(request, before)?;
        let Planned { record, task, writes: more, linked } = kind.plan(request, before, world)?;
        if before.is_none() {
            self.check_location(kind, &record)?;
        }
        for (permission, scope) in &linked {
            self.authorize.check(&request.caller, permission, scope, world)?;
        }
        let body = kind.render(&record, request)?;
        let Answers { created, replaced, patching, .. } = kind.answers();
        let status = match (before, &task) {
            (None, _) => created,
            (Some(_), Some(_)) if request.verb == Verb::Patch => patching,
            (Some(_), _) => replaced,
        };
        let mut writes = vec![Write::Put(Box::new(record))];
        writes.extend(more);
        let operation = begin(task, request, permission, &mut writes);
        writes.extend(events(request, permission, status, operation.is_some()));
        let body = (status != 202).then_some(body);
        Ok(Decided { answer: Answer { status, body, operation }, writes })
    }

    fn act(
        &self,
        kind: &dyn Erased,
        action: &str,
        permission: &str,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Decided, Stop> {
        let record = world.record(&request.id)?.ok_or_else(|| not_found(&request.id))?;
        check_etag(request, Some(record))?;
        // The name as the kind spells it, whatever case it came in.
        let known = kind.actions().iter().find(|known| known.name.eq_ignore_ascii_case(action));
        let action = known.map_or(action, |known| known.name);
        let Act { status, body, task, mut writes, linked } =
            kind.act(action, request, record, world)?;
        for (permission, scope) in &linked {
            self.authorize.check(&request.caller, permission, scope, world)?;
        }
        let operation = begin(task, request, permission, &mut writes);
        let status = match (status, operation) {
            (0, Some(_)) => 202,
            (0, None) => 200,
            (chosen, _) => chosen,
        };
        if !writes.is_empty() {
            writes.extend(events(request, permission, status, operation.is_some()));
        }
        Ok(Decided { answer: Answer { status, body, operation }, writes })
    }

    fn check_location(&self, kind: &dyn Erased, record: &Record) -> Result<(), Refusal> {
        let (Some(known), Some(location)) = (&self.locations, &record.location) else {
            return Ok(());
        };
        if known.contains(location) {
            return Ok(());
        }
        let known: Vec<&str> = known.iter().map(Location::as_str).collect();
        let text = format!(
            "The provided location '{location}' is not available for resource type '{}'. List of \
             available regions for the resource type is '{}'.",
            kind.resource_type(),
            known.join(",")
        );
        Err(Refusal::new(400, "LocationNotAvailableForResourceType", text))
    }
}

/// The error for a resource that is not there.
pub fn not_found(id: &ResourceId) -> Refusal {
    let kind = id.resource_type();
    let name = id.name().unwrap_or_default();
    if kind.as_str().ends_with("/resourceGroups") {
        let text = format!("Resource group '{name}' could not be found.");
        return Refusal::new(404, "ResourceGroupNotFound", text);
    }
    if kind.as_str() == "Microsoft.Resources/subscriptions" {
        let text = format!("The subscription '{name}' could not be found.");
        return Refusal::new(404, "SubscriptionNotFound", text);
    }
    let whole = match id.as_str().to_lowercase().rfind("/providers/") {
        Some(at) => id.as_str().get(at + "/providers/".len()..).unwrap_or_default(),
        None => id.as_str(),
    };
    let group = id.resource_group_name().unwrap_or("<null>");
    let text = format!(
        "The Resource '{whole}' under resource group '{group}' was not found. For more details \
         please go to https://aka.ms/ARMResourceNotFoundFix"
    );
    Refusal::new(404, "ResourceNotFound", text)
}

fn unknown_type(wanted: &str) -> Refusal {
    Refusal::new(404, "InvalidResourceType", format!("the resource type {wanted} is not known"))
}

fn permission(kind: &dyn Erased, verb: &Verb) -> Result<String, Refusal> {
    let action = match verb {
        Verb::Read | Verb::List => "read",
        Verb::Put | Verb::Patch => "write",
        Verb::Delete => "delete",
        Verb::Action(name) => {
            let known = kind.actions().iter().find(|action| action.name.eq_ignore_ascii_case(name));
            let known = known.ok_or_else(|| {
                let text = format!("{} has no action {name}", kind.resource_type());
                Refusal::new(404, "InvalidResourceType", text)
            })?;
            known.permission
        }
    };
    Ok(format!("{}/{action}", kind.resource_type()))
}

fn read(kind: &dyn Erased, request: &Request<'_>, world: &World) -> Result<Decided, Stop> {
    let record = world.record(&request.id)?.ok_or_else(|| not_found(&request.id))?;
    let body = kind.render(record, request)?;
    Ok(answered(200, Some(body)))
}

/// All resources of the kind below the id: direct children if the id is their parent, else (a
/// group or subscription further up) everything beneath.
fn list(kind: &dyn Erased, request: &Request<'_>, world: &World) -> Result<Decided, Stop> {
    let direct = match kind.place() {
        Place::Root => request.id.parent().is_none(),
        Place::Below(parent) | Place::Within(parent, _) => is_a(&request.id, parent),
        Place::AnyScope => false,
    };
    let records = if direct {
        world.children(&request.id, kind.resource_type())?
    } else {
        world.below(&request.id, kind.resource_type())?
    };
    let skip = request.body.get("$skip").and_then(Value::as_u64).unwrap_or(0);
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let shown: Result<Vec<Value>, Refusal> = records
        .iter()
        .skip(skip)
        .take(PAGE_MAX)
        .map(|record| kind.render(record, request))
        .collect();
    let mut body = Map::new();
    body.insert("value".into(), Value::Array(shown?));
    if records.len() > skip.saturating_add(PAGE_MAX) {
        body.insert("$skip".into(), (skip + PAGE_MAX).into());
    }
    Ok(answered(200, Some(Value::Object(body))))
}

fn delete(
    kind: &dyn Erased,
    permission: &str,
    request: &Request<'_>,
    world: &World,
) -> Result<Decided, Stop> {
    check_writable(kind)?;
    let Some(record) = world.record(&request.id)? else {
        return Ok(answered(204, None));
    };
    check_etag(request, Some(record))?;
    check_idle(request, Some(record))?;
    let Removal { task, writes: mut all } = kind.plan_delete(request, record, world)?;
    if task.is_some() {
        let mut leaving = record.clone();
        leaving.state = ProvisioningState::Deleting;
        leaving.revision += 1;
        all.push(Write::Put(Box::new(leaving)));
    } else {
        all.push(Write::Remove(record.id.clone()));
    }
    let operation = begin(task, request, permission, &mut all);
    let status = if operation.is_some() { 202 } else { kind.answers().deleted };
    all.extend(events(request, permission, status, operation.is_some()));
    let body = kind.shows_deleted().then(|| kind.render(record, request)).transpose()?;
    Ok(Decided { answer: Answer { status, body, operation }, writes: all })
}

fn answered(status: u16, body: Option<Value>) -> Decided {
    Decided { answer: Answer { status, body, operation: None }, writes: Vec::new() }
}

fn check_writable(kind: &dyn Erased) -> Result<(), Refusal> {
    if kind.writable() {
        return Ok(());
    }
    let text = format!("{} is written by the server alone", kind.resource_type());
    Err(Refusal::new(405, "MethodNotAllowed", text))
}

fn check_etag(request: &Request<'_>, before: Option<&Record>) -> Result<(), Stop> {
    let (text, fix) = match (&request.if_match, before) {
        (None, _) | (Some(Precondition::Absent), None) => return Ok(()),
        (Some(Precondition::Etag(wanted)), Some(record))
            if wanted == "*" || *wanted == record.etag() =>
        {
            return Ok(());
        }
        (Some(Precondition::Absent), Some(record)) => (
            format!("{} exists already, at etag {}", record.id, record.etag()),
            "leave out If-None-Match to change what is there",
        ),
        (Some(Precondition::Etag(wanted)), _) => (
            format!("{} is not at etag {wanted} any more", request.id),
            "read the resource again and repeat the change on what it is now",
        ),
    };
    Err(Refusal::new(412, "PreconditionFailed", text).with_fix(fix).into())
}

/// One operation at a time changes a resource.
fn check_idle(request: &Request<'_>, before: Option<&Record>) -> Result<(), Stop> {
    match before.map(|record| record.state) {
        Some(ProvisioningState::Updating | ProvisioningState::Deleting) => {
            let text = format!("another operation on {} has not ended yet", request.id);
            Err(Refusal::new(409, "AnotherOperationInProgress", text)
                .with_fix("custody job list --vault-name VAULT shows it; repeat when it has ended")
                .into())
        }
        _ => Ok(()),
    }
}

fn begin(
    task: Option<Task>,
    request: &Request<'_>,
    permission: &str,
    writes: &mut Vec<Write>,
) -> Option<custody_names::OperationId> {
    let task = task?;
    writes.push(Write::Operation(Box::new(Operation {
        id: request.operation,
        resource: request.id.clone(),
        task,
        asked: Some(permission.to_owned()),
        state: OperationState::Queued,
        caller: request.caller.clone(),
        correlation: request.correlation,
        created: request.now,
        ended: None,
        owner: request.owner.clone(),
        progress: Progress::default(),
        result: Value::Null,
        error: None,
    })));
    Some(request.operation)
}
