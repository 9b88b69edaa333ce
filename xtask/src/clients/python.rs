//! Clients in Python: each in an environment of its own.

use std::path::Path;

use super::once;
use crate::failure::Failure;
use crate::packages;
use crate::process::{command, root, run, runs};

/// The environments: a folder below cargo's target folder, and the folder whose
/// `requirements.txt` it is made from.
const ENVIRONMENTS: [(&str, &str); 3] = [
    ("python-az", "crates/custody/tests/clients/az"),
    ("python-sdk", "crates/custody/tests/clients/python"),
    ("python-reader", "tests/reader"),
];

/// Makes sure of the modules that make environments; Debian parts them from Python itself.
pub(super) fn ensure_modules() -> Result<(), Failure> {
    if runs(&mut command("python3", &["-c", "import ensurepip, venv"])) {
        return Ok(());
    }
    packages::install(&["python3-venv"])
}

/// Makes the environments that are missing or were made from other requirements.
pub(super) fn ensure(target: &Path) -> Result<(), Failure> {
    for (name, pinned) in ENVIRONMENTS {
        let requirements = root().join(pinned).join("requirements.txt");
        let folder = target.join(name);
        once(&folder, &requirements, "requirements.txt", || make(&folder, &requirements))?;
    }
    Ok(())
}

fn make(folder: &Path, requirements: &Path) -> Result<(), Failure> {
    run(command("python3", &["-m", "venv", "--clear"]).arg(folder))?;
    let python = folder.join("bin/python").display().to_string();
    let pip = [
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
    ];
    run(command(&python, &pip).arg("--requirement").arg(requirements))
}
