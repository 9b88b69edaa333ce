//! The answer to a request without a token: where to get one.

use custody_names::TenantId;
use custody_worker::Platform;
use http::{Response, header};
use serde_json::json;

use crate::base::HostKind;
use crate::call::Arrival;
use crate::reply::{self, Body};

/// Refuses a request that bears no token. Key vaults name the tenant and the parent domain that a
/// token must be for; clients check that the latter is a parent of the host they asked.
pub(crate) fn missing_token(platform: &Platform, arrival: &Arrival) -> Response<Body> {
    let base = &arrival.base;
    let authority = |tenant: TenantId| format!("{}/{tenant}", base.main());
    let home = platform.installation.tenant_id;
    let (challenge, code, message) = match &arrival.host {
        HostKind::Main => (
            format!(
                "Bearer authorization_uri=\"{}\", error=\"invalid_token\", \
                 error_description=\"The authentication failed because of missing 'Authorization' \
                 header.\"",
                authority(home)
            ),
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        ),
        HostKind::KeyVault(name) => {
            let known = name.parse().ok().and_then(|name| platform.key_vault(&name, None).ok()?);
            let tenant = known.map_or(home, |facts| facts.vault.tenant);
            (data_plane(&authority(tenant), &base.key_vaults()), "Unauthorized", NO_TOKEN)
        }
        HostKind::ManagedHsm(_) => {
            (data_plane(&authority(home), &base.managed_hsms()), "Unauthorized", NO_TOKEN)
        }
    };
    let body = json!({ "error": { "code": code, "message": message } });
    let mut response = reply::json(401, Some(&body));
    if let Ok(value) = header::HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

const NO_TOKEN: &str = "AKV10000: Request is missing a Bearer or PoP token.";

fn data_plane(authority: &str, resource: &str) -> String {
    format!("Bearer authorization=\"{authority}\", resource=\"{resource}\"")
}
