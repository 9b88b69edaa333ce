//! The page that a person finds who opens the portal's address, which the metadata name, in a browser.

use std::io::Cursor;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response};

use crate::reply::Body;

const PAGE: &str = include_str!("portal.html");

/// The page loads nothing and is shown in no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The page, if the request is for it. It is the same for everybody and tells nothing of this
/// installation, so it needs no token.
pub(crate) fn answer(request: &Request<Vec<u8>>) -> Option<Response<Body>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !matches!(request.uri().path(), "/portal" | "/portal/") {
        return None;
    }
    let mut response = Response::new(Box::new(Cursor::new(PAGE)) as Body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Some(response)
}
