//! The process as a server: its socket, its certificate, and what it does beside answering.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custody_ambient::Clock;
use custody_resources::Refusal;
use custody_wire::{
    AdjustableClock, Authority, Base, CANONICAL_SUFFIX, CertificateError, Certificates, Limits,
    Listener, Network, Server, Sockets,
};
use serde_json::{Value, json};

use crate::commands::up::Options;
use crate::context::Context;
use crate::error::CliError;
use crate::in_process::{self, Machine};
use crate::local_socket::LocalSocket;
use crate::virtual_clock::VirtualClock;
use crate::{administrator, machine, terminal};

/// The port unless another is named.
pub(crate) const DEFAULT_PORT: u16 = 8443;
/// How often a stop is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often certificates and what falls due are looked at.
const ROUNDS_EVERY: Duration = Duration::from_mins(1);
/// How often audit records are sent on.
const DELIVERY_EVERY: Duration = Duration::from_secs(1);
/// Files that the process opens beside its connections: stores, sources, restores.
const OWN_FILES: usize = 512;

/// What is served and how: the command line first, then the configuration.
pub(crate) struct Settings {
    address: SocketAddr,
    suffix: String,
    ready_file: Option<PathBuf>,
    given: Option<(PathBuf, PathBuf)>,
    identity_port: Option<u16>,
    renew_secret: bool,
    is_clock_virtual: bool,
    limits: Limits,
}

impl Settings {
    /// The settings of this run.
    pub(crate) fn of(options: &Options, context: &Context<'_>) -> Result<Self, CliError> {
        let config = &context.config.server;
        let listen = options.listen.as_deref().or(config.listen.as_deref());
        let port = options.port.or(config.port);
        let suffix = options.suffix.as_deref().or(config.suffix.as_deref());
        let beside = |path: &PathBuf| context.place.data_folder.join(path);
        let given = match (&options.tls_cert, &options.tls_key) {
            (Some(chain), Some(key)) => Some((context.absolute(chain), context.absolute(key))),
            _ => match (&config.tls_cert, &config.tls_key) {
                (Some(chain), Some(key)) => Some((beside(chain), beside(key))),
                (None, None) => None,
                _ => {
                    let text = "tls-cert and tls-key stand in the configuration together or not";
                    return Err(CliError::Usage(text.to_owned()));
                }
            },
        };
        let mut limits = Limits::default();
        if let Some(most) = config.connections_max {
            limits.connections_max = most;
        }
        Ok(Self {
            address: address(listen, port)?,
            suffix: host_name(suffix.unwrap_or(CANONICAL_SUFFIX))?,
            ready_file: options.ready_file.as_deref().map(|path| context.absolute(path)),
            given,
            identity_port: options.managed_identity.or(config.managed_identity),
            renew_secret: options.renew_secret,
            is_clock_virtual: options.virtual_clock,
            limits,
        })
    }
}

/// Serves until a signal says stop.
pub(crate) fn serve(settings: &Settings, context: &Context<'_>) -> Result<(), CliError> {
    // From here on a signal is noted instead of ending the process.
    (context.world.interrupts)();
    // Bound first: that the address is taken is said before anything is opened.
    let socket = bind(settings.address)?;
    let address = socket.local_addr().map_err(CliError::Output)?;
    let base = Base::new(settings.suffix.clone(), address.port());
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let identities = settings.identity_port.map(|port| bind(loopback(port))).transpose()?;
    let identity_port = match &identities {
        Some(socket) => Some(socket.local_addr().map_err(CliError::Output)?.port()),
        None => None,
    };
    let (server, clock) = open(settings, context)?;
    let administrator = administrator::ensure(context, &server, settings.renew_secret)?;
    let certificates = certificates(settings, context, &server)?;
    let server = server.posting_to(context.config.webhooks.allow_addresses.clone());
    let server = match context.config.keys.probe_minutes {
        Some(minutes) => server.probing_every(Duration::from_mins(minutes)),
        None => server,
    };
    let server = Arc::new(server.reached_by(Network {
        base: base.clone(),
        address,
        authority_file: certificates.authority_file(),
        administrator: Some(administrator),
        identity_port,
        clock,
    }));
    let local = LocalSocket::bind(&server.data_folder()).map_err(CliError::Output)?;
    let (own_socket, local) = local.unzip();
    if own_socket.is_none() {
        context.say("another server runs on this data folder; commands keep asking that one");
    }
    let sockets = Sockets { network: vec![socket], local, identities };
    let limits = within_the_machine(settings.limits.clone());
    let listener = Listener::start(Arc::clone(&server), sockets, &certificates, limits)
        .map_err(CliError::Output)?;
    if let Some(path) = &settings.ready_file {
        write_ready_file(path, &base, address.port())?;
    }
    greet(context, &base, &certificates);
    wait_for_stop(context, &server, &certificates);
    // Nobody finds the server any more; whoever has found it is served to the end.
    drop(own_socket);
    context.say("stopping: requests under way may end");
    if !listener.stop() {
        context.warn("some requests had not ended and were cut off");
    }
    // What works goes on to its end; what only waits has none that could be waited for.
    server.stop_waiting();
    server.finish();
    Ok(())
}

