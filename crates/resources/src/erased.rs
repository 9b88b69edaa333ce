//! Kinds behind one object-safe face, and the registry of them.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use custody_names::{Location, PrincipalId, ResourceId};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::kind::{merge, to_json};
use crate::{
    Act, Action, Answers, Change, Identity, IdentityKind, Kind, Place, ProvisioningState, Record,
    Refusal, Removal, Request, Stop, Stored, SystemData, Task, UserAssigned, Verb, World, Write,
};

/// Type of user-assigned identities; the engine reads them when one is attached.
const IDENTITY_TYPE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities";
/// What the caller must be allowed on an identity to attach it.
const IDENTITY_ASSIGN: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";
/// Most tags on a resource (ARM's limit).
const TAGS_MAX: usize = 50;
/// Longest name of a tag, in characters (ARM's limit).
const TAG_NAME_CHARACTERS_MAX: usize = 512;
/// Longest value of a tag, in characters (ARM's limit).
const TAG_VALUE_CHARACTERS_MAX: usize = 256;
/// What the name of a tag may not hold (ARM's rule).
const TAG_NAME_WITHOUT: &str = "<>%&\\?/";

/// What a PUT or PATCH comes to.
pub struct Planned {
    /// The record to store.
    pub record: Record,
    /// What a worker must still do.
    pub task: Option<Task>,
    /// Writes to other records.
    pub writes: Vec<Write>,
    /// Permissions the caller needs elsewhere.
    pub linked: Vec<(String, ResourceId)>,
}

/// A kind without its types.
pub trait Erased: Send + Sync {
    /// The resource type.
    fn resource_type(&self) -> &'static str;
    /// Where its resources stand.
    fn place(&self) -> Place;
    /// Whether its resources have a location.
    fn tracked(&self) -> bool;
    /// Whether clients may write it.
    fn writable(&self) -> bool;
    /// Whether the answer to a DELETE shows what was deleted.
    fn shows_deleted(&self) -> bool;
    /// Its status codes.
    fn answers(&self) -> Answers;
    /// Its POST verbs.
    fn actions(&self) -> &'static [Action];
    /// What a PUT or PATCH means.
    fn plan(
        &self,
        request: &Request<'_>,
        before: Option<&Record>,
        world: &World,
    ) -> Result<Planned, Stop>;
    /// What a DELETE means.
    fn plan_delete(
        &self,
        request: &Request<'_>,
        record: &Record,
        world: &World,
    ) -> Result<Removal, Stop>;
    /// Whether the resource can be moved to another group.
    fn plan_move(&self, record: &Record) -> Result<(), Refusal>;
    /// What a POST means.
    fn act(
        &self,
        action: &str,
        request: &Request<'_>,
        record: &Record,
        world: &World,
    ) -> Result<Act, Stop>;
    /// The resource as clients see it.
    fn render(&self, record: &Record, request: &Request<'_>) -> Result<Value, Refusal>;
}

/// Every kind the server knows.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<String, Box<dyn Erased>>,
}

impl Registry {
    /// A registry of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<K: Kind>(mut self) -> Self {
        self.kinds.insert(K::TYPE.to_lowercase(), Box::new(Face::<K>(PhantomData)));
        self
    }

    /// The kind of a type, case aside.
    pub fn find(&self, resource_type: &str) -> Option<&dyn Erased> {
        self.kinds.get(&resource_type.to_lowercase()).map(Box::as_ref)
    }

    /// All kinds in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Erased> {
        self.kinds.values().map(Box::as_ref)
    }
}

struct Face<K>(PhantomData<K>);

