//! The process as a server: its socket, its certificate, and what it does beside answering.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custody_wire::{
    Authority, Base, CANONICAL_SUFFIX, CertificateError, Certificates, Limits, Listener,
};
use serde_json::json;

use crate::commands::up::Options;
use crate::context::Context;
use crate::error::CliError;
use crate::in_process;
use crate::terminal;

/// The port unless another is named.
pub(crate) const DEFAULT_PORT: u16 = 8443;
/// How often a stop is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);

/// What is served and how: the command line first, then the configuration.
pub(crate) struct Settings {
    address: SocketAddr,
    suffix: String,
    ready_file: Option<PathBuf>,
    given: Option<(PathBuf, PathBuf)>,
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
    let port = socket.local_addr().map_err(CliError::Output)?.port();
    let base = Base::new(settings.suffix.clone(), port);
    let machine = context.machine();
    let server =
        in_process::open_server(&context.place, &machine, &|what| context.passphrase(what))?;
    let server = Arc::new(server.reached_by(base.clone()));
    let certificates = match &settings.given {
        Some((chain, key)) => Certificates::given(chain, key)?,
        None => {
            let authority = Authority {
                key_folder: context.place.seal_folder.clone(),
                data_folder: server.data_folder(),
                installation: server.installation_id().to_string(),
                suffix: settings.suffix.clone(),
            };
            Certificates::own(authority, Arc::clone(&context.world.clock))?
        }
    };
    let limits = settings.limits.clone();
    let listener = Listener::start(Arc::clone(&server), vec![socket], &certificates, limits)
        .map_err(CliError::Output)?;
    context.say(&format!("custody serves {} (Ctrl-C stops it)", base.main()));
    if let Some(path) = &settings.ready_file {
        write_ready_file(path, &base, port)?;
    }
    wait_for_stop(context, &certificates);
    context.say("stopping: requests under way may end");
    if !listener.stop() {
        context.warn("some requests had not ended and were cut off");
    }
    server.finish();
    Ok(())
}

/// Looks after what changes by itself until a signal says stop.
fn wait_for_stop(context: &Context<'_>, certificates: &Certificates) {
    let clock = &context.world.clock;
    let mut looked = clock.since_boot();
    while (context.world.interrupts)() == 0 {
        clock.sleep(LOOK_EVERY);
        if clock.since_boot() - looked < CERTIFICATES_EVERY {
            continue;
        }
        looked = clock.since_boot();
        if let Err(error) = certificates.renew() {
            // What was shown so far is shown on.
            context.warn(&terminal::line(&error.to_string()));
        }
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
