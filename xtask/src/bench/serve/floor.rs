//! The ceiling that the load generator, TLS and this machine set: a server that does nothing.
//!
//! It answers every request with the same bytes, over the same TLS, from a thread for each
//! connection of this very process.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bench::serve::connection::Address;
use crate::failure::{Failure, Trying};
use crate::process::line;

/// The host that its certificate names.
pub(crate) const HOST: &str = "floor.localhost";
/// Bytes of its answer's body: about those of a key.
const BODY_BYTES: usize = 400;
/// The longest request that it takes.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Serves until this process ends, and says where.
pub(crate) fn serve(folder: &Path) -> Result<Address, Failure> {
    let (certificate, key) = (folder.join("floor.pem"), folder.join("floor-key.pem"));
    make_certificate(&certificate, &key)?;
    let what = certificate.display().to_string();
    let chain = vec![CertificateDer::from_pem_file(&certificate).trying(&what)?];
    let private = PrivateKeyDer::from_pem_file(&key).trying(&what)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .trying("TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .trying(&what)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).trying("the floor")?;
    let port = listener.local_addr().trying("the floor")?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            // A connection ends with an error when the generator closes it.
            std::thread::spawn(move || answer_all(config, socket));
        }
    });
    Address::new(port, &certificate)
}

/// A self-signed certificate with a P-256 key, as custody's leaf has.
fn make_certificate(certificate: &Path, key: &Path) -> Result<(), Failure> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "1", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=floor"]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{HOST}")]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(key).arg("-out").arg(certificate);
    let output = openssl.stdin(Stdio::null()).output().trying("openssl")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::new(format!("{}: {}: {said}", line(&openssl), output.status)))
}

/// Answers each whole request of one connection.
fn answer_all(config: Arc<ServerConfig>, socket: TcpStream) -> Result<(), Failure> {
    socket.set_nodelay(true).trying("the floor")?;
    let tls = ServerConnection::new(config).trying("the floor")?;
    let mut stream = StreamOwned::new(tls, socket);
    let body = format!("{{\"value\":\"{}\"}}", "a".repeat(BODY_BYTES - 12));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    loop {
        let mut filled = 0;
        // Only requests without a body are sent here.
        while !buffer.get(..filled).unwrap_or_default().ends_with(b"\r\n\r\n") {
            let room = buffer.get_mut(filled..).unwrap_or_default();
            match stream.read(room).trying("the floor")? {
                0 => return Ok(()),
                read => filled += read,
            }
        }
        stream.write_all(answer.as_bytes()).trying("the floor")?;
    }
}
