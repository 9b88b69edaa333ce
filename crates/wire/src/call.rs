//! One request, after what all surfaces check alike.

use std::net::IpAddr;
use std::time::Duration;

use custody_names::CorrelationId;
use custody_resources::{Caller, Precondition, Refusal};
use http::{Request, header};
use serde_json::Value;

use crate::base::{Base, HostKind};
use crate::{address, json_body, undelete};

/// Largest request body, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Longest path with query, in bytes.
const PATH_BYTES_MAX: usize = 16 << 10;
/// Longest text that is taken from a header for the record, in bytes.
const HEADER_TEXT_BYTES_MAX: usize = 512;

/// One request after the checks that all surfaces share.
pub(crate) struct Call<'a> {
    /// Who asks.
    pub(crate) caller: Caller,
    /// Ties together what it sets off.
    pub(crate) correlation: CorrelationId,
    /// Method.
    pub(crate) method: &'a http::Method,
    /// Decoded path.
    pub(crate) path: String,
    /// Parameters of the query, decoded.
    pub(crate) query: Vec<(String, String)>,
    /// The JSON body, `Null` without one.
    pub(crate) body: Value,
    /// The `If-Match` header, or `If-None-Match: *`.
    pub(crate) if_match: Option<Precondition>,
    /// The deleted vault that a PUT is to bring back.
    pub(crate) deleted_vault: Option<String>,
    /// When it arrived, by the boot clock.
    pub(crate) begun: Duration,
    /// Where it comes from; none within the process.
    pub(crate) origin: Option<IpAddr>,
    /// The program that asks, as it names itself.
    pub(crate) user_agent: Option<String>,
    /// Which host it is for.
    pub(crate) host: HostKind,
    /// What the URIs of the answer are written with.
    pub(crate) base: Base,
}

/// Where a request arrived, and from where.
pub(crate) struct Arrival {
    pub(crate) host: HostKind,
    pub(crate) base: Base,
    pub(crate) origin: Option<IpAddr>,
    /// By the boot clock.
    pub(crate) begun: Duration,
}

impl<'a> Call<'a> {
    /// Reads a request of `caller`.
    pub(crate) fn read(
        request: &'a Request<Vec<u8>>,
        caller: Caller,
        arrival: Arrival,
        correlation: CorrelationId,
    ) -> Result<Self, Refusal> {
        let uri = request.uri();
        if request.body().len() > REQUEST_BYTES_MAX {
            return Err(too_large());
        }
        let of_this_plane = |refusal: Refusal| match arrival.host {
            HostKind::Main => refusal,
            // What Key Vault calls a request that cannot be understood.
            _ if refusal.status == 400 => Refusal { code: "BadParameter".into(), ..refusal },
            _ => refusal,
        };
        Ok(Self {
            caller,
            correlation,
            method: request.method(),
            path: match arrival.host {
                HostKind::Main => address::in_normal_places(address::decode_path(uri.path())?),
                _ => address::decode_path(uri.path())?,
            },
            query: query(uri.query().unwrap_or_default()).map_err(of_this_plane)?,
            body: json_body::parse(request.body()).map_err(of_this_plane)?,
            if_match: precondition(request),
            deleted_vault: header_text(request, undelete::HEADER),
            origin: arrival.origin,
            begun: arrival.begun,
            user_agent: header_text(request, header::USER_AGENT.as_str()),
            host: arrival.host,
            base: arrival.base,
        })
    }
}

impl Call<'_> {
    /// A parameter of the query, name's case aside.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What must hold for the request to be carried out. An etag in `If-None-Match` asks for an answer
/// to be left out, which is never done here.
fn precondition(request: &Request<Vec<u8>>) -> Option<Precondition> {
    let text = |name| request.headers().get(name)?.to_str().ok();
    if let Some(etag) = text(header::IF_MATCH) {
        return Some(Precondition::Etag(etag.to_owned()));
    }
    text(header::IF_NONE_MATCH).filter(|etag| etag.trim() == "*").map(|_| Precondition::Absent)
}

/// Refuses a path that is too long, before anything looks at it.
pub(crate) fn check_length(uri: &http::Uri) -> Result<(), Refusal> {
    let text_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if text_bytes > PATH_BYTES_MAX {
        return Err(Refusal::new(414, "UriTooLong", "the path and query are too long"));
    }
    Ok(())
}

/// The refusal of a body that is longer than [`REQUEST_BYTES_MAX`].
pub(crate) fn too_large() -> Refusal {
    let text = format!("a body may have at most {REQUEST_BYTES_MAX} bytes");
    Refusal::new(413, "RequestTooLarge", text)
}

/// The caller's own id of a request, if it is one that can be echoed.
pub(crate) fn client_request_id<B>(request: &Request<B>) -> Option<String> {
    header_text(request, "x-ms-client-request-id").filter(|id| id.len() <= 128)
}

fn header_text<B>(request: &Request<B>, name: &str) -> Option<String> {
    let text = request.headers().get(name)?.to_str().ok()?;
    (text.len() <= HEADER_TEXT_BYTES_MAX).then(|| text.to_owned())
}

/// The parameters of a query, decoded.
pub(crate) fn query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescape(name)?, unescape(value)?))
        })
        .collect()
}

fn unescape(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::bad_request("the query is not well-formed");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(value.ok_or_else(wrong)?);
                rest = tail.get(2..).unwrap_or_default();
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
