//! Subscriptions: the top of the tree that resources hang in.

use custody_names::TenantId;
use custody_resources::{Change, Kind, Place, Plan, Record, Refusal, Request, Stop, Stored, World};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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

/// The tenant that a subscription's record says it belongs to.
pub fn subscription_tenant(record: &Record) -> Option<TenantId> {
    record.status.get("tenantId").and_then(Value::as_str).and_then(|text| text.parse().ok())
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

    /// Not in the shape of a resource.
    fn dress(stored: &Stored<Self>, _request: &Request<'_>, body: &mut Map<String, Value>) {
        let shown = json!({
            "id": stored.record.id,
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": stored.record.id.name(),
            "tenantId": stored.status.tenant_id,
            "displayName": stored.spec.display_name,
            "state": stored.status.state,
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "Custody",
                "spendingLimit": "Off",
            },
        });
        if let Value::Object(shown) = shown {
            *body = shown;
        }
    }
}
