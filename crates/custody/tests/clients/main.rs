//! The clients that key officers have, unmodified, against the real binary: Python's SDK and `az`.
//! What they are, and in which versions, is in `requirements-*.txt`; `cargo xtask test` brings them
//! below the target folder.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

#[test]
fn the_python_sdk_does_a_key_officers_work() {
    let served = Served::start();
    served.ok(&["group", "create", "-n", "sdk"]);
    served.run_client("sdk", "python", "keys.py");
}

#[test]
fn az_does_a_key_officers_work() {
    Served::start().run_client("az", "bash", "az.sh");
}

/// A server on a free port and a fresh data folder; it is killed with the test.
struct Served {
    folder: TempDir,
    child: Child,
}

impl Served {
    /// Starts it and waits until it serves.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready.json");
        let mut up = custody(folder.path());
        up.args(["up", "--port", "0", "--ready-file"]).arg(&ready);
        let mut child = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !ready.exists() {
            assert_eq!(child.try_wait().unwrap(), None, "it did not come up");
            std::thread::yield_now();
        }
        Self { folder, child }
    }

    /// Runs a command of custody that must succeed, and returns its stdout.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = custody(self.folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "custody {}\n{said}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a script with a client's environment. Nothing but settings makes the client one of
    /// this server: variables, and the names that `custody trust hosts` writes.
    fn run_client(&self, environment: &str, program: &str, script: &str) {
        let programs = python_environment(environment);
        let folder = self.folder.path();
        let hosts = folder.join("hosts");
        self.ok(&["trust", "hosts", "--yes", "--hosts-file", hosts.to_str().unwrap()]);
        let system = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(programs).chain(std::env::split_paths(&system));
        let path = std::env::join_paths(paths).unwrap();
        let output = custody_environment(Command::new("env"), folder)
            .env("PATH", path)
            .env("PYTHONPATH", format!("{SCRIPTS}/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("REQUESTS_CA_BUNDLE", folder.join("data/ca.pem"))
            .env("CUSTODY_TEST_BINARY", env!("CARGO_BIN_EXE_custody"))
            .env("CUSTODY_TEST_ENV", self.ok(&["env", "--json"]))
            .env("CUSTODY_TEST_HOSTS", &hosts)
            .arg(program)
            .arg(format!("{SCRIPTS}/{script}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {}\n{said}\n{complained}", output.status);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself; the test has failed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command on the data folder of a test.
fn custody(folder: &Path) -> Command {
    custody_environment(Command::new(env!("CARGO_BIN_EXE_custody")), folder)
}

fn custody_environment(mut command: Command, folder: &Path) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", folder)
        .env("CUSTODY_DATA_DIR", folder.join("data"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// The programs of a Python environment that holds the pinned packages.
fn python_environment(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join(format!("python-{name}"));
    let wanted = std::fs::read(format!("{SCRIPTS}/requirements-{name}.txt")).unwrap();
    let present = std::fs::read(folder.join("requirements.txt")).unwrap_or_default();
    assert!(wanted == present, "{} is not up to date: cargo xtask test", folder.display());
    folder.join("bin")
}
