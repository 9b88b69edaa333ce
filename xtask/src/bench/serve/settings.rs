//! What is measured, and how.

use crate::failure::{Failure, Trying};
use crate::options::Options;

/// The measurements, in the order in which they are made.
pub(crate) const MEASURES: [&str; 8] =
    ["floor", "unwrap", "get", "token", "pool", "list", "vaults", "start"];

/// What the command line says.
pub(crate) struct Settings {
    only: Vec<String>,
    /// How long each measurement takes.
    pub(crate) seconds: u64,
    /// Threads of the load that keeps the cores busy, and connections of each.
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    /// Connections of the loads whose answers are timed.
    pub(crate) timed: usize,
    /// Sizes of RSA keys in bits.
    pub(crate) sizes: Vec<u32>,
    /// Keys, and vaults, of the lists that are walked.
    pub(crate) keys: u32,
    /// Whether a caller that is throttled waits as long as it was told.
    pub(crate) is_patient: bool,
    /// Without openssl, for a profiler.
    pub(crate) is_bare: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn of(options: &Options) -> Result<Self, Failure> {
        let only = options.list("only", &MEASURES);
        let unknown = only.iter().filter(|name| !MEASURES.contains(name));
        Failure::unless_empty(unknown.map(|name| format!("--only {name}: unknown")).collect())?;
        let sizes = options.list("sizes", &["2048", "3072", "4096"]).into_iter();
        let sizes = sizes.map(|size| size.parse().trying(format!("--sizes {size}")));
        let settings = Self {
            only: only.into_iter().map(str::to_owned).collect(),
            seconds: options.value("seconds", 10)?,
            threads: options.value("threads", 2)?,
            connections: options.value("connections", 16)?,
            timed: options.value("timed", 8)?,
            sizes: sizes.collect::<Result<_, _>>()?,
            keys: options.value("keys", 10_000)?,
            is_patient: options.has("patient"),
            is_bare: options.has("bare"),
        };
        let counts = [settings.threads, settings.connections, settings.timed];
        if settings.seconds == 0 || counts.contains(&0) {
            return Err(Failure::new("--seconds, --threads, --connections, --timed: at least 1"));
        }
        Ok(settings)
    }

    /// Whether this is to be measured.
    pub(crate) fn wants(&self, measure: &str) -> bool {
        self.only.iter().any(|name| name == measure)
    }
}
