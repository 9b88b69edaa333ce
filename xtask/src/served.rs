//! A running `custody up`, asked over the socket of this machine's users.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, Trying};

/// The main host.
pub(crate) const MAIN: &str = "custody.localhost";

/// How long a server may take to come up.
const START_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// A server that ends with this value.
pub(crate) struct Served {
    child: Child,
    socket: PathBuf,
    /// What it wrote when it was ready.
    pub(crate) ready: Value,
}

/// A request: method, host, path with query, body.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// An answer that came whole.
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// The operation that it began.
    pub(crate) operation: Option<String>,
    pub(crate) body: Value,
}

impl Served {
    /// Starts a server over `folder/data` and waits until it serves.
    pub(crate) fn start(custody: &Path, folder: &Path, more: &[&str]) -> Result<Self, Failure> {
        let ready = folder.join("ready.json");
        // It is there already if a server came up here before.
        std::fs::remove_file(&ready).ok();
        let (data, home) = (folder.join("data"), folder.join("home"));
        let mut command = Command::new(custody);
        command
            .arg("--data-dir")
            .arg(&data)
            .args(["up", "--port", "0", "--ready-file"])
            .arg(&ready);
        command.args(more);
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            command.env(variable, &home);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().trying("custody up")?;
        let mut served = Self { child, socket: data.join("server.sock"), ready: Value::Null };
        let mut waited = Duration::ZERO;
        while waited < START_MAX {
            let text = std::fs::read(&ready).unwrap_or_default();
            if let Ok(found) = serde_json::from_slice(&text) {
                served.ready = found;
                return Ok(served);
            }
            if let Some(status) = served.child.try_wait().trying("custody up")? {
                return Err(Failure::new(format!("custody up: {status}")));
            }
            std::thread::sleep(LOOK);
            waited += LOOK;
        }
        Err(Failure::new("custody up did not come up"))
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request without waiting for the answer.
    pub(crate) fn send(&self, asked: &Asked<'_>) -> std::io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let body = if asked.body.is_null() { String::new() } else { asked.body.to_string() };
        let Asked { method, host, path, .. } = asked;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }

    /// Sends a request and reads the answer.
    pub(crate) fn ask(&self, asked: &Asked<'_>) -> Result<Answered, Failure> {
        let what = format!("{} {}{}", asked.method, asked.host, asked.path);
        let stream = self.send(asked).trying(&what)?;
        hear(stream).ok_or_else(|| Failure::new(format!("{what}: no answer")))
    }

    /// Sends a request that must succeed, and takes the body of the answer.
    pub(crate) fn must(&self, asked: &Asked<'_>) -> Result<Value, Failure> {
        self.granted(asked).map(|answered| answered.body)
    }

    /// The same, and takes all of the answer.
    pub(crate) fn granted(&self, asked: &Asked<'_>) -> Result<Answered, Failure> {
        let answered = self.ask(asked)?;
        if answered.status < 300 {
            return Ok(answered);
        }
        let Asked { method, host, path, .. } = asked;
        let (status, body) = (answered.status, answered.body);
        Err(Failure::new(format!("{method} {host}{path}: {status} {body}")))
    }

    /// Kills it as a power cut would, but for what the system holds of its files.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().trying("kill")?;
        self.child.wait().trying("kill").map(drop)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where it was killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads what came of an answer: none unless it is whole.
pub(crate) fn hear(mut stream: UnixStream) -> Option<Answered> {
    let mut bytes = Vec::new();
    // A server that is killed breaks off; what it had said counts.
    stream.read_to_end(&mut bytes).ok();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    if body.len() < length.unwrap_or(0) {
        return None;
    }
    let operation = header("x-custody-operation").map(str::to_owned);
    let whole = match header("transfer-encoding") {
        Some(_) => unchunked(body)?,
        None => body.to_vec(),
    };
    Some(Answered { status, operation, body: serde_json::from_slice(&whole).unwrap_or_default() })
}

/// What was sent in chunks (RFC 9112, section 7.1); none unless the last has come.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(body.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let chunk = body.get(end + 2..)?;
        whole.extend_from_slice(chunk.get(..size)?);
        body = chunk.get(size + 2..)?;
    }
}
