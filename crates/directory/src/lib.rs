//! Who there is and what they may do: subscriptions, resource groups, managed identities, role
//! assignments, and the decision on every request.
//!
//! Roles and the decision itself are pure and live in `custody-access`; here they meet records.
//! [`RoleAuthorizer`] answers the engine, [`grants_for`] the data planes, both from the same role
//! assignments. A change of an assignment or the end of an identity raises the counter that
//! holders of key leases watch (DESIGN §5).

mod application;
mod authorize;
mod bootstrap;
mod certificate;
mod credentials;
mod custom_role;
mod delegation;
mod der;
mod grants;
mod identity;
mod jwt;
mod known_principal;
mod location;
mod management_group;
mod principal;
mod resource_group;
mod role_assignment;
mod role_definitions;
mod sign_in;
mod signing_keys;
mod subscription;
mod tenant;
pub mod token;
mod workload;

use custody_resources::Registry;

pub use application::{
    APPLICATIONS_MAX, Application, ApplicationSpec, ApplicationStatus, MANY_TENANTS, ONE_TENANT,
    ServicePrincipal, ServicePrincipalSpec, ServicePrincipalStatus, application_id,
    service_principal_id,
};
pub use authorize::{RoleAuthorizer, check_tenant};
pub use bootstrap::{Founding, found};
pub use certificate::Certificate;
pub use credentials::{
    Credentials, NewPassword, Password, RegisteredCertificate, SecretAnswer, Wish, hash_of,
    is_hash_of, mint_secret,
};
pub use custom_role::{CustomRole, CustomRoleSpec, RolePermissions, custom_role_claim};
pub use grants::{grants_for, lineage};
pub use identity::{IdentityStatus, UserAssignedIdentity};
pub use location::{InvalidRegion, Locations, Region};
pub use management_group::{
    GroupedSubscription, GroupedSubscriptionStatus, ManagementGroup, ManagementGroupDetails,
    ManagementGroupParent, ManagementGroupSpec, ManagementGroupStatus, children,
};
pub use principal::principal_of;
pub use resource_group::{ResourceGroup, TASK_DELETE_GROUP, group_stays, members};
pub use role_assignment::{
    RoleAssignmentKind, RoleAssignmentSpec, RoleAssignmentStatus, role_assignment_id,
};
pub use role_definitions::{role_definition, role_definition_id, role_definitions};
pub use sign_in::{Proven, Shown, SignIn, SignInError, sign_in};
pub use signing_keys::{SIGNING_KEY_DAYS, SIGNING_KEY_LAG_SECONDS, SigningKeys};
pub use subscription::{Subscription, SubscriptionSpec, SubscriptionStatus, subscription_tenant};
pub use tenant::{Tenant, TenantSpec, TenantStatus, tenant_id};
pub use workload::{ATTACHED_MAX, WHOLE_HOST, Workload, WorkloadSpec, WorkloadStatus, workload_id};

/// Adds the kinds of this crate to a registry.
#[must_use]
pub fn register(registry: Registry) -> Registry {
    registry
        .with::<Subscription>()
        .with::<ResourceGroup>()
        .with::<UserAssignedIdentity>()
        .with::<RoleAssignmentKind>()
        .with::<CustomRole>()
        .with::<ManagementGroup>()
        .with::<GroupedSubscription>()
}
