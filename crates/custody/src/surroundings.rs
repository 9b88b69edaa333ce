//! What a run of the command takes from its process: everything that a test wants to choose.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::in_process::Installations;

/// Reads an environment variable.
pub type ReadVariable = dyn Fn(&str) -> Option<OsString>;
/// Shows a prompt and reads a line without showing it.
pub type AskOnTerminal = dyn Fn(&str) -> std::io::Result<Zeroizing<String>>;

/// Opens a stream of bytes.
pub type OpenStream = dyn Fn() -> std::io::Result<Box<dyn Read + Send>>;

/// The process around a run.
pub struct Surroundings {
    /// The command line, the program's name first.
    pub arguments: Vec<OsString>,
    /// Reads an environment variable.
    pub variable: Box<ReadVariable>,
    /// The folder that relative paths are relative to.
    pub current_folder: PathBuf,
    /// Data goes here.
    pub stdout: RefCell<Box<dyn Write>>,
    /// Everything else goes here.
    pub stderr: RefCell<Box<dyn Write>>,
    /// Answers come from here.
    pub stdin: RefCell<Box<dyn BufRead>>,
    /// Opens the standard input as a stream of bytes for another thread to read.
    pub open_stdin: Box<OpenStream>,
    /// Which of the three are a terminal.
    pub terminals: Terminals,
    /// The operating system's name of whoever runs the command, for the ledger.
    pub user: String,
    /// The time zone that times are shown and read in.
    pub time_zone: TimeZone,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How often Ctrl-C was pressed since the first look; from then on it no longer ends the
    /// process at once.
    pub interrupts: Box<dyn Fn() -> usize>,
    /// Asks for a passphrase on the terminal without showing it.
    pub ask_passphrase: Box<AskOnTerminal>,
    /// Opens data folders and repositories.
    pub installations: Box<dyn Installations>,
}

/// Which streams are a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Whether somebody types.
    pub stdin: bool,
    /// Whether data is shown.
    pub stdout: bool,
    /// Whether messages are shown.
    pub stderr: bool,
}
