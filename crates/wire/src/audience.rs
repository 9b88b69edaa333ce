//! Audiences: the resources that tokens are issued for, and where a token of which is right.

use custody_names::{ClientId, TenantId};
use custody_resources::Refusal;
use custody_worker::Platform;

use crate::base::Base;

/// Azure's own names of ARM, which clients ask for by habit.
const ARM: [&str; 2] = ["https://management.azure.com", "https://management.core.windows.net"];
/// Azure's own name of Graph.
const GRAPH: &str = "https://graph.microsoft.com";
/// How the application id stands in an audience.
const API: &str = "api://";

/// The audiences that are right for ARM.
pub(crate) fn of_arm(base: &Base) -> Vec<String> {
    let mut all = vec![base.main()];
    all.extend(ARM.map(str::to_owned));
    all
}

/// Those for Graph.
pub(crate) fn of_graph(base: &Base) -> Vec<String> {
    vec![base.main(), GRAPH.to_owned()]
}

/// Whether tokens for this resource are issued to principals of the tenant: for this server's own
/// surfaces, and for applications that have taken an identifier.
pub(crate) fn is_known(
    platform: &Platform,
    base: &Base,
    tenant: TenantId,
    resource: &str,
) -> Result<bool, Refusal> {
    let plain = resource.trim_end_matches('/');
    let mut own = of_arm(base).into_iter().chain(of_graph(base));
    if plain == base.key_vaults() || plain == base.managed_hsms() || own.any(|one| one == plain) {
        return Ok(true);
    }
    let name = resource.strip_prefix(API).unwrap_or(resource);
    if let Ok(app) = name.parse::<ClientId>() {
        return platform.has_service_principal(tenant, app);
    }
    let applications = platform.applications(tenant)?;
    Ok(applications.iter().any(|one| one.spec.identifier_uris.iter().any(|uri| uri == resource)))
}
