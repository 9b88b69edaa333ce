//! A server in this process on a free port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use custody_test_world::{FixedClock, SeededEntropy};
use custody_wire::{
    Authority, Base, Certificates, Limits, Listener, Network, PlatformOptions, SealChoice, Server,
    Sockets,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) struct Listening {
    folder: TempDir,
    pub(crate) certificates: Certificates,
    pub(crate) listener: Listener,
    clock: Arc<FixedClock>,
}

impl Listening {
    pub(crate) fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Certificates are checked by the machine's clock, so the test's must be near it.
        let clock = Arc::new(FixedClock::at(machine_time()));
        let options = PlatformOptions {
            data_folder: folder.path().join("data"),
            seal: SealChoice::File { folder: folder.path().join("seal") },
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SeededEntropy::new(7)),
            os_user: "tester".to_owned(),
            release_authorities: Vec::new(),
            locations: Vec::new(),
        };
        let server = Server::open(options).unwrap();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let base = Base::new("custody.localhost", address.port());
        let authority = Authority {
            key_folder: folder.path().join("seal"),
            data_folder: server.data_folder(),
            installation: server.installation_id().to_string(),
            suffix: base.suffix.clone(),
        };
        let certificates = Certificates::own(authority, Arc::clone(&clock) as _).unwrap();
        let network = Network {
            base,
            address,
            authority_file: certificates.authority_file(),
            administrator: None,
            identity_port: None,
            clock: None,
        };
        let server = Arc::new(server.reached_by(network));
        let sockets = Sockets { network: vec![socket], local: None, identities: None };
        let listener = Listener::start(server, sockets, &certificates, limits).unwrap();
        Self { folder, certificates, listener, clock }
    }

    pub(crate) fn plain(&self) -> TcpStream {
        TcpStream::connect(self.listener.addresses()[0]).unwrap()
    }

    pub(crate) fn connect(&self) -> Tls {
        self.speaking(&[])
    }

    /// A connection that has agreed on HTTP/2.
    pub(crate) fn connect_http2(&self) -> Tls {
        self.speaking(&[b"h2"])
    }

    fn speaking(&self, protocols: &[&[u8]]) -> Tls {
        let mut roots = RootCertStore::empty();
        let authority = self.folder.path().join("data/ca.pem");
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = "kv1.vault.custody.localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, self.plain())
    }

    /// Lets days pass for certificates.
    pub(crate) fn pass_days(&self, days: u64) {
        self.clock.advance(std::time::Duration::from_hours(days * 24));
    }
}

/// Writes, and reads until the server closes the connection.
pub(crate) fn hear(stream: &mut (impl Read + Write), said: &str) -> String {
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = Vec::new();
    // A connection may be closed without TLS's own farewell.
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "the TLS client of a test goes by it")]
fn machine_time() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
