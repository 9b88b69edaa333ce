//! Callers as access decisions know them.

use custody_access::{Principal, PrincipalKind};
use custody_resources::{Caller, CallerKind};

/// The principal that asks.
pub fn principal_of(caller: &Caller) -> Principal {
    let kind = match caller.kind {
        CallerKind::Bootstrap => {
            PrincipalKind::BootstrapAdministrator { os_user: caller.name.clone() }
        }
        CallerKind::User => PrincipalKind::User,
        CallerKind::Application { client } => PrincipalKind::ServicePrincipal { client },
        CallerKind::ManagedIdentity { client, .. } => PrincipalKind::ManagedIdentity { client },
    };
    Principal { id: caller.principal, tenant: caller.tenant, kind }
}
