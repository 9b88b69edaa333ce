//! What one listener spends at most.

use std::time::Duration;

/// Limits of a listener. All are enforced before a request reaches the [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; those beyond are closed at once.
    pub connections_max: usize,
    /// Request line and headers, in bytes; beyond it 431.
    pub head_bytes_max: usize,
    /// Time for the TLS handshake.
    pub handshake_time: Duration,
    /// Time from the first to the last byte of request line and headers, and from one request to
    /// the next on an HTTP/1.1 connection.
    pub head_time: Duration,
    /// Time for a request's body.
    pub body_time: Duration,
    /// Time in which a peer must take at least something of an answer.
    pub stall_time: Duration,
    /// Time without a request after which a connection is closed.
    pub idle_time: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Threads that answer requests.
    pub workers_max: usize,
    /// Requests that are being answered or wait for a thread; beyond it 503.
    pub requests_max: usize,
    /// Memory for the bodies of all requests at once, in KiB; large ones wait for their share.
    pub bodies_kib_max: usize,
    /// Time that stopping waits for requests to end.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 64 << 10,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_mins(1),
            body_time: Duration::from_secs(30),
            stall_time: Duration::from_mins(1),
            idle_time: Duration::from_mins(2),
            streams_max: 64,
            workers_max: 640,
            requests_max: 1_024,
            bodies_kib_max: 64 << 10,
            stop_time: Duration::from_secs(30),
        }
    }
}
