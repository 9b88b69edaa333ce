//! Figures in Prometheus' text form: counted as requests are answered, never by scanning.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};

use crate::base::HostKind;

/// Upper bounds of the latency histogram, in milliseconds.
const BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 2_000, 10_000];
/// The operations on keys that are counted by name; everything else is a kind of `manage`.
const KEY_OPERATIONS: [&str; 13] = [
    "backup",
    "create",
    "decrypt",
    "encrypt",
    "recover",
    "release",
    "restore",
    "rng",
    "rotate",
    "sign",
    "unwrapkey",
    "verify",
    "wrapkey",
];

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    requests: BTreeMap<(&'static str, u16), u64>,
    latency: BTreeMap<&'static str, Histogram>,
    key_operations: BTreeMap<(&'static str, bool), u64>,
    throttled: u64,
    connections_refused: u64,
    connections: i64,
    unready: BTreeMap<String, u64>,
}

/// What is not counted by requests but read where it stands.
#[derive(Default)]
pub(crate) struct Standing {
    /// The operations that have not ended, by task.
    pub(crate) running: Vec<(String, u64)>,
    /// Requests for `RSA1_5` since the start.
    pub(crate) rsa15_uses: u64,
    /// Records that could not be written since the start.
    pub(crate) audit_write_failures: u64,
    /// Events that were given up since the start.
    pub(crate) events_dropped: u64,
    /// Jobs that failed by their vault's key since the start.
    pub(crate) key_job_failures: u64,
    /// Causes of such failures since the start, each counted once.
    pub(crate) key_alerts: u64,
    /// Probes of vaults' keys since the start, by result.
    pub(crate) key_probes: Vec<(&'static str, u64)>,
    /// How long they waited for the answers.
    pub(crate) key_probes_waited: Duration,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BOUNDS_MS.len()],
    count: u64,
    total: Duration,
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn count<B>(
        &self,
        request: &Request<B>,
        host: Option<&HostKind>,
        status: StatusCode,
        took: Duration,
    ) {
        let surface = surface(host, request.uri().path());
        self.count_as(surface, status, took);
        let mut counted = self.lock();
        // What was refused for want of a token is no operation on a key.
        if status != StatusCode::UNAUTHORIZED && matches!(surface, "keyvault" | "managedhsm") {
            let operation = key_operation(request.uri().path());
            *counted.key_operations.entry((operation, status.is_success())).or_default() += 1;
        }
    }

    /// Counts one answered request of this surface.
    pub(crate) fn count_as(&self, surface: &'static str, status: StatusCode, took: Duration) {
        let mut counted = self.lock();
        *counted.requests.entry((surface, status.as_u16())).or_default() += 1;
        counted.latency.entry(surface).or_default().add(took);
        if status == StatusCode::TOO_MANY_REQUESTS {
            counted.throttled += 1;
        }
    }

    /// Counts a connection that was closed because there are too many.
    pub(crate) fn note_refused_connection(&self) {
        self.lock().connections_refused += 1;
    }

    /// Counts connections: `1` for one more, `-1` for one less.
    pub(crate) fn note_connections(&self, change: i64) {
        self.lock().connections += change;
    }

    /// Counts a look that found the server unable to work.
    pub(crate) fn note_unready(&self, code: &str) {
        *self.lock().unready.entry(code.to_owned()).or_default() += 1;
    }

    /// All figures.
    pub(crate) fn render(&self, standing: &Standing) -> String {
        let counted = self.lock();
        let mut page = Page::default();
        page.family("custody_requests_total", "counter", "Answered requests.");
        for ((surface, status), count) in &counted.requests {
            let labels = format!("surface=\"{surface}\",status=\"{status}\"");
            page.sample("custody_requests_total", &labels, count);
        }
        page.family("custody_request_seconds", "histogram", "Time until a request was answered.");
        for (surface, histogram) in &counted.latency {
            histogram.render(surface, &mut page);
        }
        page.family("custody_key_operations_total", "counter", "Requests to keys.");
        for ((operation, ok), count) in &counted.key_operations {
            let result = if *ok { "ok" } else { "refused" };
            let labels = format!("operation=\"{operation}\",result=\"{result}\"");
            page.sample("custody_key_operations_total", &labels, count);
        }
        page.family("custody_throttled_total", "counter", "Requests answered with 429.");
        page.sample("custody_throttled_total", "", &counted.throttled);
        page.family("custody_connections", "gauge", "Open connections.");
        page.sample("custody_connections", "", &counted.connections);
        page.family("custody_connections_refused_total", "counter", "Connections beyond the cap.");
        page.sample("custody_connections_refused_total", "", &counted.connections_refused);
        page.family("custody_unready_total", "counter", "Looks at /readyz that found a fault.");
        for (code, count) in &counted.unready {
            page.sample("custody_unready_total", &format!("code=\"{code}\""), count);
        }
        page.family("custody_operations_running", "gauge", "Operations that have not ended.");
        for (task, count) in &standing.running {
            page.sample("custody_operations_running", &format!("task=\"{task}\""), count);
        }
        let total = |page: &mut Page, name: &str, help: &str, count: u64| {
            page.family(name, "counter", help);
            page.sample(name, "", &count);
        };
        let text = "Requests for RSA1_5, which is to disappear.";
        total(&mut page, "custody_rsa15_uses_total", text, standing.rsa15_uses);
        let text = "Acts refused because their record could not be written.";
        total(&mut page, "custody_audit_write_failures_total", text, standing.audit_write_failures);
        let text = "Events that no subscriber took in time.";
        total(&mut page, "custody_events_dropped_total", text, standing.events_dropped);
        let text = "Jobs that failed because their vault's key could not be used.";
        total(&mut page, "custody_key_job_failures_total", text, standing.key_job_failures);
        let text = "Causes that kept a vault from its key, one alert each.";
        total(&mut page, "custody_key_alerts_total", text, standing.key_alerts);
        page.family("custody_key_probes_total", "counter", "Probes of the keys of vaults.");
        for (result, count) in &standing.key_probes {
            page.sample("custody_key_probes_total", &format!("result=\"{result}\""), count);
        }
        let text = "Time that probes waited for key vaults.";
        page.family("custody_key_probe_seconds_total", "counter", text);
        let waited = standing.key_probes_waited.as_secs_f64();
        page.sample("custody_key_probe_seconds_total", "", &waited);
        page.0
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let took_ms = took.as_millis();
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS_MS) {
            if took_ms <= u128::from(bound) {
                *bucket += 1;
            }
        }
        self.count += 1;
        self.total += took;
    }

    fn render(&self, surface: &str, page: &mut Page) {
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_MS) {
            let seconds = Duration::from_millis(bound).as_secs_f64();
            let labels = format!("surface=\"{surface}\",le=\"{seconds}\"");
            page.sample("custody_request_seconds_bucket", &labels, bucket);
        }
        let labels = format!("surface=\"{surface}\"");
        let all = format!("{labels},le=\"+Inf\"");
        page.sample("custody_request_seconds_bucket", &all, &self.count);
        page.sample("custody_request_seconds_sum", &labels, &self.total.as_secs_f64());
        page.sample("custody_request_seconds_count", &labels, &self.count);
    }
}

