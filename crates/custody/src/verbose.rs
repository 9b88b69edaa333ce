//! `--verbose`: every request and its answer in a line on stderr.

use std::io::Read;
use std::sync::Arc;

use custody_ambient::Clock;
use custody_client::{Transport, TransportError};

use crate::terminal;

/// A transport that tells what passes through it: method, address, status and time, no bodies.
pub(crate) struct Told {
    inner: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl Told {
    /// Tells of what passes through `inner`.
    pub(crate) fn new(inner: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock }
    }
}

impl Transport for Told {
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Box<dyn Read + Send>>, TransportError> {
        let what = terminal::line(&format!("{} {}", request.method(), request.uri()));
        let began = self.clock.since_boot();
        let answer = self.inner.send(request);
        let took = self.clock.since_boot().saturating_sub(began).as_millis();
        let how = match &answer {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => terminal::line(&error.to_string()),
        };
        tell(&format!("{what} → {how} ({took} ms)"));
        answer
    }
}

#[expect(clippy::print_stderr, reason = "may run on any thread; the run's own stderr may not")]
fn tell(line: &str) {
    eprintln!("{line}");
}
