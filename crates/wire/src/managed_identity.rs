//! Managed identities for what runs on this host, on a plain HTTP port of the loopback: in the
//! instance metadata form (IMDS) and in that of App Service. Only what an administrator attached is
//! served, and every token is on the ledger (`docs/rest-api.md`).

use std::net::{IpAddr, Ipv4Addr};

use custody_directory::token::AUDIENCE_BYTES_MAX;
use custody_names::CorrelationId;
use custody_resources::Refusal;
use custody_worker::{Asking, Chosen, IdentityRequest, Platform};
use http::{Method, Request, Response, header};
use serde_json::json;

use crate::audience;
use crate::base::{Base, split_port};
use crate::form::Form;
use crate::reply::{self, Body};
use crate::server::{self, Server};
use crate::tokens::issued_for;

/// The path of the instance metadata form.
const METADATA: &str = "/metadata/identity/oauth2/token";
/// The path of the App Service form.
pub(crate) const APP_SERVICE: &str = "/msi/token";
/// Where clients look for the instance metadata form: an address that a host may map to this port.
const METADATA_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// Headers that a proxy leaves: who sits behind one is not on this host.
const FORWARDED: [&str; 4] = ["x-forwarded-for", "x-forwarded-host", "forwarded", "via"];
/// The parameters that choose an identity.
const CHOICES: [&str; 5] = ["client_id", "object_id", "principal_id", "mi_res_id", "msi_res_id"];

impl Server {
    /// Answers one request of the managed-identity port, which must be bound to the loopback alone.
    pub fn handle_managed_identity(
        &self,
        request: &Request<Vec<u8>>,
        base: &Base,
        address: IpAddr,
    ) -> Response<Body> {
        let correlation = CorrelationId::mint(self.platform.entropy.as_ref());
        let answered = correlation
            .map_err(|error| Refusal::bug(error.to_string()))
            .and_then(|correlation| answer(&self.platform, base, request, address, correlation));
        let mut response = answered.unwrap_or_else(|fault| refusal(&fault));
        let none = header::HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, none);
        response
    }
}

fn answer(
    platform: &Platform,
    base: &Base,
    request: &Request<Vec<u8>>,
    address: IpAddr,
    correlation: CorrelationId,
) -> Result<Response<Body>, Refusal> {
    let headers = request.headers();
    if !address.is_loopback() || FORWARDED.iter().any(|name| headers.contains_key(*name)) {
        let text = "only requests from this host are answered, and none that came by a proxy";
        return Err(Refusal::new(403, "RequestForwarded", text));
    }
    let named = server::authority(request)?;
    if !named.is_some_and(is_of_this_host) {
        let text = "the Host header must be localhost, a loopback address or 169.254.169.254";
        return Err(Refusal::new(403, "HostNotServed", text));
    }
    let asking = match request.uri().path().trim_end_matches('/') {
        METADATA => {
            let said = headers.get("metadata").and_then(|value| value.to_str().ok());
            if !said.is_some_and(|said| said.eq_ignore_ascii_case("true")) {
                return Err(bad_request("Required metadata header not specified"));
            }
            Asking::Host
        }
        APP_SERVICE => {
            let secret = headers.get("x-identity-header").map(header::HeaderValue::as_bytes);
            Asking::Workload(secret.unwrap_or_default())
        }
        _ => {
            return Err(Refusal::new(
                404,
                "InvalidPath",
                "managed identities alone are served here",
            ));
        }
    };
    if *request.method() != Method::GET {
        return Err(Refusal::new(405, "MethodNotAllowed", "only GET is served here"));
    }
    let query = Form::read(request.uri().query().unwrap_or_default().as_bytes())
        .ok_or_else(|| bad_request("the query is not well-formed"))?;
    if !query.field("api-version").is_some_and(is_version) {
        return Err(bad_request("Required query variable 'api-version' is missing or invalid"));
    }
    let audience = query
        .field("resource")
        .filter(|resource| resource.len() <= AUDIENCE_BYTES_MAX)
        .ok_or_else(|| bad_request("Required query variable 'resource' is missing or too long"))?;
    let wanted = IdentityRequest {
        asking,
        chosen: chosen(&query)?,
        audience,
        host: &base.main(),
        address: Some(address),
        correlation,
    };
    let (issued, client) = platform
        .identity_token(&wanted, &|tenant| audience::is_known(platform, base, tenant, audience))?;
    let mut body = issued_for(&issued, audience);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("client_id".into(), json!(client));
    }
    Ok(reply::json(200, Some(&body)))
}

/// Whether a `Host` is one by which this port is meant. Any other means that a name of somebody
/// else's points here (DNS rebinding): then it is not a program of this host that chose to ask.
fn is_of_this_host(authority: &str) -> bool {
    let Some((host, _)) = split_port(authority) else { return false };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback() || address == METADATA_ADDRESS)
        || host.eq_ignore_ascii_case("localhost")
}

fn chosen(query: &Form) -> Result<Chosen, Refusal> {
    let mut choices = CHOICES.iter().filter_map(|name| Some((*name, query.field(name)?)));
    let choice = choices.next();
    if choices.next().is_some() {
        return Err(bad_request("client_id, object_id and msi_res_id exclude each other"));
    }
    let wrong = |error: custody_names::InvalidName| bad_request(&error.to_string());
    Ok(match choice {
        None => Chosen::TheOnly,
        Some(("client_id", id)) => Chosen::Client(id.parse().map_err(wrong)?),
        Some(("object_id" | "principal_id", id)) => Chosen::Principal(id.parse().map_err(wrong)?),
        Some((_, id)) => Chosen::Resource(id.parse().map_err(wrong)?),
    })
}

/// `2018-02-01` for example.
fn is_version(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

fn bad_request(text: &str) -> Refusal {
    Refusal::new(400, "invalid_request", text)
}

/// Both shapes in one: IMDS says `error`, App Service `statusCode` and `message`.
fn refusal(refusal: &Refusal) -> Response<Body> {
    let word = match refusal.status {
        401 => "unauthorized_client",
        403..=405 => "not_allowed",
        400 => "invalid_request",
        _ => "server_error",
    };
    let body = json!({
        "error": word,
        "error_description": refusal.message,
        "statusCode": refusal.status,
        "message": refusal.message,
        "code": refusal.code,
    });
    reply::json(refusal.status, Some(&body))
}
