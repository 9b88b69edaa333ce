//! The way to a server on this machine: HTTP over a socket in the data folder.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::{Transport, TransportError};

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Speaks to a server through a Unix socket. Who may open the socket is who may ask.
pub struct LocalTransport {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    path: std::path::PathBuf,
    /// A connection on which no answer is being read.
    idle: Mutex<Option<Sender>>,
}

type Sender = SendRequest<Full<Bytes>>;

impl LocalTransport {
    /// Connects to the server at `path`; none if nobody listens there.
    pub fn connect(path: &Path) -> io::Result<Option<Self>> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let inner = Inner { runtime, path: path.to_owned(), idle: Mutex::new(None) };
        match inner.runtime.block_on(inner.connect()) {
            Ok(sender) => {
                inner.keep(sender);
                Ok(Some(Self { inner: Arc::new(inner) }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether nobody listens: no socket, or one whose server is gone.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

impl Transport for LocalTransport {
    fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Box<dyn Read + Send>>, TransportError> {
        let inner = &self.inner;
        let (sender, response) = inner
            .runtime
            .block_on(inner.exchange(request))
            .map_err(|reason| TransportError { reason })?;
        Ok(response.map(|body| {
            let answer = Answer {
                inner: Arc::clone(inner),
                sender: Some(sender),
                body,
                piece: Bytes::new(),
            };
            Box::new(answer) as Box<dyn Read + Send>
        }))
    }
}

impl Inner {
    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<(Sender, Response<Incoming>), String> {
        let mut request = in_origin_form(request)?;
        if let Some(mut sender) = self.take() {
            // A server may have closed a connection that rested; it says so before it reads.
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().to_string()),
                },
            }
        }
        let mut sender = self.connect().await.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Ok((sender, response))
    }

    async fn connect(&self) -> io::Result<Sender> {
        let stream = timeout(CONNECT_TIME, UnixStream::connect(&self.path)).await??;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It goes on whenever this transport waits for something; its end shows at the sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take(&self) -> Option<Sender> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        idle.filter(|sender| !sender.is_closed())
    }

    fn keep(&self, sender: Sender) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }
}

/// A request names its host in a header and only its path in the first line (RFC 9112 §3.2.1).
fn in_origin_form(request: Request<Vec<u8>>) -> Result<Request<Full<Bytes>>, String> {
    let (mut head, body) = request.into_parts();
    let wrong = |error: &dyn std::fmt::Display| format!("the request names no host: {error}");
    let host = head.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let host = host.parse().map_err(|error: http::header::InvalidHeaderValue| wrong(&error))?;
    head.headers.insert(http::header::HOST, host);
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.uri = path.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
    Ok(Request::from_parts(head, Full::from(body)))
}

/// An answer's body as it arrives. Read to its end it gives the connection back.
struct Answer {
    inner: Arc<Inner>,
    sender: Option<Sender>,
    body: Incoming,
    piece: Bytes,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(frame) = self.inner.runtime.block_on(self.body.frame()) else {
                if let Some(sender) = self.sender.take() {
                    self.inner.keep(sender);
                }
                return Ok(0);
            };
            self.piece = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        }
        let length = self.piece.len().min(buffer.len());
        let piece = self.piece.split_to(length);
        if let Some(room) = buffer.get_mut(..length) {
            room.copy_from_slice(&piece);
        }
        Ok(length)
    }
}
