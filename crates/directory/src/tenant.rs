//! Tenants: each with its own applications, principals and subscriptions.

use custody_names::{ResourceId, TenantId};
use custody_resources::{Change, Kind, Place, Plan, Refusal, Stop, World};
use serde::{Deserialize, Serialize};

/// `Custody.Directory/tenants`. The installation's first tenant needs no record.
pub struct Tenant;

/// What a tenant is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantSpec {
    /// The name people see.
    pub display_name: String,
}

/// The server writes nothing of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {}

impl Kind for Tenant {
    const TYPE: &'static str = "Custody.Directory/tenants";
    const PLACE: Place = Place::Root;
    const WRITABLE: bool = false;

    type Spec = TenantSpec;
    type Status = TenantStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("tenants are not written by way of ARM").into())
    }
}

/// Where a tenant's directory stands; permissions on it are asked here.
pub fn tenant_id(tenant: TenantId) -> Result<ResourceId, Refusal> {
    directory_id(&format!("tenants/{tenant}"))
}

/// A place in the directory.
pub(crate) fn directory_id(rest: &str) -> Result<ResourceId, Refusal> {
    format!("/providers/Custody.Directory/{rest}")
        .parse()
        .map_err(|error: custody_names::InvalidName| Refusal::bug(error.to_string()))
}
