//! The server that is measured, as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::bench::serve::process_stat::{self, Watched};
use crate::failure::{Failure, Trying};
use crate::process::{output, run};
use crate::stopwatch::Stopwatch;

/// How long the server may take until it serves.
const START_TIME: Duration = Duration::from_mins(1);
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
    /// What the kernel says about it.
    pub(crate) watched: Watched,
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
        let ticks_per_s = process_stat::ticks_per_s()?;
        let stopwatch = Stopwatch::start();
        let child = up.spawn().trying(site.binary.display())?;
        let watched = Watched::new(child.id(), ticks_per_s);
        let mut server = Self { child, port: 0, start_time: Duration::ZERO, watched };
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
