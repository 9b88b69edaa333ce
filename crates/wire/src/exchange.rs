//! One request and its answer: the body is read within limits, the server is asked on a thread of
//! the pool, and what it answers is sent as it is read.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use custody_resources::Refusal;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::activity::Running;
use crate::call::{self, REQUEST_BYTES_MAX};
use crate::listener::Shared;
use crate::reply::{self, Body};
use crate::server::Peer;

/// Longest answer that is sent as a whole, and the piece in which longer ones are, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces of an answer that wait to be sent.
const PIECES_WAITING: usize = 2;
/// Up to here a body counts as small, in KiB.
const SMALL_KIB: u32 = 64;

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) enum Asker {
    /// Somebody on the network: what he may do follows from the token of each request.
    Network(Peer),
    /// A user of this machine who may open the data folder: the bootstrap administrator.
    Local(Arc<str>),
    /// A workload of this machine that asks for a token of its managed identity.
    Workload(Peer),
}

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    asker: Asker,
    running: Running,
) -> Response<Sent> {
    let (head, body) = request.into_parts();
    let Ok(turn) = Arc::clone(&shared.requests).try_acquire_owned() else {
        return refuse(&shared, &head, &asker, &busy(), running);
    };
    let (body, share) = match read(&shared, &head, body).await {
        Ok(body) => body,
        Err(refusal) => return refuse(&shared, &head, &asker, &refusal, running),
    };
    let (sender, receiver) = oneshot::channel();
    let server = Arc::clone(&shared.server);
    let (asked, asking) = (head.clone(), asker.clone());
    let work = move || {
        let request = Request::from_parts(head, body);
        let response = match asking {
            Asker::Network(peer) => server.handle_from(request, &peer),
            Asker::Local(user) => server.handle_local(request, &user),
            Asker::Workload(peer) => server.handle_identity(&request, &peer),
        };
        // The request's memory is free again; its turn lasts until the answer is out.
        drop(share);
        send(response, sender);
        drop(turn);
    };
    // Not waited for: if the peer goes away meanwhile, what it asked for is still done.
    drop(tokio::task::spawn_blocking(work));
    if let Ok(response) = receiver.await {
        return response.map(|sent| sent.of(running));
    }
    // The thread broke off without an answer: a bug, but this request's alone.
    let bug = Refusal::bug("the request broke off; this is a bug in custody");
    refuse(&shared, &asked, &asker, &bug, running)
}

/// Reads a body with its share of the memory for bodies.
async fn read(
    shared: &Shared,
    head: &http::request::Parts,
    body: Incoming,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refusal> {
    let declared = head.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let bytes_max = if body.is_end_stream() { 0 } else { declared.unwrap_or(REQUEST_BYTES_MAX) };
    if bytes_max > REQUEST_BYTES_MAX {
        return Err(call::too_large());
    }
    let kib = u32::try_from(bytes_max.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let budget = if kib <= SMALL_KIB { &shared.small_bodies } else { &shared.large_bodies };
    let slow = |_| Refusal::new(408, "RequestTimeout", "the request's body did not arrive in time");
    let reading = async {
        let share = share(budget, kib).await?;
        let bytes = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(broken)?;
        Ok((bytes.to_bytes().to_vec(), share))
    };
    timeout(shared.limits.body_time, reading).await.map_err(slow)?
}

async fn share(budget: &Arc<Semaphore>, kib: u32) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(budget).acquire_many_owned(kib).await.map_err(|_| busy())
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
    if error.is::<LengthLimitError>() {
        return call::too_large();
    }
    Refusal::bad_request(format!("the body broke off: {error}"))
}

fn busy() -> Refusal {
    Refusal::new(503, "ServerBusy", "too many requests are under way; try again")
}

/// Sends an answer: whole if it is short, else piece by piece as it is read.
fn send(response: Response<Body>, answered: oneshot::Sender<Response<Sent>>) {
    let (mut head, mut body) = response.into_parts();
    let first = match piece(&mut body) {
        Ok(first) if first.len() < PIECE_BYTES => {
            head.headers.insert(header::CONTENT_LENGTH, first.len().into());
            // A peer that is gone needs no answer.
            let _ = answered.send(Response::from_parts(head, Sent::whole(first)));
            return;
        }
        Ok(first) => first,
        Err(error) => {
            let refusal = Refusal::bug(format!("the answer cannot be read: {error}"));
            let (head, _) = reply::refusal(&refusal).into_parts();
            let _ = answered.send(Response::from_parts(head, Sent::whole(Bytes::new())));
            return;
        }
    };
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    if answered.send(Response::from_parts(head, Sent::streamed(pieces))).is_err() {
        return;
    }
    let mut next = Ok(first);
    while let Ok(bytes) = next {
        let is_last = bytes.is_empty();
        if is_last || sender.blocking_send(Ok(bytes)).is_err() {
            return;
        }
        next = piece(&mut body);
    }
    // An answer that breaks off must not look whole: the connection ends with it.
    let _ = sender.blocking_send(Err(BrokenOff));
}

/// The next piece of a body: full unless the body ends with it.
fn piece(body: &mut Body) -> std::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(4 << 10);
    body.take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// The answer to a request that the server was not asked.
fn refuse(
    shared: &Shared,
    head: &http::request::Parts,
    asker: &Asker,
    refusal: &Refusal,
    running: Running,
) -> Response<Sent> {
    let response = match asker {
        Asker::Network(peer) => shared.server.refuse(head, peer, refusal),
        Asker::Local(_) | Asker::Workload(_) => reply::refusal(refusal),
    };
    let (mut head, mut body) = response.into_parts();
    // What is left of the request was not read: it must not be taken for the next one.
    head.headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    // A refusal lies in memory and is short.
    let bytes = piece(&mut body).unwrap_or_default();
    Response::from_parts(head, Sent::whole(bytes).of(running))
}

/// The body of an answer on its way.
pub(crate) struct Sent {
    source: Source,
    running: Option<Running>,
}

enum Source {
    Whole(Option<Bytes>),
    Streamed(mpsc::Receiver<Result<Bytes, BrokenOff>>),
}

/// The answer's source failed.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

impl Sent {
    fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), running: None }
    }

    fn streamed(pieces: mpsc::Receiver<Result<Bytes, BrokenOff>>) -> Self {
        Self { source: Source::Streamed(pieces), running: None }
    }

    /// The request that this answers is under way until the body is gone.
    fn of(self, running: Running) -> Self {
        Self { running: Some(running), ..self }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let next = match &mut self.source {
            Source::Whole(bytes) => bytes.take().map(Ok),
            Source::Streamed(pieces) => ready!(pieces.poll_recv(context)),
        };
        if next.is_none() {
            self.running = None;
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Streamed(_) => SizeHint::default(),
        }
    }
}
