//! Sign-in: the addresses that need no token. OpenID discovery, the public keys, the token endpoint
//! and instance discovery, in the shapes that Azure's libraries expect (`docs/rest-api.md`).

use std::net::IpAddr;

use custody_directory::token::{AUDIENCE_BYTES_MAX, Issued, issuer};
use custody_directory::{Shown, SignIn, SignInError};
use custody_names::{ClientId, CorrelationId, TenantId};
use custody_worker::{Platform, TokenRequest};
use data_encoding::BASE64;
use http::{Method, Request, Response, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::audience;
use crate::base::Base;
use crate::form::{Form, unescape};
use crate::reply::{self, Body};

/// The form in which client assertions come (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What follows the resource in a scope.
const DEFAULT_SCOPE: &str = "/.default";
/// Scopes that go with any other and mean nothing here.
const SCOPES_PASSED_OVER: [&str; 3] = ["openid", "profile", "offline_access"];

/// What every answer is made with.
#[derive(Clone, Copy)]
struct Desk<'a> {
    platform: &'a Platform,
    base: &'a Base,
    origin: Option<IpAddr>,
    correlation: CorrelationId,
}

/// Answers what needs no token; `None` for everything else.
pub(crate) fn answer(
    platform: &Platform,
    base: &Base,
    request: &Request<Vec<u8>>,
    origin: Option<IpAddr>,
    correlation: CorrelationId,
) -> Option<Response<Body>> {
    let desk = Desk { platform, base, origin, correlation };
    let segments: Vec<&str> =
        request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let post = *request.method() == Method::POST;
    let answered = match segments.as_slice() {
        ["common", "discovery", "instance"] if get => Ok(desk.instances(request)),
        [tenant, "v2.0", ".well-known", "openid-configuration"]
        | [tenant, ".well-known", "openid-configuration"]
            if get =>
        {
            desk.discovery(tenant)
        }
        [tenant, "discovery", "keys"] | [tenant, "discovery", "v2.0", "keys"] if get => {
            desk.keys(tenant)
        }
        [tenant, "oauth2", "v2.0", "token"] if post => desk.token(tenant, request, true),
        [tenant, "oauth2", "token"] if post => desk.token(tenant, request, false),
        _ => return None,
    };
    let mut response = match answered {
        Ok(body) => reply::json(200, Some(&body)),
        Err(error) => desk.refusal(&error),
    };
    let headers = response.headers_mut();
    // RFC 6749 §5.1.
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, header::HeaderValue::from_static("no-cache"));
    Some(response)
}

