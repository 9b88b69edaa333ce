//! Processes of this host, to tell a dead writer at once.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::LogError;
use super::body::HostFacts;

/// Whether a writer is alive, as far as its host can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its process runs.
    Alive,
    /// It ran on this host, and its process is gone.
    Dead,
    /// It runs, or ran, where this host cannot see.
    Unknown,
}

/// What a host knows about its processes.
pub trait HostProbe: Send + Sync {
    /// The facts about this process, to stand in "session begun".
    fn own_facts(&self) -> Result<HostFacts, LogError>;

    /// Whether the process of these facts is alive.
    fn liveness(&self, facts: &HostFacts) -> Liveness;
}

/// Asks Linux through `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcHost;

impl HostProbe for ProcHost {
    fn own_facts(&self) -> Result<HostFacts, LogError> {
        Ok(HostFacts {
            boot_id: boot_id()?,
            process_id: std::process::id(),
            process_start_ticks: start_ticks("self")?
                .ok_or_else(|| unreadable("/proc/self/stat", &ErrorKind::NotFound))?,
            process_name_space: name_space()?,
        })
    }

    /// A wrong "dead" (another user's process under `hidepid`) costs that writer its backup and
    /// harms nothing: the fence makes its commit void.
    fn liveness(&self, facts: &HostFacts) -> Liveness {
        let same_host = boot_id().is_ok_and(|id| id == facts.boot_id)
            && name_space().is_ok_and(|number| number == facts.process_name_space);
        if !same_host {
            return Liveness::Unknown;
        }
        match start_ticks(&facts.process_id.to_string()) {
            Ok(Some(ticks)) if ticks == facts.process_start_ticks => Liveness::Alive,
            Ok(_) => Liveness::Dead,
            Err(_) => Liveness::Unknown,
        }
    }
}

fn boot_id() -> Result<[u8; 16], LogError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| unreadable(path, &"it is no GUID"))
}

fn name_space() -> Result<u64, LogError> {
    let path = "/proc/self/ns/pid";
    fs::metadata(path).map(|found| found.ino()).map_err(|e| unreadable(path, &e))
}

/// When a process started, or `None` if there is none: field 22 of its `stat`, the twentieth
/// after the name, which stands in parentheses and may hold any byte (proc(5)).
fn start_ticks(process: &str) -> Result<Option<u64>, LogError> {
    let path = format!("/proc/{process}/stat");
    let stat = match fs::read(&path) {
        Ok(stat) => String::from_utf8_lossy(&stat).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        // ESRCH: it ended between opening and reading.
        Err(e) if e.raw_os_error() == Some(3) => return Ok(None),
        Err(e) => return Err(unreadable(&path, &e)),
    };
    stat.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(19)?.parse().ok())
        .map(Some)
        .ok_or_else(|| unreadable(&path, &"field 22 is no number"))
}

fn unreadable(what: &str, message: &dyn std::fmt::Display) -> LogError {
    LogError::Host { what: what.to_owned(), message: message.to_string() }
}
