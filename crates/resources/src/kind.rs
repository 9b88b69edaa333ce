//! A kind: one ARM resource type, its spec, its status and its rules.

use std::collections::BTreeMap;

use custody_ambient::Timestamp;
use custody_names::{Location, ResourceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Map, Value};

use crate::{Identity, Record, Reference, Refusal, Request, Stop, Target, Task, World, Write};

/// Where resources of a kind stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Directly below the root.
    Root,
    /// Directly below a resource (or subscription, or group) of this type.
    Below(&'static str),
    /// Below a resource of the first type, of which there need be no record: the kind's plan says
    /// what is to stand there. What must stand is the resource of the second type around it.
    Within(&'static str, &'static str),
    /// Below any scope: root, subscription, group or resource.
    AnyScope,
}

/// The status codes of a kind; clients are strict about them (`arm-api.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// PUT that creates.
    pub created: u16,
    /// PUT or PATCH that changes.
    pub replaced: u16,
    /// PATCH that begins an operation; 202 shows no body.
    pub patching: u16,
    /// DELETE of something that is there.
    pub deleted: u16,
}

impl Answers {
    /// What most kinds answer.
    pub const USUAL: Self = Self { created: 201, replaced: 200, patching: 200, deleted: 200 };
}

/// A POST verb of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name in the path.
    pub name: &'static str,
    /// The permission it needs, after the type: `backup/action`.
    pub permission: &'static str,
}

/// A record read as its kind.
#[derive(Debug, PartialEq)]
pub struct Stored<K: Kind> {
    /// The whole record; its `spec` and `status` are superseded by the fields below.
    pub record: Record,
    /// What the client asked for.
    pub spec: K::Spec,
    /// What only the server writes.
    pub status: K::Status,
}

// Not derived: that would ask `K` itself, which is never a value, to be cloneable.
impl<K: Kind> Clone for Stored<K> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), spec: self.spec.clone(), status: self.status.clone() }
    }
}

impl<K: Kind> Stored<K> {
    /// Reads a record as this kind.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        let broken = |error: serde_json::Error| {
            Refusal::bug(format!("the stored record {} cannot be read: {error}", record.id))
        };
        Ok(Self {
            record: record.clone(),
            spec: K::Spec::deserialize(&record.spec).map_err(broken)?,
            status: K::Status::deserialize(&record.status).map_err(broken)?,
        })
    }

    /// The record with the present spec and status, one revision on, and its references anew.
    pub fn into_record(self) -> Result<Record, Refusal> {
        let mut record = self.record;
        record.revision += 1;
        record.references = K::references(&self.spec, &self.status, record.identity.as_ref());
        record.claim = K::claim(&record.id);
        record.spec = to_json(&self.spec)?;
        record.status = to_json(&self.status)?;
        Ok(record)
    }

    /// The write that stores the present spec and status.
    pub fn into_write(self) -> Result<Write, Refusal> {
        Ok(Write::Put(Box::new(self.into_record()?)))
    }
}

/// What a client wants of a resource, beside what is stored.
pub struct Change<'a, K: Kind> {
    /// The request.
    pub request: &'a Request<'a>,
    /// What is stored, if anything.
    pub before: Option<&'a Stored<K>>,
    /// What the client asks for; for PATCH already merged with what is stored.
    pub spec: K::Spec,
    /// The identities that will be attached.
    pub identity: Option<&'a Identity>,
    /// Where it lies or will lie.
    pub location: Option<&'a Location>,
    /// Its tags after the change.
    pub tags: &'a BTreeMap<String, String>,
}

impl<K: Kind> Change<'_, K> {
    /// The time of the request.
    pub fn now(&self) -> Timestamp {
        self.request.now
    }
}

/// What a change means.
pub struct Plan<K: Kind> {
    /// The spec to store: the client's, with what a PUT left out kept (`encryption`).
    pub spec: K::Spec,
    /// The status to store now.
    pub status: K::Status,
    /// The tags to store in place of the client's, when an earlier state comes back.
    pub tags: Option<BTreeMap<String, String>>,
    /// What a worker must still do before the resource is settled.
    pub task: Option<Task>,
    /// Writes to other records, in the same transaction.
    pub writes: Vec<Write>,
    /// Permissions the caller needs elsewhere: permission name and scope.
    pub linked: Vec<(String, ResourceId)>,
}