impl Desk<'_> {
    /// The token endpoint, of version 2 (`scope`) and 1 (`resource`).
    fn token(
        &self,
        tenant: &str,
        request: &Request<Vec<u8>>,
        by_scope: bool,
    ) -> Result<Value, SignInError> {
        let form = Form::read(request.body()).ok_or(SignInError::Malformed(
            "the body must be a form, application/x-www-form-urlencoded, with no field twice",
        ))?;
        let tenant = self.tenant(tenant)?;
        match form.field("grant_type") {
            Some("client_credentials") => {}
            Some(other) => {
                return Err(SignInError::GrantUnsupported(other.chars().take(100).collect()));
            }
            None => return Err(SignInError::ParameterMissing("grant_type")),
        }
        let resource = if by_scope {
            of_scope(form.field("scope").ok_or(SignInError::ParameterMissing("scope"))?)?
        } else {
            form.field("resource").ok_or(SignInError::ParameterMissing("resource"))?
        };
        if resource.len() > AUDIENCE_BYTES_MAX {
            return Err(SignInError::ScopeInvalid);
        }
        let basic = basic(request)?;
        let named = basic.as_ref().map(|(client, _)| client.as_str()).or(form.field("client_id"));
        let named = named.ok_or(SignInError::ParameterMissing("client_id"))?;
        let client: ClientId = named.parse().map_err(|_| SignInError::ApplicationNotFound {
            client: named.chars().take(100).collect(),
            tenant,
        })?;
        let secret =
            basic.as_ref().map(|(_, secret)| secret.as_str()).or(form.field("client_secret"));
        let shown = shown(&form, secret)?;
        let host = self.base.main();
        let endpoints = [
            format!("{host}/{tenant}/oauth2/v2.0/token"),
            format!("{host}/{tenant}/oauth2/token"),
            issuer(&host, tenant),
        ];
        let now = self.platform.clock.now();
        let sign_in = SignIn { tenant, client, shown, endpoints: &endpoints, now };
        let wanted =
            TokenRequest { sign_in, audience: resource, host: &host, address: self.origin };
        let issued = self.platform.issue_token(&wanted, &|| {
            audience::is_known(self.platform, self.base, tenant, resource)
        })?;
        Ok(if by_scope { issued_by_scope(&issued) } else { issued_for(&issued, resource) })
    }

    fn discovery(&self, tenant: &str) -> Result<Value, SignInError> {
        let host = self.base.main();
        // Words that mean any tenant: the template stands for the id, as Azure's does.
        let known = match tenant {
            "common" | "organizations" => "{tenantid}".to_owned(),
            _ => self.tenant(tenant)?.to_string(),
        };
        let path = if known.starts_with('{') { tenant } else { known.as_str() };
        Ok(json!({
            "issuer": format!("{host}/{known}/v2.0"),
            "authorization_endpoint": format!("{host}/{path}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{host}/{path}/oauth2/v2.0/token"),
            "device_authorization_endpoint": format!("{host}/{path}/oauth2/v2.0/devicecode"),
            "end_session_endpoint": format!("{host}/{path}/oauth2/v2.0/logout"),
            "jwks_uri": format!("{host}/{path}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "offline_access"],
            "claims_supported": [
                "aud", "iss", "iat", "nbf", "exp", "appid", "azp", "oid", "sub", "tid", "uti", "ver"
            ],
            "tenant_region_scope": null,
            "cloud_instance_name": self.base.authority(),
            "msgraph_host": self.base.authority(),
        }))
    }

    fn keys(&self, tenant: &str) -> Result<Value, SignInError> {
        let host = self.base.main();
        let issuer = match tenant {
            "common" | "organizations" => format!("{host}/{{tenantid}}/v2.0"),
            _ => issuer(&host, self.tenant(tenant)?),
        };
        self.platform.jwks(&issuer).map_err(|_| SignInError::Unavailable)
    }

    /// Tells libraries that this host is an authority of its own cloud.
    fn instances(&self, request: &Request<Vec<u8>>) -> Value {
        let host = self.base.authority();
        let query = Form::read(request.uri().query().unwrap_or_default().as_bytes());
        let asked = query.as_ref().and_then(|query| query.field("authorization_endpoint"));
        let own = format!("{}/", self.base.main());
        if asked.is_some_and(|asked| !asked.starts_with(&own)) {
            return json!({
                "error": "invalid_instance",
                "error_description":
                    "AADSTS50049: Unknown or invalid instance. This server knows itself alone.",
                "error_codes": [50_049],
            });
        }
        let home = self.platform.installation.tenant_id;
        json!({
            "tenant_discovery_endpoint":
                format!("{}/{home}/v2.0/.well-known/openid-configuration", self.base.main()),
            "api-version": "1.1",
            "metadata": [{
                "preferred_network": host,
                "preferred_cache": host,
                "aliases": [host],
            }],
        })
    }

    fn tenant(&self, text: &str) -> Result<TenantId, SignInError> {
        let unknown = || SignInError::TenantNotFound(text.chars().take(100).collect());
        let tenant: TenantId = text.parse().map_err(|_| unknown())?;
        let there = self.platform.has_tenant(tenant).map_err(|_| SignInError::Unavailable)?;
        if there { Ok(tenant) } else { Err(unknown()) }
    }

    /// The error body of Azure's token endpoints.
    fn refusal(&self, error: &SignInError) -> Response<Body> {
        let (number, id) = (error.number(), self.correlation);
        let time = self.platform.clock.now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let body = json!({
            "error": error.word(),
            "error_description": format!(
                "AADSTS{number}: {error} Trace ID: {id} Correlation ID: {id} Timestamp: {time}"
            ),
            "error_codes": [number],
            "timestamp": time,
            "trace_id": id,
            "correlation_id": id,
            "error_uri": format!("{}/error?code={number}", self.base.main()),
        });
        let mut response = reply::json(error.status(), Some(&body));
        if *error == SignInError::Throttled {
            let seconds = custody_worker::FAILURES_WITHIN.as_secs();
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The resource that a scope names, letter by letter: a resource that ends with a slash has two
/// before the word.
fn of_scope(scope: &str) -> Result<&str, SignInError> {
    let mut named =
        scope.split_ascii_whitespace().filter(|word| !SCOPES_PASSED_OVER.contains(word));
    match (named.next(), named.next()) {
        (Some(one), None) => one
            .strip_suffix(DEFAULT_SCOPE)
            .filter(|resource| !resource.is_empty())
            .ok_or(SignInError::ScopeInvalid),
        _ => Err(SignInError::ScopeInvalid),
    }
}

/// Client id and secret of HTTP Basic authentication (RFC 6749 §2.3.1).
fn basic(request: &Request<Vec<u8>>) -> Result<Option<(String, Zeroizing<String>)>, SignInError> {
    let wrong = || SignInError::Malformed("the Authorization header must be Basic");
    let Some(value) = request.headers().get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, rest) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(wrong());
    }
    let bytes = Zeroizing::new(BASE64.decode(rest.trim().as_bytes()).map_err(|_| wrong())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
    let (client, secret) = text.split_once(':').ok_or_else(wrong)?;
    let client = unescape(client).ok_or_else(wrong)?;
    Ok(Some((client, Zeroizing::new(unescape(secret).ok_or_else(wrong)?))))
}

fn shown<'f>(form: &'f Form, secret: Option<&'f str>) -> Result<Shown<'f>, SignInError> {
    match (form.field("client_assertion"), secret) {
        (Some(_), Some(_)) => {
            Err(SignInError::Malformed("client_assertion and client_secret exclude each other"))
        }
        (Some(assertion), None) => match form.field("client_assertion_type") {
            Some(ASSERTION_TYPE) => Ok(Shown::Assertion(assertion)),
            _ => Err(SignInError::ParameterMissing("client_assertion_type")),
        },
        (None, Some(secret)) => Ok(Shown::Secret(secret.as_bytes())),
        (None, None) => Err(SignInError::CredentialMissing),
    }
}

fn issued_by_scope(issued: &Issued) -> Value {
    json!({
        "token_type": "Bearer",
        "expires_in": issued.seconds,
        "ext_expires_in": issued.seconds,
        "access_token": issued.token,
    })
}

/// Version 1 and managed identities write numbers as text.
pub(crate) fn issued_for(issued: &Issued, resource: &str) -> Value {
    json!({
        "token_type": "Bearer",
        "expires_in": issued.seconds.to_string(),
        "ext_expires_in": issued.seconds.to_string(),
        "expires_on": issued.expires.to_string(),
        "not_before": (issued.expires - issued.seconds).to_string(),
        "resource": resource,
        "access_token": issued.token,
    })
}
