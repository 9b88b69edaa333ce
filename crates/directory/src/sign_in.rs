//! How an application proves who it is (RFC 6749 §4.4, RFC 7523), and why it fails to.

use custody_ambient::Timestamp;
use custody_names::{ClientId, TenantId};
use custody_resources::{Stop, Stored, World};
use serde::Deserialize;

use crate::jwt;
use crate::token::{LEEWAY_SECONDS, Proof, Subject};
use crate::{
    Application, Certificate, SecretAnswer, ServicePrincipal, application_id, service_principal_id,
};

/// Longest life of a client assertion, in seconds; clients make them for this long.
const ASSERTION_SECONDS_MAX: i64 = 600;
/// Algorithms that a client assertion may be signed with.
const ASSERTION_ALGORITHMS: [&str; 2] = ["RS256", "PS256"];

/// An application that signs in.
pub struct SignIn<'a> {
    /// To which tenant.
    pub tenant: TenantId,
    /// As which application.
    pub client: ClientId,
    /// What it shows.
    pub shown: Shown<'a>,
    /// The addresses of the token endpoint, which an assertion must be made for.
    pub endpoints: &'a [String],
    /// When.
    pub now: Timestamp,
}

/// What an application shows to prove who it is.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    /// A client secret.
    Secret(&'a [u8]),
    /// A client assertion.
    Assertion(&'a str),
}

/// An application that has proved who it is.
pub struct Proven {
    /// Who it is.
    pub subject: Subject,
    /// What its assertion is called and when it ends, in seconds since 1970, so that it is taken
    /// from one client alone.
    pub assertion: Option<(String, i64)>,
}

/// Why no token is issued. The numbers are those of Azure's `AADSTS` codes, which clients and
/// operators look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// A parameter is missing.
    #[error("The request body must contain the following parameter: '{0}'.")]
    ParameterMissing(&'static str),
    /// A parameter is there twice or cannot be read.
    #[error("The request is malformed: {0}")]
    Malformed(&'static str),
    /// Another grant than client credentials.
    #[error(
        "The app requested an unsupported grant type '{0}'. Only client_credentials is served."
    )]
    GrantUnsupported(String),
    /// The tenant is not one of this installation.
    #[error(
        "Tenant '{0}' not found. Check to make sure you have the correct tenant ID and are signing \
         into the correct cloud."
    )]
    TenantNotFound(String),
    /// No such application in the tenant.
    #[error(
        "Application with identifier '{client}' was not found in the directory '{tenant}'. This can \
         happen if the application has not been installed by the administrator of the tenant. You \
         may have sent your authentication request to the wrong tenant."
    )]
    ApplicationNotFound {
        /// The application.
        client: String,
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's own application has no service principal there.
    #[error(
        "The client application {client} is missing service principal in the tenant {tenant}. \
         Create one: az ad sp create --id {client}"
    )]
    ServicePrincipalMissing {
        /// The application.
        client: ClientId,
        /// The tenant.
        tenant: TenantId,
    },
    /// Its service principal was disabled.
    #[error("Application '{0}' is disabled.")]
    ApplicationDisabled(ClientId),
    /// Neither secret nor assertion.
    #[error(
        "The request body must contain the following parameter: 'client_assertion' or \
         'client_secret'."
    )]
    CredentialMissing,
    /// The secret is none of the application's.
    #[error(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client \
         secret value, not the client secret ID, for a secret added to app '{0}'."
    )]
    SecretWrong(ClientId),
    /// The secret is the application's, but not good now.
    #[error("The provided client secret keys for app '{0}' are expired.")]
    SecretExpired(ClientId),
    /// The assertion is not signed by a certificate of the application, or says something else.
    #[error("Client assertion failed validation: {0}")]
    AssertionWrong(&'static str),
    /// The assertion is for another endpoint.
    #[error("Client assertion audience claim does not match the token endpoint.")]
    AssertionAudience,
    /// The assertion is not within its time, or for too long a time.
    #[error("Client assertion is not within its valid time range, which may last 10 minutes.")]
    AssertionTime,
    /// The scope does not name one resource.
    #[error(
        "The provided value for the input parameter 'scope' is not valid. Client credential flows \
         must have one scope: the resource identifier with /.default behind it."
    )]
    ScopeInvalid,
    /// The resource is none that tokens are issued for.
    #[error("The resource principal named {resource} was not found in the tenant named {tenant}.")]
    ResourceUnknown {
        /// What was asked for.
        resource: String,
        /// The tenant.
        tenant: TenantId,
    },
    /// Too many failures of late.
    #[error("There were too many failed requests of this client. Wait and try again.")]
    Throttled,
    /// Records or keys cannot be read.
    #[error("A transient error has occurred. Please try again.")]
    Unavailable,
}

impl SignInError {
    /// The number of its `AADSTS` code.
    pub fn number(&self) -> u32 {
        match self {
            Self::ParameterMissing(_) => 900_144,
            Self::Malformed(_) => 9_000_411,
            Self::GrantUnsupported(_) => 70_003,
            Self::TenantNotFound(_) => 90_002,
            Self::ApplicationNotFound { .. } => 700_016,
            Self::ServicePrincipalMissing { .. } => 7_000_229,
            Self::ApplicationDisabled(_) => 7_000_112,
            Self::CredentialMissing => 7_000_218,
            Self::SecretWrong(_) => 7_000_215,
            Self::SecretExpired(_) => 7_000_222,
            Self::AssertionWrong(_) => 700_027,
            Self::AssertionAudience => 700_023,
            Self::AssertionTime => 700_024,
            Self::ScopeInvalid => 70_011,
            Self::ResourceUnknown { .. } => 500_011,
            Self::Throttled => 90_055,
            Self::Unavailable => 90_033,
        }
    }

