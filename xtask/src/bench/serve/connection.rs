//! TLS connections that stay open, to a server of this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::bench::serve::http::Head;
use crate::failure::{Failure, Trying};

/// How long an answer may take before the run is given up.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Room for an answer at first; most fit, so that each is one read.
const BUFFER_BYTES: usize = 16 << 10;
/// The longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Where connections go: a port of this machine, and whom to trust there.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) port: u16,
    tls: Arc<ClientConfig>,
}

impl Address {
    /// The server at this port whose certificate the authority in `authority_file` signed.
    pub(crate) fn new(port: u16, authority_file: &Path) -> Result<Self, Failure> {
        let what = authority_file.display().to_string();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority_file).trying(&what)?).trying(&what)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .trying("TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { port, tls: Arc::new(tls) })
    }
}

/// One connection, with room for one answer.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

/// An answer, as long as the next one has not come.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'c> {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: &'c [u8],
}

impl Connection {
    /// Connects and shakes hands; `host` is the name that the certificate must bear.
    pub(crate) fn open(address: &Address, host: &str) -> Result<Self, Failure> {
        let name = host.to_owned().try_into().trying(host)?;
        let tls = ClientConnection::new(Arc::clone(&address.tls), name).trying(host)?;
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, address.port)).trying(host)?;
        socket.set_nodelay(true).trying(host)?;
        socket.set_read_timeout(Some(ANSWER_TIME)).trying(host)?;
        socket.set_write_timeout(Some(ANSWER_TIME)).trying(host)?;
        let mut stream = StreamOwned::new(tls, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).trying(host)?;
        }
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request).trying("sending a request")
    }

    /// Waits for the answer to the oldest request that has none yet.
    pub(crate) fn receive(&mut self) -> Result<Answer<'_>, Failure> {
        let mut filled = 0;
        let (head, end) = loop {
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(room).trying("receiving an answer")?;
            if read == 0 {
                return Err(Failure::new("the server closed a connection"));
            }
            filled += read;
            let received = self.buffer.get(..filled).unwrap_or_default();
            let head = Head::parse(received)?;
            let end = head.map(|head| head.own_bytes + head.body_bytes);
            if let (Some(head), Some(end)) = (head, end)
                && filled >= end
            {
                break (head, end);
            }
            let wanted = end.unwrap_or(filled + BUFFER_BYTES);
            if wanted > ANSWER_BYTES_MAX {
                return Err(Failure::new(format!("an answer has {wanted} bytes or more")));
            }
            self.buffer.resize(wanted.max(self.buffer.len()), 0);
        };
        let body = self.buffer.get(head.own_bytes..end).unwrap_or_default();
        Ok(Answer { status: head.status, retry_after_s: head.retry_after_s, body })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        self.send(request)?;
        self.receive()
    }
}
