//! A fresh installation in a folder of its own, and the command to drive it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Site {
    folder: TempDir,
}

/// What a command printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Site {
    /// An empty folder with a small source in it.
    pub(crate) fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(site.source()).unwrap();
        site
    }

    /// A site whose source holds a few files and has one recovery point as item `docs`.
    pub(crate) fn protected() -> Self {
        let site = Self::new();
        site.write("letter.txt", b"the only copy");
        site.write("sub/notes.txt", &b"some notes\n".repeat(1000));
        site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Where the seal lies.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// Writes a file into the source.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the site")]
    pub(crate) fn text<'p>(&self, path: &'p Path) -> &'p str {
        path.to_str().unwrap()
    }

    /// The command, ready to run with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("CUSTODY_DATA_DIR", self.data())
            .env("XDG_CONFIG_HOME", self.config())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "custody {}\n{}", arguments.join(" "), ran.stderr);
        ran.stdout
    }

    /// Runs a command that must succeed, and reads its stdout as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_slice(&self.ok(&all)).unwrap()
    }

    /// Runs a command that must fail with this exit code and this error code.
    pub(crate) fn fails(&self, arguments: &[&str], exit: i32, code: &str) -> Ran {
        let ran = self.run(arguments);
        let command = format!("custody {}\n{}", arguments.join(" "), ran.stderr);
        assert_eq!(ran.code, exit, "{command}");
        assert!(ran.stderr.contains(code), "{code} expected: {command}");
        ran
    }

    /// The name of the installation's key vault.
    pub(crate) fn key_vault(&self) -> String {
        let list = self.json(&["keyvault", "list"]);
        list[0]["name"].as_str().unwrap().to_owned()
    }

    /// The folder of the one repository in the data folder.
    pub(crate) fn repository(&self) -> PathBuf {
        let vaults = fs::read_dir(self.data().join("vaults")).unwrap();
        vaults.map(|entry| entry.unwrap().path()).next().unwrap()
    }

    /// Restores item `docs` into a new folder and compares it with the source.
    pub(crate) fn assert_restores(&self, name: &str) {
        let target = self.path(name);
        self.ok(&["restore", "docs", "--to", self.text(&target)]);
        crate::tree::assert_equal(&self.source(), &target);
    }

    /// A file with a passphrase.
    pub(crate) fn passphrase(&self, text: &str) -> PathBuf {
        let path = self.path("passphrase");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}
