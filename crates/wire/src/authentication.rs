//! Who asks, by the token that a request bears; and the answer to those whose token is none.

use custody_directory::token::Expected;
use custody_names::TenantId;
use custody_resources::{Caller, Refusal};
use custody_worker::{AuthenticationError, Platform};
use http::{HeaderMap, Response, header};
use serde_json::json;

use crate::audience;
use crate::base::{Base, HostKind};
use crate::graph;
use crate::reply::{self, Body};

/// What is asked, as far as it decides which tokens are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// ARM, and custody's own requests.
    Arm,
    /// Graph.
    Graph,
    /// A key vault of this tenant.
    KeyVault {
        /// The tenant that it names in its challenge.
        tenant: TenantId,
    },
    /// A managed HSM of this tenant.
    ManagedHsm {
        /// The tenant that it names in its challenge.
        tenant: TenantId,
    },
}

impl Surface {
    /// The surface of this host and path. A key vault that is not there has the first tenant.
    pub(crate) fn of(platform: &Platform, host: &HostKind, path: &str) -> Self {
        let home = platform.installation.tenant_id;
        match host {
            HostKind::Main if graph::is_graph(path) => Self::Graph,
            HostKind::Main => Self::Arm,
            HostKind::KeyVault(name) => {
                let name = name.parse().ok();
                let found = name.and_then(|name| platform.key_vault(&name, None).ok()?);
                Self::KeyVault { tenant: found.map_or(home, |facts| facts.vault.tenant) }
            }
            HostKind::ManagedHsm(name) => {
                let name = name.parse().ok();
                let found = name.and_then(|name| platform.managed_hsm(&name).ok()?);
                Self::ManagedHsm { tenant: found.map_or(home, |facts| facts.vault.tenant) }
            }
        }
    }
}

/// Why a request's caller is not known. Whatever is wrong with a token, it is refused alike.
#[derive(Debug)]
pub(crate) enum Unauthenticated {
    /// It bears no token.
    Missing,
    /// It bears one that is not believed.
    Refused,
    /// Its token cannot be checked now.
    Unavailable(Box<Refusal>),
}

/// Finds who asks. Nothing in a token makes the server fetch anything.
pub(crate) fn authenticate(
    platform: &Platform,
    base: &Base,
    headers: &HeaderMap,
    surface: Surface,
) -> Result<Caller, Unauthenticated> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Missing)?;
    // Two credentials are none: a proxy and this server may disagree on which one counts.
    if values.next().is_some() {
        return Err(Unauthenticated::Refused);
    }
    let text = value.to_str().map_err(|_| Unauthenticated::Refused)?;
    let (scheme, token) = text.split_once(' ').ok_or(Unauthenticated::Missing)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Unauthenticated::Missing);
    }
    let (audiences, tenant) = match surface {
        Surface::Arm => (audience::of_arm(base), None),
        Surface::Graph => (audience::of_graph(base), None),
        Surface::KeyVault { tenant } => (vec![base.key_vaults()], Some(tenant)),
        Surface::ManagedHsm { tenant } => (vec![base.managed_hsms()], Some(tenant)),
    };
    let expected = Expected { host: &base.main(), audiences: &audiences, tenant };
    platform.caller_of(token.trim(), &expected).map_err(|error| match error {
        AuthenticationError::Refused(_) => Unauthenticated::Refused,
        AuthenticationError::Unavailable(refusal) => Unauthenticated::Unavailable(refusal),
    })
}

impl Unauthenticated {
    /// The answer: 401 with the challenge of the surface. A key vault's names its own tenant and the
    /// parent domain that a token must be for, which clients hold against the host they asked.
    pub(crate) fn response(
        &self,
        platform: &Platform,
        base: &Base,
        surface: Surface,
    ) -> Response<Body> {
        if let Self::Unavailable(refusal) = self {
            return reply::refusal(refusal);
        }
        let authority = |tenant: TenantId| format!("{}/{tenant}", base.main());
        let vault = |tenant, resource| {
            format!("Bearer authorization=\"{}\", resource=\"{resource}\"", authority(tenant))
        };
        let challenge = match surface {
            Surface::KeyVault { tenant } => vault(tenant, base.key_vaults()),
            Surface::ManagedHsm { tenant } => vault(tenant, base.managed_hsms()),
            Surface::Arm | Surface::Graph => {
                let home = authority(platform.installation.tenant_id);
                let (error, description) = self.words();
                format!(
                    "Bearer authorization_uri=\"{home}\", error=\"{error}\", \
                     error_description=\"{description}\""
                )
            }
        };
        let (code, message) = self.error(surface);
        let mut response = reply::error(401, json!({ "code": code, "message": message }));
        if let Ok(value) = header::HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }

    /// RFC 6750 §3.1, in ARM's words.
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => (
                "invalid_token",
                "The authentication failed because of missing 'Authorization' header.",
            ),
            _ => ("invalid_token", "The access token is invalid."),
        }
    }

    fn error(&self, surface: Surface) -> (&'static str, &'static str) {
        match (surface, self) {
            (Surface::KeyVault { .. } | Surface::ManagedHsm { .. }, Self::Missing) => {
                ("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
            }
            (Surface::KeyVault { .. } | Surface::ManagedHsm { .. }, _) => (
                "Unauthorized",
                "AKV10022: Invalid audience, issuer, signature or time of the token.",
            ),
            (Surface::Graph, Self::Missing) => {
                ("InvalidAuthenticationToken", "Access token is empty.")
            }
            (Surface::Arm, Self::Missing) => (
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            ),
            (Surface::Graph | Surface::Arm, _) => {
                ("InvalidAuthenticationToken", "The access token is invalid.")
            }
        }
    }
}
