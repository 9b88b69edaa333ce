//! A running `custody up`, and plain HTTP to ask it with.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::site::Site;

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A server that a test has started; it is killed with the test.
pub(crate) struct Served {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    pub(crate) port: u16,
    /// What it said while it came up.
    pub(crate) said: String,
    data: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Served {
    /// Starts a server on a free port and waits until it serves.
    pub(crate) fn start(site: &Site, more: &[&str]) -> Self {
        let ready = site.path("ready.json");
        let mut arguments = vec!["up", "--port", "0", "--ready-file", site.text(&ready)];
        arguments.extend(more);
        let mut child = site.start(&arguments);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("custody env") {
            let length = stderr.read_line(&mut said).unwrap();
            assert_ne!(length, 0, "it did not come up: {said}");
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        assert_eq!(ready["pid"], child.id());
        let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        assert_eq!(ready["url"], format!("https://custody.localhost:{port}"));
        Self { child, stderr, port, said, data: site.data() }
    }

    /// A connection whose certificate was checked against the installation's authority.
    pub(crate) fn connect(&self, name: &str) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.data.join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        StreamOwned::new(connection, stream)
    }

    /// Asks `host` over a connection of its own, without a token.
    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        let mut stream = self.connect(host);
        ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: {host}:{}\r\n\r\n", self.port))
    }

    /// Asks the main host over the socket of this machine's users.
    pub(crate) fn local(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.local_to("custody.localhost", method, path, body)
    }

    /// Asks `host` over the socket of this machine's users.
    pub(crate) fn local_to(&self, host: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.data.join("server.sock")).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Answer::read(&mut stream)
    }

    /// Asks it to stop, and waits until it has; what it said last is returned, too.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let number = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &number]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request as it is and reads the answer.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(stream)
}

impl Answer {
    /// Reads one answer whose length is known.
    pub(crate) fn read(stream: &mut impl Read) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "it broke off: {head:?}");
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).unwrap();
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}