/// The text as it grows. Writing to a String cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: &dyn std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}

fn surface(host: Option<&HostKind>, path: &str) -> &'static str {
    match host {
        Some(HostKind::KeyVault(_)) => "keyvault",
        Some(HostKind::ManagedHsm(_)) => "managedhsm",
        Some(HostKind::Main) if path.starts_with("/custody/") => "custody",
        Some(HostKind::Main) if crate::health::is_open(path) => "health",
        Some(HostKind::Main) if path.starts_with("/v1.0/") => "graph",
        Some(HostKind::Main) if path.contains("/oauth2/") || path.contains("/.well-known/") => {
            "tokens"
        }
        Some(HostKind::Main) => "arm",
        None => "unknown",
    }
}

fn key_operation(path: &str) -> &'static str {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known = KEY_OPERATIONS.iter().find(|name| name.eq_ignore_ascii_case(last));
    known.copied().unwrap_or("manage")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up() {
        let metrics = Metrics::default();
        let count = |path: &str, host: HostKind, status: StatusCode, ms: u64| {
            let request = Request::get(path).body(()).unwrap();
            metrics.count(&request, Some(&host), status, Duration::from_millis(ms));
        };
        let vault = || HostKind::KeyVault("kv1".to_owned());
        count("/keys/k//unwrapkey", vault(), StatusCode::OK, 3);
        count("/keys/k//unwrapkey", vault(), StatusCode::TOO_MANY_REQUESTS, 1);
        count("/keys", vault(), StatusCode::UNAUTHORIZED, 1);
        count("/subscriptions", HostKind::Main, StatusCode::OK, 30_000);
        let running = vec![("backup".to_owned(), 2)];
        let standing = Standing { running, rsa15_uses: 3, ..Standing::default() };
        let text = metrics.render(&standing);
        for line in [
            "custody_requests_total{surface=\"keyvault\",status=\"200\"} 1",
            "custody_request_seconds_bucket{surface=\"keyvault\",le=\"0.001\"} 2",
            "custody_request_seconds_bucket{surface=\"keyvault\",le=\"0.005\"} 3",
            "custody_request_seconds_bucket{surface=\"arm\",le=\"10\"} 0",
            "custody_request_seconds_bucket{surface=\"arm\",le=\"+Inf\"} 1",
            "custody_request_seconds_sum{surface=\"arm\"} 30",
            "custody_key_operations_total{operation=\"unwrapkey\",result=\"ok\"} 1",
            "custody_key_operations_total{operation=\"unwrapkey\",result=\"refused\"} 1",
            "custody_throttled_total 1",
            "custody_operations_running{task=\"backup\"} 2",
            "custody_rsa15_uses_total 3",
            "custody_audit_write_failures_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("operation=\"manage\""));
    }
}
