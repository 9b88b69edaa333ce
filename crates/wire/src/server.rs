//! The server: one process's way in, by whatever transport.

use std::path::PathBuf;
use std::sync::Arc;

use custody_names::CorrelationId;
use custody_resources::{Caller, Refusal};
use custody_worker::rescue::{self, LoneRepository};
use custody_worker::{Platform, PlatformOptions, StartError};
use http::{Request, Response, header};
use serde_json::Value;

use crate::reply::{self, Body};
use crate::{arm, data_plane, own};

/// Largest request body, in bytes.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Longest path with query, in bytes.
const PATH_BYTES_MAX: usize = 16 << 10;
/// Host suffix of key vaults: what follows the key vault's name.
const KEY_VAULT_SUFFIX: &str = "vault.";

/// The REST surface over one data folder.
pub struct Server {
    platform: Arc<Platform>,
}

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
    /// The `If-Match` header.
    pub(crate) if_match: Option<String>,
    /// What the URIs of the answer are written with.
    pub(crate) base: crate::base::Base,
}

impl Call<'_> {
    /// A parameter of the query, name's case aside.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Opens a data folder, setting it up if it is empty.
    pub fn open(options: PlatformOptions) -> Result<Self, StartError> {
        Ok(Self { platform: Platform::open(options)? })
    }

    /// Opens one repository by itself, without an installation's records.
    pub fn open_repository(
        options: PlatformOptions,
        wanted: LoneRepository,
    ) -> Result<Self, StartError> {
        Ok(Self { platform: rescue::open_repository(options, wanted)? })
    }

    /// The folder it serves.
    pub fn data_folder(&self) -> PathBuf {
        self.platform.folder.root().to_owned()
    }

    /// Answers one request.
    pub fn handle(&self, request: Request<Vec<u8>>) -> Response<Body> {
        self.answer(&request).unwrap_or_else(|refusal| reply::refusal(&refusal))
    }

    /// Waits until every operation begun by this process has ended.
    pub fn finish(&self) {
        self.platform.join();
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Result<Response<Body>, Refusal> {
        let call = self.call(request)?;
        let host = request.uri().host().unwrap_or("custody.localhost");
        match host.split_once('.') {
            Some((vault, suffix)) if suffix.starts_with(KEY_VAULT_SUFFIX) => {
                Ok(data_plane::answer(&self.platform, vault, &call))
            }
            _ if call.path.starts_with("/custody/") => own::answer(&self.platform, &call),
            _ => arm::answer(&self.platform, &call),
        }
    }

    fn call<'a>(&self, request: &'a Request<Vec<u8>>) -> Result<Call<'a>, Refusal> {
        let uri = request.uri();
        let text_bytes = uri.path().len() + uri.query().map_or(0, str::len);
        if text_bytes > PATH_BYTES_MAX {
            return Err(Refusal::new(414, "UriTooLong", "the path and query are too long"));
        }
        if request.body().len() > REQUEST_BYTES_MAX {
            let text = format!("a body may have at most {REQUEST_BYTES_MAX} bytes");
            return Err(Refusal::new(413, "RequestTooLarge", text));
        }
        let body = match request.body().as_slice() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes)
                .map_err(|error| Refusal::bad_request(format!("the body is no JSON: {error}")))?,
        };
        let if_match = request.headers().get(header::IF_MATCH);
        Ok(Call {
            caller: self.platform.administrator(),
            correlation: CorrelationId::mint(self.platform.entropy.as_ref())
                .map_err(|error| Refusal::bug(error.to_string()))?,
            method: request.method(),
            path: crate::address::decode_path(uri.path())?,
            query: query(uri.query().unwrap_or_default())?,
            body,
            if_match: if_match.and_then(|value| value.to_str().ok()).map(str::to_owned),
            base: crate::base::Base::canonical(),
        })
    }
}

fn query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
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