impl<K: Kind> Erased for Face<K> {
    fn resource_type(&self) -> &'static str {
        K::TYPE
    }

    fn place(&self) -> Place {
        K::PLACE
    }

    fn tracked(&self) -> bool {
        K::TRACKED
    }

    fn writable(&self) -> bool {
        K::WRITABLE
    }

    fn shows_deleted(&self) -> bool {
        K::SHOWS_DELETED
    }

    fn answers(&self) -> Answers {
        K::ANSWERS
    }

    fn actions(&self) -> &'static [Action] {
        K::ACTIONS
    }

    fn plan(
        &self,
        request: &Request<'_>,
        before: Option<&Record>,
        world: &World,
    ) -> Result<Planned, Stop> {
        let before = before.map(Stored::<K>::read).transpose()?;
        let shell = shell::<K>(request, before.as_ref().map(|stored| &stored.record), world)?;
        let change = Change {
            request,
            before: before.as_ref(),
            spec: spec::<K>(request, before.as_ref())?,
            identity: shell.identity.as_ref(),
            location: shell.location.as_ref(),
            tags: &shell.tags,
        };
        let plan = K::plan(change, world)?;
        let before = before.as_ref().map(|stored| &stored.record);
        let mut linked = plan.linked;
        linked.extend(newly_attached(&shell, before));
        let mut writes = plan.writes;
        if loses_identity(&shell, before) {
            writes.push(Write::RaiseRevocation);
        }
        let state = match plan.task {
            Some(_) => ProvisioningState::Updating,
            None => ProvisioningState::Succeeded,
        };
        let tags = plan.tags.unwrap_or_else(|| shell.tags.clone());
        let record = Record { tags, state, ..shell };
        let stored = Stored::<K> { record, spec: plan.spec, status: plan.status };
        Ok(Planned { record: stored.into_record()?, task: plan.task, writes, linked })
    }

    fn plan_delete(
        &self,
        request: &Request<'_>,
        record: &Record,
        world: &World,
    ) -> Result<Removal, Stop> {
        K::plan_delete(&Stored::read(record)?, request, world)
    }

    fn plan_move(&self, record: &Record) -> Result<(), Refusal> {
        K::plan_move(&Stored::read(record)?)
    }

    fn act(
        &self,
        action: &str,
        request: &Request<'_>,
        record: &Record,
        world: &World,
    ) -> Result<Act, Stop> {
        K::act(action, &Stored::read(record)?, request, world)
    }

    fn render(&self, record: &Record, request: &Request<'_>) -> Result<Value, Refusal> {
        let stored = Stored::read(record)?;
        let mut properties = K::properties(&stored)?;
        if let Value::Object(properties) = &mut properties {
            let state = to_json(&record.state)?;
            properties.entry("provisioningState").or_insert(state);
        }
        let mut body = Map::new();
        body.insert("id".into(), record.id.as_str().into());
        body.insert("name".into(), record.id.name().unwrap_or_default().into());
        body.insert("type".into(), K::TYPE.into());
        if K::TRACKED {
            body.insert("location".into(), to_json(&record.location)?);
            body.insert("tags".into(), to_json(&record.tags)?);
        }
        if let Some(identity) = &record.identity {
            body.insert("identity".into(), identity.render(request.caller.tenant));
        }
        body.insert("properties".into(), properties);
        body.insert("systemData".into(), to_json(&record.system)?);
        body.insert("etag".into(), record.etag().into());
        K::dress(&stored, request, &mut body);
        Ok(Value::Object(body))
    }
}

/// The record that will be stored but for spec, status and state: the part all kinds share.
fn shell<K: Kind>(
    request: &Request<'_>,
    before: Option<&Record>,
    world: &World,
) -> Result<Record, Stop> {
    let (caller, now) = (&request.caller, request.now);
    let system = match before {
        Some(record) => record.system.clone().changed_by(caller, now),
        None => SystemData::by(caller, now),
    };
    Ok(Record {
        id: before.map_or_else(|| request.id.clone(), |record| record.id.clone()),
        location: location::<K>(request, before)?,
        tags: tags(request, before)?,
        identity: identity::<K>(request, before, world)?,
        spec: Value::Null,
        status: Value::Null,
        state: ProvisioningState::Succeeded,
        revision: before.map_or(0, |record| record.revision),
        system,
        references: Vec::new(),
        claim: None,
    })
}

