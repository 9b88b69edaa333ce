//! The Python clients that tests run: each in an environment of its own, every version pinned.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Trying};
use crate::process::{command, root, run, runs};
use crate::{metadata, packages};

/// The environments: `NAME` is made in `python-NAME` below cargo's target folder, from
/// `requirements-NAME.txt` beside the tests.
const ENVIRONMENTS: [&str; 2] = ["az", "sdk"];
/// Where the requirements are.
const REQUIREMENTS: &str = "crates/custody/tests/clients";
/// What an environment was made from; it is written last, so that half an environment is none.
const MADE_FROM: &str = "requirements.txt";

/// Makes the environments that are missing or were made from other requirements.
pub(crate) fn ensure() -> Result<(), Failure> {
    let target = metadata::target_folder()?;
    for name in ENVIRONMENTS {
        let requirements = root().join(REQUIREMENTS).join(format!("requirements-{name}.txt"));
        let folder = target.join(format!("python-{name}"));
        let wanted = fs::read(&requirements).trying(requirements.display())?;
        if fs::read(folder.join(MADE_FROM)).is_ok_and(|present| present == wanted) {
            continue;
        }
        println!("== {}", folder.display());
        make(&folder, &requirements).trying("the Python clients that tests need cannot be had")?;
        fs::write(folder.join(MADE_FROM), wanted).trying(folder.display())?;
    }
    Ok(())
}

fn make(folder: &Path, requirements: &Path) -> Result<(), Failure> {
    // Debian parts these modules from Python itself.
    if !runs(&mut command("python3", &["-c", "import ensurepip, venv"])) {
        packages::install(&["python3-venv"])?;
    }
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
