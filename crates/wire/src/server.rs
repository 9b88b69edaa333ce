//! The server: one process's way in, by whatever transport.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use custody_names::{CorrelationId, InstallationId};
use custody_resources::Refusal;
use custody_worker::rescue::{self, LoneRepository};
use custody_worker::{Platform, PlatformOptions, StartError};
use http::{Request, Response, header};

use crate::base::{Base, HostKind};
use crate::call::{self, Arrival};
use crate::metrics::Metrics;
use crate::reply::{self, Body};
use crate::stamp::Stamp;
use crate::{arm, challenge, data_plane, health, hsm_authorization, metadata, own};

pub(crate) use crate::call::Call;

/// The REST surface over one data folder.
pub struct Server {
    pub(crate) platform: Arc<Platform>,
    pub(crate) metrics: Metrics,
    base: Base,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
}

impl Server {
    /// Opens a data folder, setting it up if it is empty.
    pub fn open(options: PlatformOptions) -> Result<Self, StartError> {
        Ok(Self::over(Platform::open(options)?))
    }

    /// Opens one repository by itself, without an installation's records.
    pub fn open_repository(
        options: PlatformOptions,
        wanted: LoneRepository,
    ) -> Result<Self, StartError> {
        Ok(Self::over(rescue::open_repository(options, wanted)?))
    }

    fn over(platform: Arc<Platform>) -> Self {
        Self { platform, metrics: Metrics::default(), base: Base::canonical() }
    }

    /// The same server, reached over the network under `base`.
    #[must_use]
    pub fn reached_by(self, base: Base) -> Self {
        Self { base, ..self }
    }

    /// What it is reached by.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The folder it serves.
    pub fn data_folder(&self) -> PathBuf {
        self.platform.folder.root().to_owned()
    }

    /// Which installation it serves.
    pub fn installation_id(&self) -> InstallationId {
        self.platform.installation.installation_id
    }

    /// Answers one request from the same process, as the bootstrap administrator.
    pub fn handle(&self, request: Request<Vec<u8>>) -> Response<Body> {
        let answered = self.correlation().and_then(|correlation| {
            call::check_length(request.uri())?;
            let (host, base) = request
                .uri()
                .authority()
                .and_then(|authority| Base::canonical().locate(authority.as_str()))
                .unwrap_or((HostKind::Main, Base::canonical()));
            let arrival = Arrival { host, base, origin: None };
            self.route(&Call::read(&request, self.platform.administrator(), arrival, correlation)?)
        });
        answered.unwrap_or_else(|refusal| reply::refusal(&refusal))
    }

    /// Answers one request that came over the network. What needs a token gets nothing without.
    pub fn handle_from(&self, request: Request<Vec<u8>>, peer: &Peer) -> Response<Body> {
        let begun = self.platform.clock.since_boot();
        let arrived = self.arrive(&request, peer);
        let host = arrived.as_ref().ok().map(|arrival| arrival.host.clone());
        let correlation = self.correlation();
        let response = match (&arrived, &correlation) {
            (Ok(_), Ok(correlation)) if health::is_open(request.uri().path()) => {
                health::answer(self, &request, peer, *correlation)
            }
            (Err(refusal), _) | (_, Err(refusal)) => reply::refusal(refusal),
            (Ok(arrival), Ok(_)) => open_metadata(&request, arrival)
                .unwrap_or_else(|| challenge::missing_token(&self.platform, arrival)),
        };
        let took = self.platform.clock.since_boot().saturating_sub(begun);
        self.finish_answer(&request, peer, host.as_ref(), correlation.ok(), took, response)
    }

    /// Answers a request that the listener refused before its body was read.
    pub(crate) fn refuse(
        &self,
        head: &http::request::Parts,
        peer: &Peer,
        refusal: &Refusal,
    ) -> Response<Body> {
        let mut request = Request::new(Vec::new());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        let host = self.arrive(&request, peer).ok().map(|arrival| arrival.host);
        let correlation = self.correlation().ok();
        let response = reply::refusal(refusal);
        self.finish_answer(&request, peer, host.as_ref(), correlation, Duration::ZERO, response)
    }

    /// Waits until every operation begun by this process has ended.
    pub fn finish(&self) {
        self.platform.join();
    }

    /// Finds what host a network request is for.
    fn arrive(&self, request: &Request<Vec<u8>>, peer: &Peer) -> Result<Arrival, Refusal> {
        call::check_length(request.uri())?;
        let of_header = || request.headers().get(header::HOST)?.to_str().ok();
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let authority = authority
            .or_else(of_header)
            .ok_or_else(|| Refusal::new(400, "HostMissing", "the request names no host"))?;
        let (host, base) = self.base.locate(authority).ok_or_else(|| {
            let shown: String = authority.chars().take(200).collect();
            let text = format!("{shown:?} is not served here; hosts end with {}", self.base.suffix);
            Refusal::new(421, "HostNotServed", text).with_fix("custody env")
        })?;
        Ok(Arrival { host, base, origin: Some(peer.address.ip()) })
    }

    fn route(&self, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
        match &call.host {
            HostKind::KeyVault(name) => Ok(data_plane::answer(&self.platform, name, call)),
            HostKind::ManagedHsm(name) => Ok(hsm_authorization::answer(&self.platform, name, call)
                .unwrap_or_else(|| data_plane::answer(&self.platform, name, call))),
            HostKind::Main if call.path.starts_with("/custody/") => {
                own::answer(&self.platform, call)
            }
            HostKind::Main => arm::answer(&self.platform, call),
        }
    }

    fn correlation(&self) -> Result<CorrelationId, Refusal> {
        CorrelationId::mint(self.platform.entropy.as_ref())
            .map_err(|error| Refusal::bug(error.to_string()))
    }

    /// Counts an answer and puts the headers on it that every answer bears.
    fn finish_answer(
        &self,
        request: &Request<Vec<u8>>,
        peer: &Peer,
        host: Option<&HostKind>,
        correlation: Option<CorrelationId>,
        took: Duration,
        mut response: Response<Body>,
    ) -> Response<Body> {
        self.metrics.count(request, host, response.status(), took);
        let stamp = Stamp {
            host,
            peer: peer.address.ip(),
            location: &self.platform.installation.location,
            now: self.platform.clock.now(),
            correlation,
            client_request_id: call::client_request_id(request),
        };
        stamp.put_on(response.headers_mut());
        response
    }
}

/// What a client reads before it can have a token.
fn open_metadata(request: &Request<Vec<u8>>, arrival: &Arrival) -> Option<Response<Body>> {
    let query = call::query(request.uri().query().unwrap_or_default()).unwrap_or_default();
    let path = request.uri().path();
    let answer = metadata::answer(&arrival.base, request.method(), path, &query)?;
    Some(answer.unwrap_or_else(|refusal| reply::refusal(&refusal)))
}
