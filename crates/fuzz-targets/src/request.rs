//! Whole requests as text, so that a fuzzer can make them and people can read its corpus:
//!
//! ```text
//! PUT /subscriptions/…
//! If-Match: *
//!
//! {"location":"local"}
//! ```
//!
//! A `-` before the method leaves the token out. `{S}`, `{T}`, `{C}`, `{P}` stand for the
//! subscription's path, tenant, client and principal, which differ from run to run.

use http::{Method, Request, Uri, header};

use crate::site::Site;

/// Longest input that is sent, in bytes: the limits of sizes have tests of their own.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// What must not be asked of the machine that the fuzzer runs on: files outside the data folder.
const OUTSIDE: [&str; 6] = ["path", "paths", "\\u", "restore", "recovery", "scan"];

/// Reads a request for `host`; none if no HTTP server could be asked it.
pub(crate) fn parse(site: &Site, host: &str, token: &str, data: &[u8]) -> Option<Request<Vec<u8>>> {
    if data.len() > INPUT_BYTES_MAX {
        return None;
    }
    let data = filled(site, data);
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let body = body.get(2..).unwrap_or_default();
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let (anonymous, method) = match method.strip_prefix('-') {
        Some(method) => (true, method),
        None => (false, method),
    };
    let uri = if target.starts_with('/') { format!("{host}{target}") } else { target.to_owned() };
    let uri: Uri = uri.parse().ok()?;
    let method: Method = method.parse().ok()?;
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(at);
        request = request.header(name, value.get(1..)?.trim_ascii());
    }
    let bears = request.headers_ref()?.contains_key(header::AUTHORIZATION);
    if !anonymous && !bears {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(body.to_vec()).ok().filter(stays_inside)
}

fn filled(site: &Site, data: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(data) else { return data.to_vec() };
    let text = text.replace("{S}", &site.subscription).replace("{T}", &site.tenant);
    text.replace("{C}", &site.client).replace("{P}", &site.principal).into_bytes()
}

/// Whether the request can do nothing outside the data folder.
fn stays_inside(request: &Request<Vec<u8>>) -> bool {
    let body = String::from_utf8_lossy(request.body()).to_ascii_lowercase();
    let path = request.uri().path().to_ascii_lowercase();
    let on_disk = path.contains("dataprotection") || path.starts_with("/custody/");
    !on_disk || !OUTSIDE.iter().any(|word| body.contains(word) || path.contains(word))
}
