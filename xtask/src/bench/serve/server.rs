//! The server that is measured, as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, Trying};
use crate::process::{output, run};
use crate::stopwatch::Stopwatch;

/// How long the server may take until it serves.
const START_TIME: Duration = Duration::from_secs(60);
/// How often it is looked for the ready file; the start is measured no finer than this.
const LOOK_TIME: Duration = Duration::from_micros(500);

/// An installation and the binary that serves it.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) binary: PathBuf,
    folder: PathBuf,
}

impl Site {
    /// A fresh, empty folder for it.
    pub(crate) fn fresh(binary: PathBuf, folder: PathBuf) -> Result<Self, Failure> {
        if folder.exists() {
            fs::remove_dir_all(&folder).trying(folder.display())?;
        }
        fs::create_dir_all(&folder).trying(folder.display())?;
        Ok(Self { binary, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.join("data/ca.pem")
    }

    /// What `custody env` says.
    pub(crate) fn facts(&self) -> Result<Value, Failure> {
        let text = output(self.command().args(["env", "--json"]))?;
        serde_json::from_str(&text).trying("custody env --json")
    }

    /// The command, on this installation and no other.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("HOME", &self.folder)
            .env("CUSTODY_DATA_DIR", self.folder.join("data"))
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// From the start of the process until the ready file was there.
    pub(crate) start_time: Duration,
    /// Clock ticks a second, the unit of processor times.
    ticks_per_s: u32,
}

impl Server {
    /// Starts it on a free port and waits until it serves.
    pub(crate) fn start(site: &Site) -> Result<Self, Failure> {
        let ready = site.folder.join("ready.json");
        if ready.exists() {
            fs::remove_file(&ready).trying(ready.display())?;
        }
        let log = site.folder.join("server.log");
        let log = File::create(&log).trying(log.display())?;
        let mut up = site.command();
        up.args(["up", "--port", "0", "--ready-file"])
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(log);
        let ticks = output(Command::new("getconf").arg("CLK_TCK"))?;
        let ticks_per_s = ticks.trim().parse().trying("getconf CLK_TCK")?;
        let stopwatch = Stopwatch::start();
        let child = up.spawn().trying(site.binary.display())?;
        let mut server = Self { child, port: 0, start_time: Duration::ZERO, ticks_per_s };
        while !ready.exists() {
            let ended = server.child.try_wait().trying("custody up")?;
            if ended.is_some() || stopwatch.elapsed() > START_TIME {
                let said = fs::read_to_string(site.folder.join("server.log")).unwrap_or_default();
                return Err(Failure::new(format!("custody up did not come up: {said}")));
            }
            std::thread::sleep(LOOK_TIME);
        }
        server.start_time = stopwatch.elapsed();
        let text = fs::read_to_string(&ready).trying(ready.display())?;
        let facts: Value = serde_json::from_str(&text).trying(ready.display())?;
        let port = facts.get("port").and_then(Value::as_u64);
        server.port = port.unwrap_or_default().try_into().trying("the port")?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time that the process has used.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let file = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(&file).trying(&file)?;
        let ticks = cpu_ticks(&text).ok_or_else(|| Failure::new(format!("{file}: {text:?}")))?;
        Ok(Duration::from_secs(ticks) / self.ticks_per_s)
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Failure> {
        let file = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(&file).trying(&file)?;
        let kib = resident_kib(&text).ok_or_else(|| Failure::new(format!("{file}: no VmRSS")))?;
        Ok(kib << 10)
    }

    /// Stops it as a service manager would, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        run(Command::new("kill").args(["-s", "TERM", &self.pid().to_string()]))?;
        let status = self.child.wait().trying("custody up")?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("custody up: {status}"))) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
