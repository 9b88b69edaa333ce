//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::activity::{Activity, Stalling};
use crate::exchange::{self, Asker, Sent};
use crate::listener::{Shared, Slot};
use crate::server::Peer;

/// The protocol name of HTTP/2 in a handshake (RFC 9113 §3.1).
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// The protocol name of HTTP/1.1 in a handshake (RFC 7301 §6).
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// Bytes that an HTTP/2 peer may send on one stream before they are taken.
const WINDOW_BYTES: u32 = 64 << 10;
/// The same for the whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of answers that wait on one HTTP/2 stream.
const SEND_BYTES: usize = 64 << 10;

/// Serves one connection from the network until it ends, stalls, rests too long or the listener
/// stops.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, address: SocketAddr, slot: Slot) {
    // An answer is written as a whole: waiting to fill a packet only delays it. A socket that
    // refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let stream = Stalling::new(stream, shared.limits.stall_time);
    let handshake = timeout(shared.limits.handshake_time, shared.tls.accept(stream));
    // A peer that does not speak TLS or does not trust us is not ours to tell.
    let Ok(Ok(stream)) = handshake.await else { return };
    let asker = Asker::Network(Peer { address });
    if stream.get_ref().1.alpn_protocol() == Some(ALPN_H2) {
        let activity = Arc::new(Activity::default());
        let service = service_fn(answering(&shared, &asker, &activity));
        let connection = of_http2(&shared).serve_connection(TokioIo::new(stream), service);
        drive(&shared, connection, &activity).await;
    } else {
        serve_http1(&shared, stream, &asker).await;
    }
    drop(slot);
}

/// Serves one connection from this machine: the socket's mode has let only `user` in.
pub(crate) async fn serve_local(shared: Arc<Shared>, stream: UnixStream, user: &str, slot: Slot) {
    let stream = Stalling::new(stream, shared.limits.stall_time);
    serve_http1(&shared, stream, &Asker::Local(user.into())).await;
    drop(slot);
}

/// Serves one connection of the managed-identity port.
pub(crate) async fn serve_workload(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    slot: Slot,
) {
    let stream = Stalling::new(stream, shared.limits.stall_time);
    serve_http1(&shared, stream, &Asker::Workload(Peer { address })).await;
    drop(slot);
}

async fn serve_http1<I>(shared: &Arc<Shared>, stream: I, asker: &Asker)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity::default());
    let service = service_fn(answering(shared, asker, &activity));
    let connection = of_http1(shared).serve_connection(TokioIo::new(stream), service);
    drive(shared, connection, &activity).await;
}

/// The answering of one connection's requests.
fn answering(
    shared: &Arc<Shared>,
    asker: &Asker,
    activity: &Arc<Activity>,
) -> impl Fn(http::Request<Incoming>) -> Answering + use<> {
    let (shared, asker, activity) = (Arc::clone(shared), asker.clone(), Arc::clone(activity));
    move |request| {
        let (shared, asker, running) = (Arc::clone(&shared), asker.clone(), activity.begin());
        Box::pin(async move { Ok(exchange::answer(shared, request, asker, running).await) })
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Sent>, Infallible>> + Send>>;

fn of_http1(shared: &Shared) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head_time)
        .max_header_size(shared.limits.head_bytes_max)
        // Room to see that a head is too long, so that this can be said.
        .max_buf_size(2 * shared.limits.head_bytes_max);
    builder
}

fn of_http2(shared: &Shared) -> http2::Builder<TokioExecutor> {
    let limits = &shared.limits;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX));
    builder
}

/// Both kinds of connection end alike.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no more requests and ends after those under way.
    fn wind_up(self: Pin<&mut Self>);
}

impl<I, S> Connection for http1::Connection<TokioIo<I>, S>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Sent>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Connection for http2::Connection<TokioIo<I>, S, TokioExecutor>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Sent>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(shared: &Shared, connection: impl Connection, activity: &Activity) {
    let mut connection = Box::pin(connection);
    let mut stopping = shared.stopping.clone();
    tokio::select! {
        // How a connection ends is the peer's affair; requests are answered and counted by then.
        _ = connection.as_mut() => return,
        () = activity.rested(shared.limits.idle_time) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().wind_up();
    let last = shared.limits.stop_time + Duration::from_secs(1);
    // What is under way may end; the listener's own patience is shorter.
    let _ = timeout(last, connection).await;
}