fn spec<K: Kind>(request: &Request<'_>, before: Option<&Stored<K>>) -> Result<K::Spec, Stop> {
    let asked = match &request.verb {
        Verb::Patch if K::PATCH_IS_FLAT => Some(request.body.clone()),
        _ => request.body.get("properties").cloned(),
    };
    let asked = asked.unwrap_or_else(|| Value::Object(Map::new()));
    let whole = match (before, &request.verb) {
        (Some(stored), Verb::Patch) => {
            let mut whole = to_json(&stored.spec)?;
            merge(&mut whole, asked);
            whole
        }
        _ => asked,
    };
    K::Spec::deserialize(whole)
        .map_err(|error| Refusal::bad_request(format!("properties: {error}")).into())
}

fn location<K: Kind>(
    request: &Request<'_>,
    before: Option<&Record>,
) -> Result<Option<Location>, Stop> {
    if !K::TRACKED {
        return Ok(None);
    }
    let asked: Option<Location> =
        request.body.get("location").and_then(Value::as_str).map(str::parse).transpose().map_err(
            |error: custody_names::InvalidName| {
                Refusal::new(400, "InvalidLocation", error.to_string())
            },
        )?;
    match (asked, before.and_then(|record| record.location.clone())) {
        (Some(asked), Some(stored)) if asked != stored => {
            let text = format!(
                "{} lies in {stored} and cannot be moved to {asked} by an update",
                request.id
            );
            Err(Refusal::new(409, K::MOVED, text).into())
        }
        (Some(location), _) | (None, Some(location)) => Ok(Some(location)),
        (None, None) => {
            Err(Refusal::new(400, "LocationRequired", "the body names no location").into())
        }
    }
}

fn tags(request: &Request<'_>, before: Option<&Record>) -> Result<BTreeMap<String, String>, Stop> {
    let Some(asked) = request.body.get("tags").filter(|tags| !tags.is_null()) else {
        return Ok(before.map(|record| record.tags.clone()).unwrap_or_default());
    };
    let tags = BTreeMap::<String, String>::deserialize(asked)
        .map_err(|error| Refusal::bad_request(format!("tags: {error}")))?;
    check_tags(&tags)?;
    Ok(tags)
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let wrong = |text: String| Err(Refusal::new(400, "InvalidTag", text));
    if tags.len() > TAGS_MAX {
        return wrong(format!("at most {TAGS_MAX} tags are allowed"));
    }
    let mut names = BTreeSet::new();
    for (name, value) in tags {
        if name.is_empty() || name.chars().count() > TAG_NAME_CHARACTERS_MAX {
            let text = format!("the name of a tag has 1 to {TAG_NAME_CHARACTERS_MAX} characters");
            return wrong(text);
        }
        if name.chars().any(|c| c.is_control() || TAG_NAME_WITHOUT.contains(c)) {
            return wrong(format!("the tag name {name:?} holds one of {TAG_NAME_WITHOUT}"));
        }
        if value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
            let text = format!(
                "the value of the tag {name:?} has more than {TAG_VALUE_CHARACTERS_MAX} characters"
            );
            return wrong(text);
        }
        if !names.insert(name.to_lowercase()) {
            return wrong(format!("the tag {name:?} is there twice; case does not distinguish"));
        }
    }
    Ok(())
}

