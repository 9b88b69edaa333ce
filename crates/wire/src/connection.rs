//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::activity::{Activity, Stalling};
use crate::exchange::{self, Sent};
use crate::listener::{Shared, Slot};

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

/// Serves one connection until it ends, stalls, rests too long or the listener stops.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, slot: Slot) {
    // An answer is written as a whole: waiting to fill a packet only delays it. A socket that
    // refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let stream = Stalling::new(stream, shared.limits.stall_time);
    let handshake = timeout(shared.limits.handshake_time, shared.tls.accept(stream));
    // A peer that does not speak TLS or does not trust us is not ours to tell.
    let Ok(Ok(stream)) = handshake.await else { return };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
    let activity = Arc::new(Activity::default());
    let service = service_fn({
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        move |request: http::Request<Incoming>| {
            let (shared, running) = (Arc::clone(&shared), activity.begin());
            async move {
                Ok::<http::Response<Sent>, Infallible>(
                    exchange::answer(shared, request, peer, running).await,
                )
            }
        }
    });
    if is_h2 {
        let connection = of_http2(&shared).serve_connection(TokioIo::new(stream), service);
        drive(&shared, connection, &activity).await;
    } else {
        let connection = of_http1(&shared).serve_connection(TokioIo::new(stream), service);
        drive(&shared, connection, &activity).await;
    }
    drop(slot);
}

fn of_http1(shared: &Shared) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head_time)
        .max_buf_size(shared.limits.head_bytes_max)
        .pipeline_flush(true);
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

impl<S> Connection for http1::Connection<TokioIo<Tls>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Sent>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Connection for http2::Connection<TokioIo<Tls>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Sent>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

type Tls = tokio_rustls::server::TlsStream<Stalling<TcpStream>>;

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
