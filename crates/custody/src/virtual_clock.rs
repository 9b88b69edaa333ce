//! A clock that a drill or a test moves (DESIGN §7), and the mark it leaves on a data folder.
//!
//! Times that never were must not mix with real ones: a data folder that was served under such a
//! clock is never opened under the machine's, and one that holds real recovery points never under
//! such a clock.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_ambient::{Clock, Timestamp};
use custody_wire::AdjustableClock;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::terminal;

/// The mark's name in the data folder.
const MARK: &str = "virtual-clock.json";
/// Newest format of the mark that is written and read.
const FORMAT: u32 = 1;

/// How far a data folder's clock is ahead of the machine's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mark {
    format: u32,
    ahead_seconds: u64,
}

/// Whether a data folder is governed by such a clock.
pub(crate) fn governs(data_folder: &Path) -> bool {
    data_folder.join(MARK).symlink_metadata().is_ok()
}

/// The refusal of the machine's clock for a data folder under a virtual one.
pub(crate) fn refusal(data_folder: &Path) -> CliError {
    let folder = terminal::path(data_folder.as_os_str().as_encoded_bytes());
    CliError::Conflict {
        code: "ClockIsVirtual",
        message: format!("{folder} lives by a virtual clock and cannot be opened under a real one"),
        fix: "custody up --virtual-clock, and ask that server".to_owned(),
    }
}

/// The machine's clock, ahead by what it was moved.
pub(crate) struct VirtualClock {
    machine: Arc<dyn Clock>,
    ahead: Mutex<Duration>,
    mark: PathBuf,
}

impl VirtualClock {
    /// The clock of a data folder, which it marks. Returns whether the mark is new.
    pub(crate) fn of(
        data_folder: &Path,
        machine: Arc<dyn Clock>,
    ) -> Result<(Self, bool), CliError> {
        let path = data_folder.join(MARK);
        let failed = |reason| CliError::Path {
            path: terminal::path(path.as_os_str().as_encoded_bytes()),
            reason,
        };
        let invalid = |why: String| failed(io::Error::new(io::ErrorKind::InvalidData, why));
        let (ahead_seconds, is_new) = match fs::read_to_string(&path) {
            Ok(text) => {
                let mark: Mark =
                    serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
                if mark.format > FORMAT {
                    return Err(invalid("a newer version of custody wrote it".to_owned()));
                }
                (mark.ahead_seconds, false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(data_folder).and_then(|()| keep(&path, 0)).map_err(failed)?;
                (0, true)
            }
            Err(error) => return Err(failed(error)),
        };
        let ahead = Mutex::new(Duration::from_secs(ahead_seconds));
        Ok((Self { machine, ahead, mark: path }, is_new))
    }

    /// Takes the mark back: the data folder turned out to hold real work.
    pub(crate) fn unmark(&self) {
        // What stays is refused by the next real server with a message that names it.
        let _ = fs::remove_file(&self.mark);
    }

    fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.machine.now().checked_add(self.ahead()).unwrap_or(Timestamp::MAX)
    }

    fn since_boot(&self) -> Duration {
        self.machine.since_boot() + self.ahead()
    }

    /// Waits as long as the machine's clock does: nobody moves this one while others wait.
    fn sleep(&self, duration: Duration) {
        self.machine.sleep(duration);
    }
}

impl AdjustableClock for VirtualClock {
    fn advance(&self, by: Duration) -> io::Result<()> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = ahead.saturating_add(by);
        let last = self.machine.now().checked_add(moved);
        last.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "there is no such time"))?;
        // Rounded up: after a restart no time is seen twice.
        keep(&self.mark, moved.as_secs() + u64::from(moved.subsec_nanos() > 0))?;
        *ahead = moved;
        Ok(())
    }
}

fn keep(path: &Path, ahead_seconds: u64) -> io::Result<()> {
    let text = serde_json::to_string(&Mark { format: FORMAT, ahead_seconds })?;
    let fresh = path.with_extension("json.new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_test_world::FixedClock;

    #[test]
    fn the_time_only_goes_forward_and_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let machine = || Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z")) as Arc<dyn Clock>;
        assert!(!governs(folder.path()));
        let (clock, is_new) = VirtualClock::of(folder.path(), machine()).unwrap();
        assert!(is_new && governs(folder.path()));
        let boot = clock.since_boot();
        clock.advance(Duration::from_hours(1)).unwrap();
        assert_eq!(clock.now().to_string(), "2026-11-22T07:00:00Z");
        assert_eq!(clock.since_boot(), boot + Duration::from_hours(1));
        let (again, is_new) = VirtualClock::of(folder.path(), machine()).unwrap();
        assert!(!is_new);
        assert_eq!(again.now().to_string(), "2026-11-22T07:00:00Z");
        again.advance(Duration::from_secs(u64::MAX / 2)).unwrap_err();
        again.unmark();
        assert!(!governs(folder.path()));
    }

    #[test]
    fn a_damaged_mark_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let machine = || Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z")) as Arc<dyn Clock>;
        for text in ["", "{}", "{\"format\":2,\"aheadSeconds\":0}"] {
            fs::write(folder.path().join(MARK), text).unwrap();
            assert!(governs(folder.path()));
            assert!(VirtualClock::of(folder.path(), machine()).is_err(), "{text}");
        }
    }
}
