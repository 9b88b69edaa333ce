//! The headers that every answer over the network bears.

use std::net::IpAddr;

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, Location};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::base::HostKind;
use crate::data_plane::REGION_HEADER;

/// What ARM says is left of a subscription's requests. custody counts key operations, not these,
/// so it is always all of them.
const REQUESTS_LEFT: &str = "11999";
/// Newest version of the data plane that answers follow.
const KEY_VAULT_SERVICE_VERSION: &str = "2.0.0";

/// What the headers tell.
pub(crate) struct Stamp<'a> {
    pub(crate) host: Option<&'a HostKind>,
    pub(crate) peer: IpAddr,
    pub(crate) location: &'a Location,
    pub(crate) now: Timestamp,
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) client_request_id: Option<String>,
}

impl Stamp<'_> {
    /// Puts the headers on an answer.
    pub(crate) fn put_on(&self, headers: &mut HeaderMap) {
        let fixed = [
            (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        for (name, value) in fixed {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        let places_itself = headers.contains_key(REGION_HEADER);
        let mut put = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let request = self.correlation.map(|id| id.to_string());
        if let Some(id) = &request {
            put("x-ms-request-id", id);
            put("x-ms-correlation-request-id", id);
        }
        if let Some(id) = &self.client_request_id {
            put("x-ms-client-request-id", id);
        }
        match self.host {
            Some(HostKind::KeyVault(_) | HostKind::ManagedHsm(_)) => {
                // Of a key vault that was not found, or asked without a token, no place is told.
                if !places_itself {
                    put(REGION_HEADER, self.location.as_str());
                }
                put("x-ms-keyvault-service-version", KEY_VAULT_SERVICE_VERSION);
                put("x-ms-keyvault-network-info", &network_info(self.peer));
            }
            Some(HostKind::Main) => {
                let time = self.now.strftime("%Y%m%dT%H%M%SZ");
                let region = self.location.as_str().to_ascii_uppercase();
                let id = request.unwrap_or_default();
                put("x-ms-routing-request-id", &format!("{region}:{time}:{id}"));
                put("x-ms-ratelimit-remaining-subscription-reads", REQUESTS_LEFT);
                put("x-ms-ratelimit-remaining-subscription-writes", REQUESTS_LEFT);
                put("x-ms-ratelimit-remaining-subscription-resource-requests", REQUESTS_LEFT);
            }
            None => {}
        }
    }
}

fn network_info(peer: IpAddr) -> String {
    let family = if peer.is_ipv4() { "InterNetwork" } else { "InterNetworkV6" };
    format!("conn_type=Ipv4;addr={peer};act_addr_fam={family};")
}
