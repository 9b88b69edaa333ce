//! What stands in the records before anybody asks for anything.

use custody_access::OWNER;
use custody_ambient::Timestamp;
use custody_names::{CorrelationId, PrincipalId, ResourceId, SubscriptionId, TenantId};
use custody_resources::{
    ActivityEvent, ActivityStatus, Kind, Record, Refusal, Stored, SystemData, Write,
};

use crate::{
    RoleAssignmentKind, RoleAssignmentSpec, RoleAssignmentStatus, Subscription, SubscriptionSpec,
    SubscriptionStatus, role_assignment_id, role_definition_id,
};

/// The facts that an installation is founded on.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Its one tenant.
    pub tenant: TenantId,
    /// Its one subscription.
    pub subscription: SubscriptionId,
    /// What the subscription is called.
    pub subscription_name: String,
    /// The bootstrap administrator: whoever can open the seal (DESIGN §8).
    pub administrator: PrincipalId,
    /// The user of the operating system behind it, for the log.
    pub administrator_name: String,
    /// When.
    pub now: Timestamp,
    /// Ties the events together.
    pub correlation: CorrelationId,
}

/// The first records: the subscription, and the administrator as Owner of everything. Owner grants
/// no use of any key.
pub fn found(facts: &Founding) -> Result<Vec<Write>, Refusal> {
    let subscription = Stored::<Subscription> {
        record: shell(facts, ResourceId::subscription(facts.subscription)),
        spec: SubscriptionSpec { display_name: facts.subscription_name.clone() },
        status: SubscriptionStatus { tenant_id: facts.tenant, state: "Enabled".to_owned() },
    };
    // An assignment may bear any GUID; the administrator's own is free at the root.
    let id = role_assignment_id(&ResourceId::root(), &facts.administrator.to_string())?;
    let owner = Stored::<RoleAssignmentKind> {
        record: shell(facts, id),
        spec: RoleAssignmentSpec {
            role_definition_id: role_definition_id(OWNER),
            principal_id: facts.administrator,
            principal_type: Some("User".to_owned()),
            description: Some("The bootstrap administrator: whoever opens the seal.".to_owned()),
        },
        status: RoleAssignmentStatus { scope: ResourceId::root() },
    };
    let events = [event(facts, &subscription), event(facts, &owner)];
    let mut writes = vec![subscription.into_write()?, owner.into_write()?];
    writes.extend(events);
    Ok(writes)
}

fn shell(facts: &Founding, id: ResourceId) -> Record {
    Record::blank(id, SystemData::new(&facts.administrator_name, facts.now))
}

fn event<K: Kind>(facts: &Founding, made: &Stored<K>) -> Write {
    let (name, id) = (&facts.administrator_name, made.record.id.clone());
    let action = format!("{}/write", K::TYPE);
    let begun = ActivityEvent::started(facts.now, name, action, id, facts.correlation);
    Write::Activity(begun.then(ActivityStatus::Succeeded, 201))
}
