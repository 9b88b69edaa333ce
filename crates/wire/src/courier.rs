//! Posts to webhooks. What leaves is encrypted, unless it stays on this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custody_worker::Courier;
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a webhook may take to answer: others wait meanwhile.
const POST_TIME: Duration = Duration::from_secs(10);

/// Posts over HTTPS to hosts that the system's authorities vouch for, and over HTTP to this machine.
pub(crate) struct WebCourier {
    runtime: Runtime,
    tls: TlsConnector,
}

impl WebCourier {
    /// Reads the system's certificate authorities.
    pub(crate) fn new() -> io::Result<Self> {
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
        Ok(Self { runtime, tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn send(&self, url: &str, content_type: &str, body: &[u8]) -> Result<(), String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let host = uri.host().ok_or_else(|| format!("{url} names no host"))?.to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let failed = |error: &dyn std::fmt::Display| format!("{host}: {error}");
        let stream =
            TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed(&error))?;
        let request = request(&uri, content_type, body).map_err(|error| failed(&error))?;
        if !is_tls {
            return exchange(stream, request).await.map_err(|error| failed(&error));
        }
        let name = ServerName::try_from(host.clone()).map_err(|error| failed(&error))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| failed(&error))?;
        exchange(stream, request).await.map_err(|error| failed(&error))
    }
}

impl Courier for WebCourier {
    fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<(), String> {
        self.runtime.block_on(async {
            match timeout(POST_TIME, self.send(url, content_type, body)).await {
                Ok(sent) => sent,
                Err(_) => Err(format!("{url} did not answer within {} s", POST_TIME.as_secs())),
            }
        })
    }
}

fn request(uri: &Uri, content_type: &str, body: &[u8]) -> http::Result<Request<Full<Bytes>>> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::USER_AGENT, concat!("custody/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(body)))
}

/// Sends a request and looks at the status of the answer.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let asking = sender.send_request(request);
    tokio::pin!(asking, connection);
    // The connection is driven here until the answer's head is there: nothing outlives the call.
    let answered = tokio::select! {
        answered = &mut asking => answered,
        ended = &mut connection => match ended {
            Ok(()) => asking.await, // the answer came with the end
            Err(error) => Err(error),
        },
    };
    let status = answered.map_err(|error| error.to_string())?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

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
        let outcome = WebCourier::new().unwrap().post(&url, "application/json", b"[1,2]");
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
        let courier = WebCourier::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(courier.post(&format!("http://{free}/"), "application/json", b"[]").is_err());
        assert!(courier.post("no url", "application/json", b"[]").is_err());
    }
}
