//! The server: one process's way in, by whatever transport.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use custody_key_vault::AddressRange;
use custody_names::{ClientId, CorrelationId, InstallationId, PrincipalId};
use custody_resources::{Caller, Refusal};
use custody_worker::rescue::{self, LoneRepository};
use custody_worker::{
    Followed, Housekeeping, KeyVaultLink, Platform, PlatformOptions, PostOffice, StartError,
};
use http::{Request, Response, header};

use crate::authentication::Surface;
use crate::base::{Base, HostKind};
use crate::call::{self, Arrival};
use crate::courier::WebCourier;
use crate::metrics::Metrics;
use crate::portal;
use crate::reach::Reach;
use crate::reply::{self, Body};
use crate::stamp::Stamp;
use crate::{
    arm, authentication, data_plane, graph, health, hsm_authorization, metadata, operate, own,
    tokens,
};

pub(crate) use crate::call::Call;

/// The REST surface over one data folder.
pub struct Server {
    pub(crate) platform: Arc<Platform>,
    pub(crate) metrics: Metrics,
    pub(crate) network: Option<Network>,
    /// Where webhooks may lie.
    reach: Reach,
    /// Made when there is first something to send on.
    post_office: OnceLock<PostOffice>,
}

/// How a server is reached, for answers that say so.
pub struct Network {
    /// What its URIs are written with.
    pub base: Base,
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that clients must trust; none if it is no authority of our own.
    pub authority_file: Option<PathBuf>,
    /// The administrator's application, if it was looked up.
    pub administrator: Option<Administrator>,
    /// The port of the managed-identity endpoint.
    pub identity_port: Option<u16>,
    /// The clock, if it is one that can be moved.
    pub clock: Option<Arc<dyn AdjustableClock>>,
}

/// The administrator's application, as clients are told of it.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// What it signs in as.
    pub client_id: ClientId,
    /// Who its roles are granted to.
    pub object_id: PrincipalId,
    /// The file with its secret.
    pub secret_file: Option<PathBuf>,
}

