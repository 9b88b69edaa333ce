//! What the kernel says about a running process.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, Trying};
use crate::process::output;

/// A process that is watched.
pub(crate) struct Watched {
    /// Its folder below `/proc`.
    name: String,
    /// Clock ticks a second, the unit of processor times.
    ticks_per_s: u32,
}

impl Watched {
    /// The process of this number.
    pub(crate) fn new(pid: u32, ticks_per_s: u32) -> Self {
        Self { name: pid.to_string(), ticks_per_s }
    }

    /// This process.
    pub(crate) fn own() -> Result<Self, Failure> {
        Ok(Self::new(std::process::id(), ticks_per_s()?))
    }

    /// User and system time that the process has used.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let file = format!("/proc/{}/stat", self.name);
        let text = fs::read_to_string(&file).trying(&file)?;
        let ticks = cpu_ticks(&text).ok_or_else(|| Failure::new(format!("{file}: {text:?}")))?;
        Ok(Duration::from_secs(ticks) / self.ticks_per_s)
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Failure> {
        let file = format!("/proc/{}/status", self.name);
        let text = fs::read_to_string(&file).trying(&file)?;
        let kib = resident_kib(&text).ok_or_else(|| Failure::new(format!("{file}: no VmRSS")))?;
        Ok(kib << 10)
    }
}

/// Clock ticks a second on this machine.
pub(crate) fn ticks_per_s() -> Result<u32, Failure> {
    let ticks = output(Command::new("getconf").arg("CLK_TCK"))?;
    ticks.trim().parse().trying("getconf CLK_TCK")
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)); the second field, a name in brackets, may
/// hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = words.next()?.parse().ok()?;
    let system: u64 = words.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmRSS:     16384 kB` of `/proc/PID/status`.
fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 900 0 3 0 150 25 9 9 20 0 5 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some(175));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
        let status = "Name:\tcustody\nVmHWM:\t  900 kB\nVmRSS:\t   512 kB\n";
        assert_eq!(resident_kib(status), Some(512));
        assert_eq!(resident_kib("Name:\tcustody\n"), None);
    }
}
