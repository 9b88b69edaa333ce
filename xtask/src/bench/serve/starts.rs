//! How soon the server serves, and how much memory it takes then.

use std::fs;

use crate::bench::serve::figures::{Bound, Figures};
use crate::bench::serve::outcome::percentile;
use crate::bench::serve::server::{Server, Site};
use crate::failure::{Failure, Trying};

/// Starts that are measured.
const STARTS: usize = 11;
/// From the start of the process until it serves.
const START: Bound = Bound::Below(150.0, "150 ms");
/// Resident memory then.
const MEMORY: Bound = Bound::Below(60.0, "60 MB");
/// The size of the binary.
const BINARY: Bound = Bound::Below(40.0, "40 MB");

/// Starts the server on an installation that is there already, time and again.
pub(crate) fn measure(site: &Site, figures: &mut Figures) -> Result<(), Failure> {
    let (mut times_us, mut memory_bytes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let server = Server::start(site)?;
        times_us.push(u64::try_from(server.start_time.as_micros()).unwrap_or(u64::MAX));
        memory_bytes.push(server.watched.memory_bytes()?);
        server.stop()?;
    }
    times_us.sort_unstable();
    memory_bytes.sort_unstable();
    let time = |percent| thousandths(percentile(&times_us, percent).unwrap_or_default());
    let (least, median, most) = (time(0), time(50), time(100));
    figures.add(
        "`custody up`, start to ready on an existing data folder",
        Some(START),
        median,
        format!("{median:.0} ms, median of {STARTS} ({least:.0}–{most:.0})"),
        "until `--ready-file` is there",
    );
    let most = thousandths(memory_bytes.last().copied().unwrap_or_default() / 1000);
    figures.add(
        "resident memory of the server after start",
        Some(MEMORY),
        most,
        format!("{most:.0} MB, most of {STARTS}"),
        "`VmRSS`",
    );
    let size = fs::metadata(&site.binary).trying(site.binary.display())?.len();
    let size = thousandths(size / 1000);
    figures.add(
        "size of the binary",
        Some(BINARY),
        size,
        format!("{size:.0} MB"),
        "bytes of the file",
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
fn thousandths(value: u64) -> f64 {
    value as f64 / 1e3
}
