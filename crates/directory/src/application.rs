//! Applications: what signs in on its own, with a secret or a certificate. An application belongs
//! to one tenant; in each tenant where it may act it has a service principal.

use custody_ambient::Timestamp;
use custody_names::{ClientId, PrincipalId, ResourceId, TenantId};
use custody_resources::{Change, Kind, Place, Plan, Reference, Refusal, Stop, Target, World};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Credentials;
use crate::tenant::directory_id;

/// Most applications of a tenant, and most service principals.
pub const APPLICATIONS_MAX: usize = 10_000;
/// The `signInAudience` of an application that other tenants may take in.
pub const MANY_TENANTS: &str = "AzureADMultipleOrgs";
/// The `signInAudience` of one that they may not.
pub const ONE_TENANT: &str = "AzureADMyOrg";

/// `Custody.Directory/applications`, named by its application id.
pub struct Application;

/// What its tenant says of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSpec {
    /// What it is called.
    pub display_name: String,
    /// URIs that tokens for it may be asked for by.
    pub identifier_uris: Vec<String>,
    /// Who may take it in: [`MANY_TENANTS`] or [`ONE_TENANT`].
    pub sign_in_audience: String,
    /// What it proves itself with.
    pub credentials: Credentials,
}

/// Who an application is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// What it signs in as.
    pub app_id: ClientId,
    /// The id of this object itself, by which Graph names it.
    pub object_id: PrincipalId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// When it was made.
    pub created: Timestamp,
}

/// `Custody.Directory/tenants/servicePrincipals`, named by the application id: an application in
/// one tenant.
pub struct ServicePrincipal;

/// What the tenant says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePrincipalSpec {
    /// Whether it may sign in.
    pub account_enabled: bool,
    /// What it is called.
    pub display_name: String,
    /// Credentials that are good in this tenant alone.
    #[serde(default)]
    pub credentials: Credentials,
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePrincipalStatus {
    /// The application.
    pub app_id: ClientId,
    /// Who it is to access decisions (`oid`).
    pub object_id: PrincipalId,
    /// The tenant that it is a principal of.
    pub tenant: TenantId,
    /// The tenant that the application belongs to.
    pub home_tenant: TenantId,
    /// When it was made.
    pub created: Timestamp,
}

/// The record of an application.
pub fn application_id(app: ClientId) -> Result<ResourceId, Refusal> {
    directory_id(&format!("applications/{app}"))
}

/// The record of an application's service principal in a tenant.
pub fn service_principal_id(tenant: TenantId, app: ClientId) -> Result<ResourceId, Refusal> {
    directory_id(&format!("tenants/{tenant}/servicePrincipals/{app}"))
}

impl Kind for Application {
    const TYPE: &'static str = "Custody.Directory/applications";
    const PLACE: Place = Place::Root;
    const WRITABLE: bool = false;

    type Spec = ApplicationSpec;
    type Status = ApplicationStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("applications are not written by way of ARM").into())
    }

    /// Not by way of ARM: credentials are nobody's to read.
    fn properties(_stored: &custody_resources::Stored<Self>) -> Result<Value, Refusal> {
        Ok(Value::Null)
    }
}

impl Kind for ServicePrincipal {
    const TYPE: &'static str = "Custody.Directory/tenants/servicePrincipals";
    const PLACE: Place = Place::Below("Custody.Directory/tenants");
    const WRITABLE: bool = false;

    type Spec = ServicePrincipalSpec;
    type Status = ServicePrincipalStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("service principals are not written by way of ARM").into())
    }

    /// Not by way of ARM: credentials are nobody's to read.
    fn properties(_stored: &custody_resources::Stored<Self>) -> Result<Value, Refusal> {
        Ok(Value::Null)
    }

    /// Its application, so that all its principals are found from there.
    fn references(
        _spec: &Self::Spec,
        status: &Self::Status,
        _identity: Option<&custody_resources::Identity>,
    ) -> Vec<Reference> {
        let application = application_id(status.app_id);
        let to = application.as_ref().map(Target::resource);
        to.map(|to| Reference::new("application", to)).into_iter().collect()
    }
}