/// Opens the data folder under the clock that was asked for.
fn open(
    settings: &Settings,
    context: &Context<'_>,
) -> Result<(Server, Option<Arc<dyn AdjustableClock>>), CliError> {
    let mut machine = context.machine();
    let open = |machine: &Machine| {
        in_process::open_server(&context.place, machine, &|what| context.passphrase(what))
    };
    if !settings.is_clock_virtual {
        return Ok((open(&machine)?, None));
    }
    let folder = &context.place.data_folder;
    let (clock, is_new) = VirtualClock::of(folder, Arc::clone(&machine.clock))?;
    let clock = Arc::new(clock);
    machine.clock_is_virtual = true;
    machine.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let server = open(&machine)?;
    if is_new && server.holds_recovery_points()? {
        clock.unmark();
        let folder = terminal::path(folder.as_os_str().as_encoded_bytes());
        return Err(CliError::Conflict {
            code: "ClockIsReal",
            message: format!("{folder} holds recovery points that were made in real time"),
            fix: "custody up --virtual-clock --data-dir ANOTHER_DIR".to_owned(),
        });
    }
    Ok((server, Some(clock)))
}

/// The certificates to show. They live by the machine's clock even if nothing else does: their
/// readers do.
fn certificates(
    settings: &Settings,
    context: &Context<'_>,
    server: &Server,
) -> Result<Certificates, CliError> {
    if let Some((chain, key)) = &settings.given {
        return Ok(Certificates::given(chain, key)?);
    }
    let authority = Authority {
        key_folder: context.place.seal_folder.clone(),
        data_folder: server.data_folder(),
        installation: server.installation_id().to_string(),
        suffix: settings.suffix.clone(),
    };
    Ok(Certificates::own(authority, Arc::clone(&context.world.clock))?)
}

/// No more connections than the machine gives files for.
fn within_the_machine(limits: Limits) -> Limits {
    let most = machine::raise_file_limit().saturating_sub(OWN_FILES).max(1);
    Limits { connections_max: limits.connections_max.min(most), ..limits }
}

fn greet(context: &Context<'_>, base: &Base, certificates: &Certificates) {
    context.say(&format!("custody serves {} (Ctrl-C stops it)", base.main()));
    context.say(&format!("  key vaults: {}", base.key_vault(&"NAME")));
    if let Some(path) = certificates.authority_file() {
        let path = terminal::path(path.as_os_str().as_encoded_bytes());
        context.say(&format!("  clients must trust {path}"));
    }
    context.say("next: `custody env` prints what az and the SDKs need");
}

/// Looks after what changes by itself until a signal says stop.
fn wait_for_stop(context: &Context<'_>, server: &Server, certificates: &Certificates) {
    let clock = &context.world.clock;
    let (mut looked, mut delivered) = (None, None);
    while (context.world.interrupts)() == 0 {
        let now = clock.since_boot();
        if looked.is_none_or(|looked| now.saturating_sub(looked) >= ROUNDS_EVERY) {
            looked = Some(now);
            // What was shown so far is shown on, and the next round tries again.
            if let Err(error) = certificates.renew() {
                context.warn(&terminal::line(&error.to_string()));
            }
            for problem in server.housekeep().problems {
                context.warn(&terminal::line(&problem.to_string()));
            }
        }
        if delivered.is_none_or(|delivered| now.saturating_sub(delivered) >= DELIVERY_EVERY) {
            delivered = Some(now);
            // What a receiver refused is in its state (`custody audit status`) and is sent again.
            // What kept a vault from following its key stands in its job.
            server.follow_keys();
            for problem in server.send_on() {
                context.warn(&terminal::line(&problem.to_string()));
            }
        }
        clock.sleep(LOOK_EVERY);
    }
}

