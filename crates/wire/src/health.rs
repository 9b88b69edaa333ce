//! What is answered without a token: whether the server lives, whether it can work, and figures.

use std::io::Cursor;
use std::sync::atomic::Ordering;

use custody_names::CorrelationId;
use custody_record_store::OperationFilter;
use custody_resources::Refusal;
use custody_worker::fault;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::json;

use crate::metrics::Standing;
use crate::reply::{self, Body};
use crate::server::{Peer, Server};

/// Most unfinished operations that are counted.
const OPERATIONS_MAX: usize = 10_000;

/// Whether this path needs no token.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// Answers a request to such a path.
pub(crate) fn answer(
    server: &Server,
    request: &Request<Vec<u8>>,
    peer: &Peer,
    correlation: CorrelationId,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = format!("{} is not served here", request.method());
        return reply::refusal(&Refusal::new(405, "MethodNotAllowed", text));
    }
    match request.uri().path() {
        "/healthz" => reply::json(200, Some(&json!({ "status": "alive" }))),
        "/readyz" => match ready(server) {
            Ok(()) => reply::json(200, Some(&json!({ "status": "ready" }))),
            Err(refusal) => {
                let body = json!({ "status": "not ready", "requestId": correlation.to_string() });
                // What is wrong is the operator's to know, not any caller's.
                server.metrics.note_unready(&refusal.code);
                reply::json(503, Some(&body))
            }
        },
        // Figures tell how busy the installation is: they stay on the machine.
        _ if peer.address.ip().to_canonical().is_loopback() => metrics(server),
        _ => reply::refusal(&Refusal::new(
            403,
            "MetricsAreLocal",
            "metrics are served to this machine alone",
        )),
    }
}

/// The records can be read, and the ledger can be written to.
fn ready(server: &Server) -> Result<(), Refusal> {
    let platform = &server.platform;
    platform.records.revocation_counter().map_err(|error| fault::of_store(&error))?;
    platform.ledger.head().map_err(|error| Refusal::new(503, error.code(), error.to_string()))?;
    Ok(())
}

fn metrics(server: &Server) -> Response<Body> {
    let platform = &server.platform;
    let unfinished = platform.records.operations(&OperationFilter::Unfinished, OPERATIONS_MAX);
    let mut running: Vec<(String, u64)> = Vec::new();
    for tracked in unfinished.unwrap_or_default() {
        let name = tracked.operation.task.name;
        match running.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => running.push((name, 1)),
        }
    }
    let text = server.metrics.render(&Standing {
        running,
        rsa15_uses: platform.key_vaults.rsa15_uses(),
        audit_write_failures: platform.ledger.failed_appends(),
        events_dropped: platform.events_dropped.load(Ordering::Relaxed),
        key_job_failures: platform.key_failures.jobs(),
        key_alerts: platform.key_failures.alerts(),
        key_probes: platform.probe_figures().by_result().to_vec(),
        key_probes_waited: platform.probe_figures().waited(),
    });
    let mut response = Response::new(Box::new(Cursor::new(text.into_bytes())) as Body);
    *response.status_mut() = StatusCode::OK;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
