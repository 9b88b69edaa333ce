//! The clients that key officers have, unmodified, against the real binary: `az` and the SDKs for
//! Python, JavaScript and Rust. Which versions is in `*/requirements.txt`, `js/package-lock.json`
//! and `rust/Cargo.lock`; `cargo xtask test` brings them below the target folder.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

#[test]
fn the_python_sdk_does_a_key_officers_work() {
    run_python("python/keys.py");
}

#[test]
fn the_python_sdk_does_a_managed_hsms_work() {
    run_python("python/hsm.py");
}

#[test]
fn the_python_sdk_follows_the_document_on_backup_vaults() {
    run_python("python/vaults.py");
}

#[test]
fn the_javascript_sdk_does_a_key_officers_work() {
    let served = Served::start();
    let programs = node_programs();
    let modules = programs.parent().unwrap().to_owned();
    let settings = [
        served.key_vault("js-keys"),
        ("NODE_PATH", modules.display().to_string()),
        ("NODE_OPTIONS", format!("--require={}", script("js/hosts.cjs"))),
    ];
    served.run_client(&programs, &["node", &script("js/keys.cjs")], &settings);
}

#[test]
fn the_rust_sdk_does_a_key_officers_work() {
    let served = Served::start();
    let programs = target().join("debug");
    let program = "custody-rust-client";
    assert!(programs.join(program).exists(), "it is not built: cargo xtask test");
    served.run_client(&programs, &[program], &[served.key_vault("rust-keys")]);
}

#[test]
fn az_does_a_key_officers_work() {
    run_az("az/keys.sh");
}

#[test]
fn az_does_a_managed_hsms_work() {
    run_az("az/hsm.sh");
}

#[test]
fn az_does_the_work_of_a_platforms_administrator() {
    run_az("az/platform.sh");
}

#[test]
fn az_sets_a_customers_key_on_a_recovery_services_vault() {
    run_az("az/recovery.sh");
}

#[test]
fn az_protects_a_folder_in_a_recovery_services_vault() {
    run_az("az/protect.sh");
}

fn run_python(name: &str) {
    let served = Served::start();
    served.ok(&["group", "create", "-n", "sdk"]);
    let programs = python_programs("python-sdk", "python");
    served.run_client(&programs, &["python", &script(name)], &[]);
}

fn run_az(name: &str) {
    Served::start().run_client(&python_programs("python-az", "az"), &["bash", &script(name)], &[]);
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
        up.args(["up", "--port", "0", "--managed-identity", "0", "--ready-file"]).arg(&ready);
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

    /// Makes a key vault whose keys the administrator's application may use, and says its name.
    fn key_vault(&self, name: &str) -> (&'static str, String) {
        self.ok(&["keyvault", "create", "-n", name, "--retention-days", "7"]);
        let officer = self.fact("/administrator/objectId");
        let role = "Key Vault Crypto Officer";
        self.ok(&[
            "role",
            "assignment",
            "create",
            "--assignee",
            &officer,
            "--role",
            role,
            "-g",
            "custody",
        ]);
        ("CUSTODY_TEST_KEY_VAULT", name.to_owned())
    }

    /// Makes an identity that may read keys, as a workload of this host gets it.
    fn identity(&self) -> [(&'static str, String); 2] {
        let identity = self.ok(&["identity", "create", "-n", "app", "-o", "json"]);
        let identity: Value = serde_json::from_str(&identity).unwrap();
        let role = "Key Vault Crypto User";
        self.ok(&[
            "role",
            "assignment",
            "create",
            "--assignee",
            "app",
            "--role",
            role,
            "-g",
            "custody",
        ]);
        let attached = self.post(
            "/custody/host/identities",
            &json!({ "identityId": identity["id"], "workload": "test" }),
        );
        let header = attached["identityHeader"].as_str().unwrap().to_owned();
        let endpoint = self.fact("/managedIdentityEndpoint");
        [("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", header)]
    }

    /// Posts a body as this machine's user, for whom the server listens in the data folder.
    fn post(&self, path: &str, body: &Value) -> Value {
        let mut stream = UnixStream::connect(self.folder.path().join("data/server.sock")).unwrap();
        let body = body.to_string();
        let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// One of the facts that `custody env --json` prints.
    fn fact(&self, path: &str) -> String {
        let facts: Value = serde_json::from_str(&self.ok(&["env", "--json"])).unwrap();
        facts.pointer(path).unwrap().as_str().unwrap().to_owned()
    }

    /// Runs a client whose programs are in a folder. Nothing but settings makes it one of this
    /// server: variables, and the names that `custody trust hosts` writes.
    fn run_client(&self, programs: &Path, line: &[&str], settings: &[(&str, String)]) {
        let folder = self.folder.path();
        let hosts = folder.join("hosts");
        let identity = self.identity();
        self.ok(&["trust", "hosts", "--yes", "--hosts-file", hosts.to_str().unwrap()]);
        let system = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&system));
        let path = std::env::join_paths(paths).unwrap();
        let authority = folder.join("data/ca.pem");
        let output = custody_environment(Command::new("env"), folder)
            .env("PATH", path)
            .env("PYTHONPATH", script("python/hosts"))
            .env("PYTHONPYCACHEPREFIX", target().join("python-cache"))
            .env("REQUESTS_CA_BUNDLE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority)
            .env("SSL_CERT_FILE", &authority)
            .env("AZURE_AUTHORITY_HOST", self.fact("/authority"))
            .env("CUSTODY_TEST_BINARY", env!("CARGO_BIN_EXE_custody"))
            .env("CUSTODY_TEST_ENV", self.ok(&["env", "--json"]))
            .env("CUSTODY_TEST_HOSTS", &hosts)
            .envs(identity)
            .envs(settings.iter().cloned())
            .args(line)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        assert!(status.success(), "{}: {status}\n{said}\n{complained}", line.join(" "));
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

/// A file beside this one.
fn script(name: &str) -> String {
    format!("{SCRIPTS}/{name}")
}

/// Where `cargo xtask test` makes the clients.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// The programs of a Python environment that holds the packages pinned in a folder.
fn python_programs(name: &str, pinned: &str) -> PathBuf {
    let folder = target().join(name);
    made_from(&folder.join("requirements.txt"), &format!("{pinned}/requirements.txt"));
    folder.join("bin")
}

/// The programs of the pinned npm packages, Node among them.
fn node_programs() -> PathBuf {
    let folder = target().join("node-sdk");
    made_from(&folder.join("made-from.json"), "js/package-lock.json");
    folder.join("node_modules/.bin")
}

/// Checks that a client was made from the pins that are beside this file now.
fn made_from(stamp: &Path, pins: &str) {
    let wanted = std::fs::read(script(pins)).unwrap();
    let present = std::fs::read(stamp).unwrap_or_default();
    assert!(wanted == present, "{} is not up to date: cargo xtask test", stamp.display());
}