/// How a server is reached: the one that runs, or the one that would.
pub(crate) struct Reached {
    pub base: Base,
    pub address: Option<IpAddr>,
    pub authority_file: Option<PathBuf>,
    /// `{clientId, objectId, clientSecretFile}`, `Null` before the first start.
    pub administrator: Value,
    pub managed_identity_endpoint: Option<String>,
    pub is_running: bool,
}

impl Reached {
    /// Asks the server that runs, else the configuration.
    pub(crate) fn find(context: &Context<'_>) -> Result<Self, CliError> {
        let Some(server) = context.client()?.find("/custody/server")? else {
            let settings = Settings::of(&Options::default(), context)?;
            let own = settings.given.is_none();
            return Ok(Self {
                base: Base::new(settings.suffix, settings.address.port()),
                address: Some(settings.address.ip()),
                authority_file: own.then(|| context.place.data_folder.join("ca.pem")),
                administrator: administrator::known(context)?,
                managed_identity_endpoint: None,
                is_running: false,
            });
        };
        let text = |path: &str| server.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let port = server.get("port").and_then(Value::as_u64);
        Ok(Self {
            base: Base {
                suffix: text("/suffix").unwrap_or_else(|| CANONICAL_SUFFIX.to_owned()),
                port: port.and_then(|port| u16::try_from(port).ok()),
            },
            address: text("/address").and_then(|address| address.parse().ok()),
            authority_file: text("/caFile").map(PathBuf::from),
            administrator: server.get("administrator").cloned().unwrap_or_default(),
            managed_identity_endpoint: text("/managedIdentityEndpoint"),
            is_running: true,
        })
    }
}

fn address(listen: Option<&str>, port: Option<u16>) -> Result<SocketAddr, CliError> {
    let wrong = |text: &str| {
        CliError::Usage(format!("{text:?} is no address; write 127.0.0.1:8443 or [::1]:8443"))
    };
    let (ip, named) = match listen {
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), None),
        Some(text) => match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => (address.ip(), Some(address.port())),
            (_, Ok(ip)) => (ip, None),
            _ => return Err(wrong(text)),
        },
    };
    Ok(SocketAddr::new(ip, port.or(named).unwrap_or(DEFAULT_PORT)))
}

/// A suffix: lower-case labels of letters, digits and hyphens, at least two.
fn host_name(text: &str) -> Result<String, CliError> {
    let name = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() > 200 || !name.contains('.') || !name.split('.').all(is_label) {
        let text = format!("{text:?} cannot end host names; write custody.example.com for example");
        return Err(CliError::Usage(text));
    }
    Ok(name)
}

fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => CliError::Conflict {
            code: "AddressInUse",
            message: format!("another process listens on {address} already"),
            fix: "custody up --port 0 takes a free port".to_owned(),
        },
        _ => CliError::Start {
            code: "AddressUnusable".to_owned(),
            message: format!("{address} cannot be listened on: {error}"),
            fix: Some("custody up --listen 127.0.0.1:8443".to_owned()),
        },
    })
}

/// Says that the server serves: a reader sees nothing or the whole.
fn write_ready_file(path: &Path, base: &Base, port: u16) -> Result<(), CliError> {
    let text = json!({ "url": base.main(), "port": port, "pid": std::process::id() });
    let failed = |reason| CliError::Path {
        path: terminal::path(path.as_os_str().as_encoded_bytes()),
        reason,
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let mut file = fs::File::create(&fresh).map_err(failed)?;
    file.write_all(format!("{text}\n").as_bytes()).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)
}

impl From<CertificateError> for CliError {
    fn from(error: CertificateError) -> Self {
        Self::Start { code: error.code().to_owned(), message: error.to_string(), fix: None }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::Start { code: refusal.code.into_owned(), message: refusal.message, fix: refusal.fix }
    }
}