/// The identities after the change. A body without an `identity` block keeps what is stored; the
/// resource's own, enabled anew, is a new principal (rule 29).
fn identity<K: Kind>(
    request: &Request<'_>,
    before: Option<&Record>,
    world: &World,
) -> Result<Option<Identity>, Stop> {
    let stored = before.and_then(|record| record.identity.clone());
    let Some(block) = request.body.get("identity").filter(|block| !block.is_null()) else {
        return Ok(stored);
    };
    let wrong = |text: String| Refusal::new(400, "InvalidIdentity", text);
    if !K::TAKES_IDENTITY {
        return Err(wrong(format!("{} takes no identity", K::TYPE)).into());
    }
    // A block without a type must not pass for "None" and detach everything.
    let word = block.get("type").and_then(Value::as_str);
    let word = word.ok_or_else(|| wrong("identity.type is missing".to_owned()))?;
    let kind = IdentityKind::parse(word)
        .ok_or_else(|| wrong(format!("identity.type {word:?} is unknown")))?;
    let own = matches!(kind, IdentityKind::SystemAssigned | IdentityKind::Both);
    let others = matches!(kind, IdentityKind::UserAssigned | IdentityKind::Both);
    let system_assigned = match stored.as_ref().and_then(|identity| identity.system_assigned) {
        Some(kept) if own => Some(kept),
        None if own => Some(
            PrincipalId::mint(request.entropy).map_err(|error| Refusal::bug(error.to_string()))?,
        ),
        _ => None,
    };
    let mut identity = Identity { system_assigned, user_assigned: Vec::new() };
    if others {
        let empty = Map::new();
        let named =
            block.get("userAssignedIdentities").and_then(Value::as_object).unwrap_or(&empty);
        let patch = request.verb == Verb::Patch;
        identity.user_assigned = attached(named, stored.filter(|_| patch), world)?;
        if identity.user_assigned.is_empty() {
            return Err(wrong("identity.type names UserAssigned but no identity".into()).into());
        }
    }
    Ok(Some(identity))
}

/// The user-assigned identities named in a block, several and of any subscription (rule 31), each
/// read from its record; `kept` are those that a PATCH leaves alone. A `null` in a PATCH detaches.
fn attached(
    named: &Map<String, Value>,
    kept: Option<Identity>,
    world: &World,
) -> Result<Vec<UserAssigned>, Stop> {
    let mut all = kept.map(|identity| identity.user_assigned).unwrap_or_default();
    for (text, value) in named {
        let id: ResourceId = text.parse().map_err(|error: custody_names::InvalidName| {
            Refusal::new(400, "InvalidIdentity", error.to_string())
        })?;
        all.retain(|identity| identity.id != id);
        if value.is_null() {
            continue;
        }
        let record = world.record(&id)?.filter(|record| {
            record.id.resource_type().as_str().eq_ignore_ascii_case(IDENTITY_TYPE)
        });
        let Some(record) = record else {
            let text = format!("the user-assigned identity {id} was not found");
            return Err(Refusal::new(400, "FailedIdentityOperation", text)
                .with_fix("custody identity create --name NAME --resource-group GROUP")
                .into());
        };
        let read = |name: &str| record.status.get(name).and_then(Value::as_str).unwrap_or_default();
        let broken = |error: custody_names::InvalidName| Refusal::bug(error.to_string());
        all.push(UserAssigned {
            principal_id: read("principalId").parse().map_err(broken)?,
            client_id: read("clientId").parse().map_err(broken)?,
            id,
        });
    }
    Ok(all)
}

/// Identities that a request attaches: whoever does needs the right to each (rule 50).
fn newly_attached(after: &Record, before: Option<&Record>) -> Vec<(String, ResourceId)> {
    let known = before.and_then(|record| record.identity.as_ref());
    let attached = after.identity.iter().flat_map(|identity| &identity.user_assigned);
    attached
        .filter(|identity| known.is_none_or(|known| known.user_assigned(&identity.id).is_none()))
        .map(|identity| (IDENTITY_ASSIGN.to_owned(), identity.id.clone()))
        .collect()
}

/// Whether an identity that was attached is not any more: it may have been the way to a key.
fn loses_identity(after: &Record, before: Option<&Record>) -> bool {
    let Some(had) = before.and_then(|record| record.identity.as_ref()) else { return false };
    let has = after.identity.clone().unwrap_or_default();
    let kept = |identity: &UserAssigned| has.user_assigned(&identity.id) == Some(identity);
    had.system_assigned.is_some_and(|own| has.system_assigned != Some(own))
        || !had.user_assigned.iter().all(kept)
}
