//! Whether a connection still does something.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The requests of one connection.
pub(crate) struct Activity(Mutex<State>);

struct State {
    running: usize,
    last: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(State { running: 0, last: Instant::now() }))
    }
}

/// A request under way, until its answer's last byte.
pub(crate) struct Running(Arc<Activity>);

impl Activity {
    /// Notes that a request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.change(|state| state.running += 1);
        Running(Arc::clone(self))
    }

    /// Returns once nothing has been under way for this long.
    pub(crate) async fn rested(&self, idle_time: Duration) {
        loop {
            let (running, last) = self.change(|state| (state.running, state.last));
            let rest_ends = last + idle_time;
            if running > 0 {
                sleep(idle_time).await;
            } else if rest_ends <= Instant::now() {
                return;
            } else {
                sleep_until(rest_ends).await;
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.running = state.running.saturating_sub(1);
            state.last = Instant::now();
        });
    }
}

/// A stream whose peer must take something of what is written within a time.
pub(crate) struct Stalling<S> {
    inner: S,
    stall_time: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(crate) fn new(inner: S, stall_time: Duration) -> Self {
        Self { inner, stall_time, deadline: None }
    }

    /// Ends the wait when something was written, and the stream when nothing was for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let stall_time = self.stall_time;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(stall_time)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
