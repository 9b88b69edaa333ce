//! `--stdin`: hands a stream to the backup that was begun, through a socket in the data folder.
//!
//! The stream goes in frames with an end of its own (see the sources' `stream`): where the end is
//! not sent, no recovery point is made.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use custody_ambient::random_array;
use data_encoding::HEXLOWER;

use crate::context::Context;
use crate::error::CliError;
use crate::local_socket::{self, LocalSocket};
use crate::terminal;

/// Most bytes in one frame.
const FRAME_BYTES: usize = 256 << 10;

/// What a stream is made of.
pub(super) enum Producer {
    /// The standard input: whether it is whole, nobody says.
    Stdin(Box<dyn Read + Send>),
    /// What a command writes: it is whole if the command ends well.
    Command(Vec<OsString>),
}

/// A stream on its way to a backup.
pub(super) struct Feed {
    id: String,
    socket: LocalSocket,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Why the stream is not whole, told before the backup can notice.
    fault: Mutex<Option<Fault>>,
    given_up: AtomicBool,
}

/// Why a stream is not whole.
enum Fault {
    Empty,
    Unreadable(String),
    Command {
        name: String,
        how: String,
    },
    /// The backup takes no more; it says itself why.
    Refused,
}

impl Producer {
    /// The standard input, unless somebody would have to type it.
    pub(super) fn stdin(context: &Context<'_>) -> Result<Self, CliError> {
        if context.world.terminals.stdin {
            let text = "the standard input is a terminal: put COMMAND | before it";
            return Err(CliError::Usage(text.to_owned()));
        }
        (context.world.open_stdin)().map(Self::Stdin).map_err(|error| {
            Fault::Unreadable(error.to_string()).explained().unwrap_or(CliError::BrokenOff(error))
        })
    }

    /// Sends all of it; the end only if it is whole.
    fn send(self, socket: &mut UnixStream) -> Result<(), Fault> {
        match self {
            Self::Stdin(mut stdin) => {
                let sent = copy(&mut *stdin, socket)?;
                if sent == 0 { Err(Fault::Empty) } else { end(socket) }
            }
            Self::Command(words) => run(&words, socket),
        }
    }
}

impl Feed {
    /// Waits for a backup on a thread of its own.
    pub(super) fn begin(context: &Context<'_>, producer: Producer) -> Result<Self, CliError> {
        let random = random_array::<16>(context.world.entropy.as_ref())?;
        let id = HEXLOWER.encode(&random);
        let folder = &context.installation()?.data_folder;
        let (socket, listener) = bind(folder, &id)?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let spawned = thread::Builder::new().name("stream".into()).spawn(move || {
            give(&listener, producer, &shared);
        });
        spawned.map_err(CliError::BrokenOff)?;
        Ok(Self { id, socket, state })
    }

    /// What the backup is told, to find the stream.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What became of the backup; if the stream failed it, why that was.
    pub(super) fn explain<T>(&self, outcome: Result<T, CliError>) -> Result<T, CliError> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error @ CliError::Interrupted) => return Err(error),
            Err(error) => error,
        };
        let fault = self.state.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(fault.and_then(Fault::explained).unwrap_or(error))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.state.given_up.store(true, Ordering::Relaxed);
        // Wakes the thread if no backup ever came.
        let _ = self.socket.connect();
    }
}

fn bind(folder: &Path, id: &str) -> Result<(LocalSocket, UnixListener), CliError> {
    local_socket::bind_stream(folder, id).map_err(|reason| CliError::Path {
        path: terminal::path(folder.as_os_str().as_encoded_bytes()),
        reason,
    })
}

/// Sends the stream to the first who asks for it.
fn give(listener: &UnixListener, producer: Producer, state: &State) {
    let Ok((mut socket, _)) = listener.accept() else { return };
    if state.given_up.load(Ordering::Relaxed) {
        return;
    }
    if let Err(fault) = producer.send(&mut socket) {
        // Told before the socket closes, which is how the backup learns of it.
        *state.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

/// Runs a command and sends what it writes.
fn run(words: &[OsString], socket: &mut UnixStream) -> Result<(), Fault> {
    let (program, arguments) = words.split_first().ok_or(Fault::Empty)?;
    let failed =
        |how: String| Fault::Command { name: terminal::path(program.as_encoded_bytes()), how };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
    let output = child.stdout.take();
    let sent = output.map_or(Ok(0), |mut output| copy(&mut output, socket));
    if sent.is_err() {
        // Nobody takes what it still has to say.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    sent?;
    if status.success() { end(socket) } else { Err(failed(format!("failed ({status})"))) }
}

/// Sends everything in frames, as it comes; how much it was, in bytes.
fn copy(from: &mut dyn Read, socket: &mut UnixStream) -> Result<u64, Fault> {
    let mut buffer = vec![0; FRAME_BYTES];
    let mut sent = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(sent),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fault::Unreadable(error.to_string())),
        };
        frame(socket, buffer.get(..length).unwrap_or_default())?;
        sent += length as u64;
    }
}

fn end(socket: &mut UnixStream) -> Result<(), Fault> {
    frame(socket, &[])
}

fn frame(socket: &mut UnixStream, bytes: &[u8]) -> Result<(), Fault> {
    let length = u32::try_from(bytes.len()).map_err(|_| Fault::Refused)?;
    let head = socket.write_all(&length.to_be_bytes());
    head.and_then(|()| socket.write_all(bytes)).map_err(|_| Fault::Refused)
}

impl Fault {
    /// The error for it, unless the backup's own says more.
    fn explained(self) -> Option<CliError> {
        let code = self.code()?;
        let (what, fix) = match self {
            Self::Refused => return None,
            Self::Empty => (
                "the standard input was empty, as it is when the command before it failed"
                    .to_owned(),
                "--stdin-command COMMAND takes an empty stream if the command ends well",
            ),
            Self::Unreadable(why) => (format!("the stream cannot be read: {why}"), "repeat it"),
            Self::Command { name, how } => {
                (format!("{name} {how}"), "put the command right, then repeat it")
            }
        };
        let message = format!("{what}; no recovery point was made");
        Some(CliError::Producer { code, message, fix: fix.to_owned() })
    }

    /// The stable code, of those that have one.
    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused => None,
            Self::Empty => Some("StdinEmpty"),
            Self::Unreadable(_) => Some("StdinUnreadable"),
            Self::Command { .. } => Some("StdinCommandFailed"),
        }
    }
}
