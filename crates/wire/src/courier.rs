//! Posts to webhooks. What leaves is encrypted, unless it stays on this machine; no redirect is
//! followed; and nothing is posted to an address inside a network unless the configuration says so:
//! whoever may make a webhook must not reach through this server what they cannot reach themselves.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custody_worker::Courier;
use http::{Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::reach::Reach;

/// How long a webhook may take to answer.
const POST_TIME: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Posts over HTTPS to hosts that the system's authorities vouch for, and over HTTP to this machine.
pub(crate) struct WebCourier {
    runtime: Runtime,
    tls: TlsConnector,
    reach: Reach,
}

/// A receiver, as its URL names it.
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    is_tls: bool,
}

impl WebCourier {
    /// Reads the system's certificate authorities.
    pub(crate) fn new(reach: Reach) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let mut roots = RootCertStore::empty();
        // An authority that cannot be read vouches for nobody; the others do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { runtime, tls: TlsConnector::from(Arc::new(config)), reach })
    }

    /// Sends one request, within [`POST_TIME`], and returns its answer if that is a good one.
    fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Vec<u8>>, String> {
        let target = Target::read(url)?;
        let request = target.request(method, headers, body);
        let request = request.map_err(|error| format!("{}: {error}", target.host))?;
        let exchanging = async { timeout(POST_TIME, self.exchange(&target, request)).await };
        match self.runtime.block_on(exchanging) {
            Ok(answered) => answered.map_err(|problem| format!("{}: {problem}", target.host)),
            Err(_) => {
                Err(format!("{} did not answer within {} s", target.host, POST_TIME.as_secs()))
            }
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Vec<u8>>, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let address = self.resolve(target).await?;
        let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        if !target.is_tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.bare_host().to_owned());
        let name = name.map_err(|error| failed(&error))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| failed(&error))?;
        exchange(stream, request).await
    }

    /// The address to connect to. It is looked at here and not looked up again: a name that means
    /// something else a moment later leads nowhere else.
    async fn resolve(&self, target: &Target) -> Result<SocketAddr, String> {
        let found = tokio::net::lookup_host((target.bare_host(), target.port)).await;
        let mut found = found.map_err(|error| error.to_string())?;
        found.find(|address| self.reach.admits(address.ip())).ok_or_else(|| {
            "it lies inside a network, and [webhooks] allow-addresses does not name it".to_owned()
        })
    }
}

impl Courier for WebCourier {
    fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, String> {
        self.send(Method::POST, url, headers, body).map(Response::into_body)
    }

    fn ask_leave(&self, url: &str, origin: &str) -> Result<(), String> {
        let asked = [("webhook-request-origin", origin)];
        let answer = self.send(Method::OPTIONS, url, &asked, &[])?;
        let allowed = answer.headers().get("webhook-allowed-origin");
        let allowed = allowed.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_meant = |one: &str| one == "*" || one.eq_ignore_ascii_case(origin);
        if allowed.split(',').any(|one| is_meant(one.trim())) {
            return Ok(());
        }
        Err(format!("it did not answer OPTIONS with WebHook-Allowed-Origin: {origin}"))
    }
}

impl Target {
    fn read(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("it is no URL: {error}"))?;
        let host = uri.host().ok_or("the URL names no host")?.to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = Self { uri, host, port, is_tls };
        let is_local = target.host == "localhost"
            || target.bare_host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if is_tls || is_local { Ok(target) } else { Err("the URL is no https:// URL".to_owned()) }
    }

    /// The host as names and addresses are looked up: an IPv6 address without its brackets.
    fn bare_host(&self) -> &str {
        let inner = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(&self.host)
    }

    fn request(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> http::Result<Request<Full<Bytes>>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("custody/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::copy_from_slice(body)))
    }
}

/// Sends a request and takes its answer. The connection is driven here: nothing outlives the call.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Vec<u8>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        Ok(taken(answer).await)
    };
    tokio::pin!(asking, connection);
    tokio::select! {
        answered = &mut asking => answered,
        ended = &mut connection => match ended {
            Ok(()) => asking.await, // the answer came with the end
            Err(error) => Err(error.to_string()),
        },
    }
}

