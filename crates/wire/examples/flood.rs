//! Opens TLS connections and lets them rest; `cargo xtask flood` runs it against a server.
//!
//! `flood PORT CA_FILE COUNT` opens all but one, asks `/healthz` over the last, writes
//! `open N, answered STATUS in T ms`, and closes them when its standard input ends.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of the project itself, not of the product"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Threads that shake hands.
const THREADS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port: u16 = arguments[0].parse().unwrap();
    let count: usize = arguments[2].parse().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&arguments[1]).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let config = Arc::clone(&config);
            let idle = count - 1;
            let share = idle / THREADS + usize::from(thread < idle % THREADS);
            std::thread::spawn(move || {
                (0..share).map(|_| open(port, &config).sock).collect::<Vec<_>>()
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let (status, took) = ask(port, &config);
    println!("open {}, answered {status} in {:.1} ms", all.len() + 1, took.as_secs_f64() * 1e3);
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A connection after its handshake. The client's side of TLS may be dropped: only the server must
/// remember it.
fn open(port: u16, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = "kv1.vault.custody.localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    StreamOwned::new(tls, socket)
}

/// Status of an answer over a new connection, and how long both took.
#[expect(clippy::disallowed_methods, reason = "this tool measures the machine it runs on")]
fn ask(port: u16, config: &Arc<ClientConfig>) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = open(port, config);
    let request = "GET /healthz HTTP/1.1\r\nHost: custody.localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    (String::from_utf8_lossy(&head[9..]).into_owned(), begun.elapsed())
}