impl<K: Kind> Plan<K> {
    /// A change that is complete once it is stored.
    pub fn done(spec: K::Spec, status: K::Status) -> Self {
        Self { spec, status, tags: None, task: None, writes: Vec::new(), linked: Vec::new() }
    }
}

/// What a deletion means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removal {
    /// What a worker must do; without a task the record goes at once.
    pub task: Option<Task>,
    /// Writes to other records, in the same transaction.
    pub writes: Vec<Write>,
}

impl Removal {
    /// The deletion of what stays while another record names it; `refuse` says so of the first one.
    ///
    /// # Errors
    /// The refusal, and whatever of the world is yet to be loaded.
    pub fn unless_named(
        id: &ResourceId,
        world: &World,
        refuse: impl FnOnce(&[Record], &ResourceId) -> Refusal,
    ) -> Result<Self, Stop> {
        let referrers = world.referrers(Target::resource(id))?;
        match referrers.first() {
            Some(first) => Err(refuse(referrers, &first.id).into()),
            None => Ok(Self::default()),
        }
    }
}

/// What one of a kind's own verbs means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Act {
    /// The status to answer with; 0 lets the engine choose (202 with a task, else 200).
    pub status: u16,
    /// The body to answer with.
    pub body: Option<Value>,
    /// What a worker must do.
    pub task: Option<Task>,
    /// Writes, in the same transaction.
    pub writes: Vec<Write>,
    /// Permissions the caller needs elsewhere: permission name and scope.
    pub linked: Vec<(String, ResourceId)>,
}

/// One resource type.
pub trait Kind: Sized + Send + Sync + 'static {
    /// The type, `Microsoft.DataProtection/backupVaults` for example.
    const TYPE: &'static str;
    /// Where its resources stand.
    const PLACE: Place;
    /// Whether its resources have a location (and so must name one).
    const TRACKED: bool = false;
    /// Whether identities can be attached.
    const TAKES_IDENTITY: bool = false;
    /// Whether clients may create, change and delete it; otherwise only the server writes it.
    const WRITABLE: bool = true;
    /// Its status codes.
    const ANSWERS: Answers = Answers::USUAL;
    /// Whether the answer to a DELETE shows what was deleted.
    const SHOWS_DELETED: bool = false;
    /// The error code for an update that would move it.
    const MOVED: &'static str = "InvalidResourceLocation";
    /// Its POST verbs.
    const ACTIONS: &'static [Action] = &[];
    /// Whether the body of a PATCH is the properties themselves.
    const PATCH_IS_FLAT: bool = false;

    /// What a client may write.
    type Spec: Clone + Serialize + DeserializeOwned + Send;
    /// What only the server writes.
    type Status: Clone + Serialize + DeserializeOwned + Send;

    /// What a PUT or PATCH means. Pure: everything it may know is in its arguments.
    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop>;

    /// What a DELETE means.
    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        Ok(Removal::default())
    }

    /// Whether the resource can be moved to another group with all that lies below it. Most cannot:
    /// something outside the records knows them by their identifier.
    fn plan_move(current: &Stored<Self>) -> Result<(), Refusal> {
        let text = format!(
            "{} cannot be moved: resources of type {} stay in their group",
            current.record.id,
            Self::TYPE
        );
        Err(Refusal::new(409, "ResourceMoveNotSupported", text)
            .with_fix("create it anew in the other group"))
    }

    /// What one of [`Kind::ACTIONS`] means.
    fn act(
        action: &str,
        current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        Err(Refusal::bug(format!("{action} on {} has no plan", current.record.id)).into())
    }

    /// The `properties` that clients see.
    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let mut properties = to_json(&stored.spec)?;
        merge(&mut properties, to_json(&stored.status)?);
        Ok(properties)
    }

    /// What clients see otherwise than of other kinds: a field of its own beside the properties, or
    /// an address that depends on how they came.
    fn dress(_stored: &Stored<Self>, _request: &Request<'_>, _body: &mut Map<String, Value>) {}

    /// What the resource names.
    fn references(
        _spec: &Self::Spec,
        _status: &Self::Status,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        Vec::new()
    }

    /// The name it must be alone in holding, over all tenants.
    fn claim(_id: &ResourceId) -> Option<String> {
        None
    }
}

/// `value` as JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|error| Refusal::bug(error.to_string()))
}

/// Merges as JSON merge patch does (RFC 7396): `null` removes.
pub(crate) fn merge(base: &mut Value, patch: Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    base.remove(&name);
                } else {
                    merge(base.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (base, patch) => *base = patch,
    }
}