/// A clock that a drill or a test moves (DESIGN §7).
pub trait AdjustableClock: Send + Sync {
    /// Moves it forward, durably: no later server of the data folder sees an earlier time.
    fn advance(&self, by: Duration) -> std::io::Result<()>;
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
        let (metrics, reach) = (Metrics::default(), Reach::default());
        Self { platform, metrics, network: None, reach, post_office: OnceLock::new() }
    }

    /// The same server, reached over the network.
    #[must_use]
    pub fn reached_by(self, network: Network) -> Self {
        Self { network: Some(network), ..self }
    }

    /// The same server, posting to webhooks at these addresses too although they lie inside a
    /// network.
    #[must_use]
    pub fn posting_to(self, allowed: Vec<AddressRange>) -> Self {
        Self { reach: Reach::new(allowed), ..self }
    }

    /// Lets requests of vaults' identities go this way; see [`Platform::link_key_vaults`].
    pub fn link_key_vaults(&self, link: Arc<dyn KeyVaultLink>) {
        self.platform.link_key_vaults(link);
    }

    /// The same server, probing the keys of vaults so often.
    #[must_use]
    pub fn probing_every(self, every: Duration) -> Self {
        self.platform.probe_every(every);
        self
    }

    /// The folder it serves.
    pub fn data_folder(&self) -> PathBuf {
        self.platform.folder.root().to_owned()
    }

    /// Which installation it serves.
    pub fn installation_id(&self) -> InstallationId {
        self.platform.installation.installation_id
    }

    /// Who acts for whoever can open the data folder, by the operating system's name.
    pub(crate) fn administrator_name(&self) -> String {
        self.platform.administrator().name
    }

    /// Does what is due by now; see [`Platform::housekeep`].
    pub fn housekeep(&self) -> Housekeeping {
        self.platform.housekeep()
    }

    /// Rewraps vaults whose key has a newer version; see [`Platform::follow_keys`].
    pub fn follow_keys(&self) -> Followed {
        self.platform.follow_keys()
    }

    /// Lets audit records and events go out to all who lack some, each by a thread of its own, and
    /// returns at once; see [`PostOffice::round`].
    pub fn send_on(&self) -> Vec<Refusal> {
        match self.post_office() {
            Ok(post_office) => post_office.round(),
            Err(refusal) => vec![refusal],
        }
    }

    fn post_office(&self) -> Result<&PostOffice, Refusal> {
        if let Some(post_office) = self.post_office.get() {
            return Ok(post_office);
        }
        let courier = WebCourier::new(self.reach.clone());
        let courier = Arc::new(courier.map_err(|error| Refusal::bug(error.to_string()))?);
        let hosts = match &self.network {
            Some(network) => network.base.hosts(),
            None => Base::canonical().hosts(),
        };
        let made = PostOffice::new(Arc::clone(&self.platform), courier, hosts);
        Ok(self.post_office.get_or_init(|| made))
    }

    /// Whether any recovery point was made here.
    pub fn holds_recovery_points(&self) -> Result<bool, Refusal> {
        self.platform.holds_recovery_points()
    }

    /// Answers one request from the same process, as the bootstrap administrator.
    pub fn handle(&self, request: Request<Vec<u8>>) -> Response<Body> {
        self.handle_of(request, &self.platform.administrator())
    }

    /// Answers one request from the same machine, of whoever may open the data folder: the same
    /// as from the same process, with `user` in the ledger.
    pub(crate) fn handle_local(&self, request: Request<Vec<u8>>, user: &str) -> Response<Body> {
        let begun = self.platform.clock.since_boot();
        let caller = Caller { name: user.to_owned(), ..self.platform.administrator() };
        let named = authority(&request).unwrap_or_default();
        let host = named.and_then(|name| Base::canonical().locate(name));
        let asked = http::Request::builder().uri(request.uri()).body(());
        let response = self.handle_of(request, &caller);
        if let Ok(asked) = asked {
            let took = self.platform.clock.since_boot().saturating_sub(begun);
            self.metrics.count(
                &asked,
                host.as_ref().map(|(host, _)| host),
                response.status(),
                took,
            );
        }
        response
    }

    /// Within the process nobody needs a token; who bears one acts as its principal.
    fn handle_of(&self, request: Request<Vec<u8>>, caller: &Caller) -> Response<Body> {
        let answered = self.correlation().and_then(|correlation| {
            call::check_length(request.uri())?;
            let located = authority(&request)?.and_then(|name| Base::canonical().locate(name));
            let (host, base) = located.unwrap_or((HostKind::Main, Base::canonical()));
            let begun = self.platform.clock.since_boot();
            let arrival = Arrival { host, base, origin: None, begun };
            let bears_token = request.headers().contains_key(header::AUTHORIZATION);
            let known = (!bears_token).then(|| caller.clone());
            self.answer(&request, arrival, known, correlation)
        });
        answered.unwrap_or_else(|refusal| reply::refusal(&refusal))
    }

    /// Answers one request that came over the network. What needs a token gets nothing without.
    pub fn handle_from(&self, request: Request<Vec<u8>>, peer: &Peer) -> Response<Body> {
        let begun = self.platform.clock.since_boot();
        let arrived = self.arrive(&request, peer);
        let host = arrived.as_ref().ok().map(|arrival| arrival.host.clone());
        let correlation = self.correlation();
        let is_open = health::is_open(request.uri().path());
        let answered = match (arrived, &correlation) {
            (_, Ok(correlation)) if is_open && authority(&request).is_ok() => {
                Ok(health::answer(self, &request, peer, *correlation))
            }
            (Ok(arrival), Ok(correlation)) => self.answer(&request, arrival, None, *correlation),
            (Err(refusal), _) => Err(refusal),
            (_, Err(refusal)) => Err(refusal.clone()),
        };
        let response = answered.unwrap_or_else(|refusal| reply::refusal(&refusal));
        let took = self.platform.clock.since_boot().saturating_sub(begun);
        let seen = Seen { host: host.as_ref(), correlation: correlation.ok(), took };
        self.finish_answer(&request, peer, &seen, response)
    }

    /// Answers one request of the managed-identity port.
    pub(crate) fn handle_identity(
        &self,
        request: &Request<Vec<u8>>,
        peer: &Peer,
    ) -> Response<Body> {
        let canonical = Base::canonical();
        let base = self.network.as_ref().map_or(&canonical, |network| &network.base);
        let begun = self.platform.clock.since_boot();
        let response = self.handle_managed_identity(request, base, peer.address.ip());
        let took = self.platform.clock.since_boot().saturating_sub(begun);
        self.metrics.count_as("identity", response.status(), took);
        response
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
        let seen = Seen { host: host.as_ref(), correlation, took: Duration::ZERO };
        self.finish_answer(&request, peer, &seen, response)
    }

    /// Lets jobs that wait for their key vault wait no longer: the process is to end. They fail as
    /// `JobInterrupted`.
    pub fn stop_waiting(&self) {
        self.platform.stop_waiting();
    }

    /// Waits until every operation begun by this process has ended.
    pub fn finish(&self) {
        self.platform.join();
    }

    /// Finds what host a network request is for.
    fn arrive(&self, request: &Request<Vec<u8>>, peer: &Peer) -> Result<Arrival, Refusal> {
        call::check_length(request.uri())?;
        let authority = authority(request)?
            .ok_or_else(|| Refusal::new(400, "HostMissing", "the request names no host"))?;
        let canonical = Base::canonical();
        let own = self.network.as_ref().map_or(&canonical, |network| &network.base);
        let (host, base) = own.locate(authority).ok_or_else(|| {
            let shown: String = authority.chars().take(200).collect();
            let text = format!("{shown:?} is not served here; hosts end with {}", own.suffix);
            Refusal::new(421, "HostNotServed", text).with_fix("custody env")
        })?;
        let begun = self.platform.clock.since_boot();
        Ok(Arrival { host, base, origin: Some(peer.address.ip()), begun })
    }

    /// Answers what needs no token, then finds out who asks unless that is known, and asks on.
    fn answer(
        &self,
        request: &Request<Vec<u8>>,
        arrival: Arrival,
        known: Option<Caller>,
        correlation: CorrelationId,
    ) -> Result<Response<Body>, Refusal> {
        let platform = &self.platform;
        let (base, origin) = (&arrival.base, arrival.origin);
        if arrival.host == HostKind::Main
            && let Some(answered) = tokens::answer(platform, base, request, origin, correlation)
        {
            return Ok(answered);
        }
        if let Some(answered) = open_page(request, &arrival) {
            return Ok(answered);
        }
        let caller = if let Some(caller) = known {
            caller
        } else {
            // The path as it will be routed: what a token must be for follows from it.
            let path = crate::address::decode_path(request.uri().path())?;
            let surface = Surface::of(platform, &arrival.host, &path);
            match authentication::authenticate(platform, base, request.headers(), surface) {
                Ok(caller) => Caller { address: origin, ..caller },
                Err(fault) => return Ok(fault.response(platform, base, surface)),
            }
        };
        self.route(&Call::read(request, caller, arrival, correlation)?)
    }

    fn route(&self, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
        match &call.host {
            HostKind::KeyVault(name) => Ok(data_plane::answer(&self.platform, name, call)),
            HostKind::ManagedHsm(name) => Ok(hsm_authorization::answer(&self.platform, name, call)
                .unwrap_or_else(|| data_plane::answer(&self.platform, name, call))),
            HostKind::Main if call.path.starts_with("/custody/") => {
                match operate::answer(self, call)? {
                    Some(response) => Ok(response),
                    None => own::answer(&self.platform, call),
                }
            }
            HostKind::Main if graph::is_graph(&call.path) => {
                Ok(graph::answer(&self.platform, &call.base, call))
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
        seen: &Seen<'_>,
        mut response: Response<Body>,
    ) -> Response<Body> {
        self.metrics.count(request, seen.host, response.status(), seen.took);
        let stamp = Stamp {
            host: seen.host,
            peer: peer.address.ip(),
            location: &self.platform.installation.location,
            now: self.platform.clock.now(),
            correlation: seen.correlation,
            client_request_id: call::client_request_id(request),
        };
        stamp.put_on(response.headers_mut());
        response
    }
}

/// What became clear of a request while it was answered.
struct Seen<'a> {
    host: Option<&'a HostKind>,
    correlation: Option<CorrelationId>,
    took: Duration,
}

/// The host that a request names: in its URI, else in its header.
///
/// # Errors
/// `HostAmbiguous` if there are several such headers: a proxy before this server may have looked at
/// another one (RFC 9112, section 3.2).
pub(crate) fn authority(request: &Request<Vec<u8>>) -> Result<Option<&str>, Refusal> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let of_header = named.next().and_then(|value| value.to_str().ok());
    if named.next().is_some() {
        return Err(Refusal::new(400, "HostAmbiguous", "the request has several Host headers"));
    }
    Ok(request.uri().authority().map(http::uri::Authority::as_str).or(of_header))
}

/// What is read before there is a token: by clients the metadata, by people a page.
fn open_page(request: &Request<Vec<u8>>, arrival: &Arrival) -> Option<Response<Body>> {
    if arrival.host == HostKind::Main
        && let Some(page) = portal::answer(request)
    {
        return Some(page);
    }
    let query = call::query(request.uri().query().unwrap_or_default()).unwrap_or_default();
    let path = request.uri().path();
    let answer = metadata::answer(&arrival.base, request.method(), path, &query)?;
    Some(answer.unwrap_or_else(|refusal| reply::refusal(&refusal)))
}
