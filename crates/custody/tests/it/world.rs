//! Runs of the command in surroundings that a test chooses.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use custody_cli::{
    AskPassphrase, CliError, Installations, LoneRepository, Machine, Place, Surroundings, Terminals,
};
use custody_client::Transport;
use custody_test_world::{FixedClock, SeededEntropy};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::fake_server::FakeServer;

/// A machine to run the command on.
pub(crate) struct World {
    pub(crate) server: Arc<FakeServer>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) answer: &'static str,
    pub(crate) terminals: Terminals,
    pub(crate) interrupts: usize,
    pub(crate) variables: HashMap<&'static str, OsString>,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables = HashMap::from([("HOME", folder.path().join("home").into_os_string())]);
        Self {
            server: Arc::new(FakeServer::new()),
            folder,
            answer: "",
            terminals: Terminals::default(),
            interrupts: 0,
            variables,
        }
    }

    /// The same with somebody at a terminal who answers questions with `answer`.
    pub(crate) fn with_terminal(mut self, answer: &'static str) -> Self {
        self.answer = answer;
        self.terminals = Terminals { stdin: true, stdout: false, stderr: true };
        self
    }

    /// A folder to protect, below the current folder.
    pub(crate) fn make_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    /// Runs `custody LINE`, words parted by blanks.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_words(line.split_whitespace().map(OsString::from).collect())
    }

    pub(crate) fn run_words(&self, words: Vec<OsString>) -> Ran {
        let (stdout, stderr) = (Stream::default(), Stream::default());
        let variables = self.variables.clone();
        let interrupts = self.interrupts;
        let surroundings = Surroundings {
            arguments: std::iter::once(OsString::from("custody")).chain(words).collect(),
            variable: Box::new(move |name| variables.get(name).cloned()),
            current_folder: self.folder.path().canonicalize().unwrap(),
            stdout: RefCell::new(Box::new(stdout.clone())),
            stderr: RefCell::new(Box::new(stderr.clone())),
            stdin: RefCell::new(Box::new(Cursor::new(self.answer))),
            open_stdin: Box::new(|| Ok(Box::new(std::io::empty()))),
            terminals: self.terminals,
            user: "root".to_owned(),
            time_zone: TimeZone::UTC,
            clock: Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z")),
            entropy: Arc::new(SeededEntropy::new(7)),
            interrupts: Box::new(move || interrupts),
            ask_passphrase: Box::new(|_| Ok(Zeroizing::new("typed".to_owned()))),
            installations: Box::new(Fake(Arc::clone(&self.server))),
        };
        let exit = custody_cli::run(&surroundings).number();
        Ran { stdout: stdout.text(), stderr: self.plain(&stderr.text()), exit }
    }

    /// Text without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        text.replace(&folder.display().to_string(), "FOLDER")
    }
}

/// Hands out the fake server for every data folder.
struct Fake(Arc<FakeServer>);

impl Installations for Fake {
    fn open(
        &self,
        place: &Place,
        _machine: &Machine,
        _passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        self.0.note(&format!("OPEN set_up={}", place.set_up));
        Ok(self.0.clone())
    }

    fn open_repository(
        &self,
        repository: &LoneRepository,
        _place: &Place,
        _machine: &Machine,
        _passphrase: AskPassphrase<'_>,
    ) -> Result<Arc<dyn Transport>, CliError> {
        self.0.note(&format!("REPOSITORY fingerprint={:?}", repository.fingerprint));
        Ok(self.0.clone())
    }

    fn restore_kit(
        &self,
        kit: &[u8],
        _place: &Place,
        _machine: &Machine,
        passphrase: AskPassphrase<'_>,
    ) -> Result<Value, CliError> {
        let passphrase = passphrase("the recovery kit")?;
        Ok(json!({ "bytes": kit.len(), "passphrase": passphrase.len() }))
    }
}

/// Compares with a golden file; `CUSTODY_GOLDEN=1` writes it anew.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("CUSTODY_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; CUSTODY_GOLDEN=1 writes it anew");
}

#[derive(Clone, Default)]
struct Stream(Rc<RefCell<Vec<u8>>>);

impl Stream {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
