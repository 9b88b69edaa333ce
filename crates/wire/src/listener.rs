//! The listener: TLS connections in, whole requests to the synchronous [`Server`], bodies back.
//!
//! Connections live on two asynchronous threads and cost only memory while they wait; a request is
//! answered on a thread of a bounded pool, so that a slow answer keeps nobody else waiting.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;
use crate::connection;
use crate::limits::Limits;
use crate::server::Server;

/// Threads that move bytes.
const MOVERS: usize = 2;
/// How long the listener rests when the system has no more files to give.
const REST: Duration = Duration::from_millis(50);

/// A running listener.
pub struct Listener {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    pub(crate) limits: Limits,
    pub(crate) tls: TlsAcceptor,
    /// One permit for each connection that may be open.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit for each request that may be under way.
    pub(crate) requests: Arc<Semaphore>,
    /// One permit for each KiB of a small body.
    pub(crate) small_bodies: Arc<Semaphore>,
    /// One permit for each KiB of a large body: who sends those slowly hinders only his like.
    pub(crate) large_bodies: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Listener {
    /// Serves `server` on these sockets until [`Listener::stop`].
    pub fn start(
        server: Arc<Server>,
        sockets: Vec<TcpListener>,
        certificates: &Certificates,
        limits: Limits,
    ) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(MOVERS)
            .max_blocking_threads(limits.workers_max)
            .thread_name("custody-serve")
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            server,
            tls: TlsAcceptor::from(certificates.tls().map_err(io::Error::other)?),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            small_bodies: Arc::new(Semaphore::new(limits.bodies_kib_max)),
            large_bodies: Arc::new(Semaphore::new(limits.bodies_kib_max)),
            limits,
            stopping,
        });
        let mut addresses = Vec::new();
        for socket in sockets {
            addresses.push(socket.local_addr()?);
            socket.set_nonblocking(true)?;
            let _inside = runtime.enter();
            let socket = tokio::net::TcpListener::from_std(socket)?;
            runtime.spawn(accept(Arc::clone(&shared), socket));
        }
        Ok(Self { runtime, stop, shared, addresses })
    }

    /// The addresses it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more connections, lets requests under way end, and closes what is left when
    /// [`Limits::stop_time`] is over. Returns whether all had ended by then.
    pub fn stop(self) -> bool {
        // Without receivers there is nobody to tell.
        let _ = self.stop.send(true);
        let all = u32::try_from(self.shared.limits.connections_max).unwrap_or(u32::MAX);
        let ended = self.shared.connections.acquire_many(all);
        let patience = self.shared.limits.stop_time;
        let ended = self.runtime.block_on(async { tokio::time::timeout(patience, ended).await });
        let all_ended = ended.is_ok();
        self.runtime.shutdown_timeout(Duration::from_millis(100));
        all_ended
    }
}

async fn accept(shared: Arc<Shared>, socket: tokio::net::TcpListener) {
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => admit(&shared, stream, address),
            // The connection is gone already, or the system is out of files.
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    match Arc::clone(&shared.connections).try_acquire_owned() {
        Ok(permit) => {
            let slot = Slot::take(Arc::clone(shared), permit);
            tokio::spawn(connection::serve(Arc::clone(shared), stream, address, slot));
        }
        Err(_) => shared.server.metrics.note_refused_connection(),
    }
}

/// A connection's place among those that may be open.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn take(shared: Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        shared.server.metrics.note_connections(1);
        Self { shared, _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.server.metrics.note_connections(-1);
    }
}
