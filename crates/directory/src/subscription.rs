//! Subscriptions: the top of the tree that resources hang in.

use custody_names::TenantId;
use custody_resources::{Change, Kind, Place, Plan, Refusal, Stop, World};
use serde::{Deserialize, Serialize};

/// `Microsoft.Resources/subscriptions`. Written when an installation is founded, never by clients.
pub struct Subscription;

/// What a subscription is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionSpec {
    /// The name people see.
    pub display_name: String,
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// `Enabled`: there are no others here.
    pub state: String,
}

impl Kind for Subscription {
    const TYPE: &'static str = "Microsoft.Resources/subscriptions";
    const PLACE: Place = Place::Root;
    const WRITABLE: bool = false;

    type Spec = SubscriptionSpec;
    type Status = SubscriptionStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("subscriptions are not written by clients").into())
    }
}
