//! Whole requests to every surface.

use std::net::{IpAddr, Ipv4Addr};

use custody_wire::Base;
use http::{HeaderValue, header};

use crate::request::parse;
use crate::site::{HSM, KEY_VAULT, MAIN, World, checked, read};

/// ARM.
pub(crate) fn arm(world: &World, data: &[u8]) {
    to_main(world, "", data);
}

/// Graph, whose paths stand below `/v1.0`.
pub(crate) fn graph(world: &World, data: &[u8]) {
    to_main(world, "/v1.0", data);
}

/// custody's own requests.
pub(crate) fn own(world: &World, data: &[u8]) {
    to_main(world, "/custody", data);
}

/// Key vaults and managed HSMs: the first byte says which.
pub(crate) fn data_plane(world: &World, data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let site = world.site();
    let (host, token) = match which {
        b'h' => (HSM, &site.tokens[2]),
        _ => (KEY_VAULT, &site.tokens[1]),
    };
    if let Some(request) = parse(site, host, token, data) {
        site.ask(request);
    }
}

/// The managed-identity port.
pub(crate) fn identity(world: &World, data: &[u8]) {
    let site = world.site();
    let Some(mut request) = parse(site, "", "", data) else { return };
    let host = HeaderValue::from_static("127.0.0.1");
    request.headers_mut().entry(header::HOST).or_insert(host);
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let response = site.server.handle_managed_identity(&request, &Base::canonical(), from);
    checked(read(response));
}

fn to_main(world: &World, below: &str, data: &[u8]) {
    let site = world.site();
    if let Some(request) = parse(site, &format!("{MAIN}{below}"), &site.tokens[0], data) {
        site.ask(request);
    }
}
