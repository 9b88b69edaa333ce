//! Kinds to test the engine with: boxes that hold toys.

use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, Refusal, Registry, Removal, Request, Stop, Stored,
    Task, World, Write,
};
use custody_test_world::control_plane::{Anybody, ControlPlane, SUBSCRIPTION};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A subscription.
pub(crate) struct Subscription;

/// A resource group.
pub(crate) struct Group;

/// A tracked kind with an identity, a task, actions and a claim.
pub(crate) struct Box;

/// A child of a box.
pub(crate) struct Toy;

/// An extension of any scope.
pub(crate) struct Note;

/// A user-assigned identity.
pub(crate) struct UserIdentity;

/// Written by the server alone.
pub(crate) struct Shadow;

/// The path of the group that [`control_plane`] has.
pub(crate) fn group() -> String {
    format!("{SUBSCRIPTION}/resourceGroups/Group")
}

/// The path of a box.
pub(crate) fn box_path(name: &str) -> String {
    format!("{}/providers/Toy.Shop/boxes/{name}", group())
}

/// The path of an identity.
pub(crate) fn identity_path(name: &str) -> String {
    format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", group())
}

/// A control plane with one group.
pub(crate) fn control_plane() -> ControlPlane {
    let registry = Registry::new()
        .with::<Subscription>()
        .with::<Group>()
        .with::<Box>()
        .with::<Toy>()
        .with::<Note>()
        .with::<UserIdentity>()
        .with::<Shadow>();
    let plane = ControlPlane::new(registry, Anybody);
    plane.put(SUBSCRIPTION, json!({})).unwrap();
    plane.put(&group(), json!({})).unwrap();
    plane
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BoxSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// Asks for a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    paint: Option<bool>,
}

impl Kind for Box {
    const TYPE: &'static str = "Toy.Shop/boxes";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;
    const TAKES_IDENTITY: bool = true;
    const ACTIONS: &'static [Action] = &[
        Action { name: "shake", permission: "shake/action" },
        Action { name: "look", permission: "look/action" },
    ];

    type Spec = BoxSpec;
    type Status = Value;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        if change.spec.colour.as_deref() == Some("invisible") {
            return Err(Refusal::new(400, "NoSuchColour", "invisible is no colour").into());
        }
        let mut plan = Plan::<Self>::done(change.spec, json!({ "weight": 1 }));
        if plan.spec.paint == Some(true) {
            plan.task = Some(Task { name: "paint".to_owned(), input: json!({}) });
        }
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let task = world
            .children(&current.record.id, Toy::TYPE)?
            .first()
            .map(|_| Task { name: "empty".to_owned(), input: Value::Null });
        Ok(Removal { task, writes: Vec::new() })
    }

    fn act(
        action: &str,
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        let task = Task { name: "shake".to_owned(), input: Value::Null };
        Ok(match action {
            "shake" => Act { task: Some(task), ..Act::default() },
            _ => Act { body: Some(json!({ "seen": true })), ..Act::default() },
        })
    }

    fn claim(id: &ResourceId) -> Option<String> {
        Some(format!("box-name:{}", id.name()?.to_lowercase()))
    }
}

macro_rules! plain {
    ($kind:ty, $type:literal, $place:expr $(, $constant:ident = $value:literal)*) => {
        impl Kind for $kind {
            const TYPE: &'static str = $type;
            const PLACE: Place = $place;
            $(const $constant: bool = $value;)*

            type Spec = Value;
            type Status = Value;

            fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
                let status = match change.before {
                    Some(stored) => stored.status.clone(),
                    None => status_of(change.request),
                };
                Ok(Plan::done(change.spec, status))
            }

            fn plan_delete(
                _current: &Stored<Self>,
                _request: &Request<'_>,
                _world: &World,
            ) -> Result<Removal, Stop> {
                Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
            }
        }
    };
}

plain!(Subscription, "Microsoft.Resources/subscriptions", Place::Root);
plain!(
    Group,
    "Microsoft.Resources/subscriptions/resourceGroups",
    Place::Below("Microsoft.Resources/subscriptions")
);
plain!(Toy, "Toy.Shop/boxes/toys", Place::Below("Toy.Shop/boxes"));
plain!(Note, "Toy.Shop/notes", Place::AnyScope);
plain!(
    UserIdentity,
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    Place::Below("Microsoft.Resources/subscriptions/resourceGroups")
);
plain!(Shadow, "Toy.Shop/boxes/shadows", Place::Below("Toy.Shop/boxes"), WRITABLE = false);

/// What an identity is; other kinds do not look.
fn status_of(request: &Request<'_>) -> Value {
    let principal = custody_names::PrincipalId::mint(request.entropy).unwrap();
    json!({ "principalId": principal, "clientId": principal })
}