/// An answer with the beginning of its body. One that breaks off there was a good answer all the
/// same.
async fn taken(answer: Response<Incoming>) -> Response<Vec<u8>> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { break };
        if let Some(data) = frame.data_ref() {
            let room = ANSWER_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }
    Response::from_parts(head, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const HEADERS: [(&str, &str); 1] = [("content-type", "application/json")];

    /// A courier that reaches this machine.
    fn courier() -> WebCourier {
        WebCourier::new(Reach::new(vec!["127.0.0.1".parse().unwrap()])).unwrap()
    }

    /// A webhook that answers one post so, and what it was sent.
    fn posted(answer: &'static str) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/in?a=b", listener.local_addr().unwrap());
        let hook = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = Vec::new();
            let mut piece = [0; 1_024];
            while !sent.ends_with(b"[1,2]") {
                let length = stream.read(&mut piece).unwrap();
                sent.extend_from_slice(&piece[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(sent).unwrap()
        });
        let outcome = courier().post(&url, &HEADERS, b"[1,2]").map(drop);
        (outcome, hook.join().unwrap())
    }

    #[test]
    fn a_webhook_takes_or_refuses_what_is_posted() {
        let (outcome, sent) = posted("HTTP/1.0 204 No Content\r\n\r\n");
        assert_eq!(outcome, Ok(()));
        assert!(sent.starts_with("POST /in?a=b HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("content-type: application/json\r\n"), "{sent}");
        let (outcome, _) = posted("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(outcome, Ok(()));
        let (outcome, _) = posted("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        assert!(outcome.unwrap_err().ends_with("it answered 503 Service Unavailable"));
        let (outcome, _) = posted("");
        assert!(outcome.is_err());
    }

    #[test]
    fn nobody_at_home_is_an_error() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let post = |url: &str| courier().post(url, &HEADERS, b"[]").unwrap_err();
        post(&format!("http://{free}/"));
        post("no url");
        // The rest of a URL may be secret.
        let problem = post(&format!("http://{free}/?code=canary"));
        assert!(!problem.contains("canary"), "{problem}");
    }

    #[test]
    fn no_connection_is_made_to_what_lies_inside() {
        let courier = WebCourier::new(Reach::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}:{port}/");
                let problem = courier.post(&url, &HEADERS, b"[]").unwrap_err();
                assert!(problem.contains("inside a network"), "{url}: {problem}");
            }
        }
        let problem = courier.post("http://hook.example/", &HEADERS, b"[]").unwrap_err();
        assert!(problem.contains("https"), "{problem}");
        assert!(listener.accept().is_err(), "somebody came");
    }

    #[test]
    fn a_receiver_of_cloud_events_is_asked_first() {
        let asked = |answer: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/in", listener.local_addr().unwrap());
            let hook = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut sent = Vec::new();
                let mut piece = [0; 1_024];
                while !sent.ends_with(b"\r\n\r\n") {
                    let length = stream.read(&mut piece).unwrap();
                    sent.extend_from_slice(&piece[..length]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(sent).unwrap()
            });
            let outcome = courier().ask_leave(&url, "custody.localhost");
            let sent = hook.join().unwrap();
            assert!(sent.starts_with("OPTIONS /in HTTP/1.1\r\n"), "{sent}");
            assert!(sent.contains("webhook-request-origin: custody.localhost\r\n"), "{sent}");
            outcome.is_ok()
        };
        let end = "content-length: 0\r\n\r\n";
        let leave = |head: &str| -> &'static str { format!("{head}{end}").leak() };
        assert!(asked(leave("HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: *\r\n")));
        let own = "HTTP/1.1 204 No Content\r\nWebHook-Allowed-Origin: custody.localhost\r\n\r\n";
        assert!(asked(own));
        assert!(!asked(leave("HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: other.example\r\n")));
        assert!(!asked(leave("HTTP/1.1 200 OK\r\n")));
        assert!(!asked(leave("HTTP/1.1 405 Method Not Allowed\r\n")));
    }
}
