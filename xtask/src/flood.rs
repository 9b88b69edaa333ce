//! `flood`: so many idle TLS connections at once as a listener takes; what each costs, and whether
//! somebody is answered meanwhile.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bench::custody_binary;
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{command, root, run as run_command};
use crate::served::Served;
use crate::stopwatch::Stopwatch;

/// Files that a process needs beside its connections.
const OTHER_FILES: usize = 1_000;

/// Opens the connections, and says what they cost.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["connections", "custody", "work"])?;
    let connections: usize = options.value("connections", 10_000)?;
    let folder: PathBuf = options.value("work", root().join("target/flood"))?;
    let custody = custody_binary(options)?;
    let words = ["build", "--release", "--locked", "-p", "custody-wire", "--example", "flood"];
    run_command(&mut command("cargo", &words))?;
    if folder.exists() {
        fs::remove_dir_all(&folder).trying(folder.display())?;
    }
    fs::create_dir_all(folder.join("home")).trying(folder.display())?;
    let served = Served::start(&custody, &folder, &[])?;
    let before = resident_kib(served.pid())?;
    let stopwatch = Stopwatch::start();
    let (mut flood, said) = open(&served, &folder, connections)?;
    let took = stopwatch.elapsed();
    let after = resident_kib(served.pid())?;
    println!("{said}; all within {:.1} s", took.as_secs_f64());
    println!("resident: {before} KiB before, {after} KiB with them");
    let bytes = after.saturating_sub(before) * 1_024 / connections.max(1);
    println!("{bytes} bytes a connection");
    flood.kill().trying("flood")?;
    flood.wait().trying("flood")?;
    let expected = format!("open {connections}, answered 200 ");
    if said.starts_with(&expected) { Ok(()) } else { Err(Failure::new("it was not answered")) }
}

/// Starts the client and waits until all its connections are open.
fn open(served: &Served, folder: &Path, connections: usize) -> Result<(Child, String), Failure> {
    let port = served.ready.get("port").and_then(Value::as_u64).unwrap_or_default();
    let client = target_folder()?.join("release/examples/flood");
    // A shell can raise its own limit before it becomes the client.
    let raise = format!("ulimit -n {} && exec \"$0\" \"$@\"", connections + OTHER_FILES);
    let mut command = Command::new("sh");
    command.args(["-c", &raise]).arg(client).arg(port.to_string());
    command.arg(folder.join("data/ca.pem")).arg(connections.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().trying("flood")?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::new("no stdout"))?;
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said).trying("flood")?;
    Ok((child, said.trim().to_owned()))
}

/// Memory of a process that is in use, in KiB.
fn resident_kib(pid: u32) -> Result<usize, Failure> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).trying(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| Failure::new(format!("{path} tells no VmRSS")))
}