    /// The word for it of RFC 6749 §5.2.
    pub fn word(&self) -> &'static str {
        match self {
            Self::ParameterMissing(_) | Self::Malformed(_) | Self::TenantNotFound(_) => {
                "invalid_request"
            }
            Self::GrantUnsupported(_) => "unsupported_grant_type",
            Self::ApplicationNotFound { .. }
            | Self::ServicePrincipalMissing { .. }
            | Self::ApplicationDisabled(_) => "unauthorized_client",
            Self::CredentialMissing
            | Self::SecretWrong(_)
            | Self::SecretExpired(_)
            | Self::AssertionWrong(_)
            | Self::AssertionAudience
            | Self::AssertionTime => "invalid_client",
            Self::ScopeInvalid => "invalid_scope",
            Self::ResourceUnknown { .. } => "invalid_resource",
            Self::Throttled | Self::Unavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Throttled => 429,
            Self::Unavailable => 503,
            _ if self.word() == "invalid_client" => 401,
            _ => 400,
        }
    }

    /// Whether it says that somebody may be guessing.
    pub fn is_failed_proof(&self) -> bool {
        self.word() == "invalid_client"
    }
}

/// What an assertion says.
#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
    jti: Option<String>,
}

/// Lets an application prove who it is.
pub fn sign_in(world: &World, request: &SignIn<'_>) -> Result<Result<Proven, SignInError>, Stop> {
    let application = world.stored::<Application>(&application_id(request.client)?)?;
    let place = service_principal_id(request.tenant, request.client)?;
    let principal = world.stored::<ServicePrincipal>(&place)?;
    Ok(proof(application.as_ref(), principal.as_ref(), request))
}

fn proof(
    application: Option<&Stored<Application>>,
    principal: Option<&Stored<ServicePrincipal>>,
    request: &SignIn<'_>,
) -> Result<Proven, SignInError> {
    let SignIn { tenant, client, .. } = *request;
    let (application, principal) = match (application, principal) {
        (Some(application), Some(principal)) => (application, principal),
        (Some(application), None) if application.status.tenant == tenant => {
            return Err(SignInError::ServicePrincipalMissing { client, tenant });
        }
        _ => {
            return Err(SignInError::ApplicationNotFound { client: client.to_string(), tenant });
        }
    };
    if !principal.spec.account_enabled {
        return Err(SignInError::ApplicationDisabled(client));
    }
    let (proof, assertion) = match request.shown {
        Shown::Secret(secret) => {
            check_secret(application, principal, secret, request)?;
            (Proof::Secret, None)
        }
        Shown::Assertion(text) => {
            let now = request.now;
            let of_application = application.spec.credentials.certificates_at(now);
            let all = of_application.chain(principal.spec.credentials.certificates_at(now));
            let shown = check_assertion(text, all, request)?;
            (Proof::Certificate, Some((shown.jti.unwrap_or_else(|| text.to_owned()), shown.exp)))
        }
    };
    let principal = principal.status.object_id;
    Ok(Proven { subject: Subject { tenant, client, principal, proof }, assertion })
}

fn check_secret(
    application: &Stored<Application>,
    principal: &Stored<ServicePrincipal>,
    secret: &[u8],
    request: &SignIn<'_>,
) -> Result<(), SignInError> {
    let answers = [
        application.spec.credentials.check_secret(secret, request.now),
        principal.spec.credentials.check_secret(secret, request.now),
    ];
    if answers.contains(&SecretAnswer::Right) {
        Ok(())
    } else if answers.contains(&SecretAnswer::Expired) {
        Err(SignInError::SecretExpired(request.client))
    } else {
        Err(SignInError::SecretWrong(request.client))
    }
}

fn check_assertion(
    text: &str,
    mut certificates: impl Iterator<Item = Certificate>,
    request: &SignIn<'_>,
) -> Result<Assertion, SignInError> {
    let wrong = SignInError::AssertionWrong;
    let token = jwt::parse::<Assertion>(text).ok_or(wrong("it is not well-formed"))?;
    let algorithm = jwt::algorithm(&token.header.alg, &ASSERTION_ALGORITHMS)
        .ok_or(wrong("its algorithm is neither RS256 nor PS256"))?;
    let (x5t, x5t_s256) = (token.header.x5t.as_deref(), token.header.x5t_s256.as_deref());
    if x5t.or(x5t_s256).is_none() {
        return Err(wrong("it names no certificate (x5t or x5t#S256)"));
    }
    let named = certificates.find(|certificate| {
        let is = |given: Option<&str>, own: &str| {
            given.is_none_or(|given| given.trim_end_matches('=') == own)
        };
        is(x5t, &certificate.x5t) && is(x5t_s256, &certificate.x5t_s256)
    });
    let certificate = named.ok_or(wrong("its certificate is not registered, or expired"))?;
    if !token.is_signed_by(&certificate.public_key, algorithm) {
        return Err(wrong("it is not signed with the key of its certificate"));
    }
    let client = request.client.to_string();
    let claims = token.claims;
    if !claims.iss.eq_ignore_ascii_case(&client) || !claims.sub.eq_ignore_ascii_case(&client) {
        return Err(wrong("its issuer and subject are not the application"));
    }
    if !request.endpoints.iter().any(|one| one.eq_ignore_ascii_case(&claims.aud)) {
        return Err(SignInError::AssertionAudience);
    }
    let now = request.now.as_second();
    let begun = claims.nbf.is_none_or(|nbf| nbf <= now + LEEWAY_SECONDS);
    let ends = now < claims.exp && claims.exp <= now + ASSERTION_SECONDS_MAX + LEEWAY_SECONDS;
    if begun && ends { Ok(claims) } else { Err(SignInError::AssertionTime) }
}
