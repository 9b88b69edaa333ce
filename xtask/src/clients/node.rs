//! The client in JavaScript, with the Node that it is written for: Debian's is older.

use std::fs;
use std::path::Path;

use super::{TESTS, once};
use crate::failure::{Failure, Trying};
use crate::process::{command, root, run};

/// Makes `node-sdk` below the target folder from `package-lock.json` beside the tests.
pub(super) fn ensure(target: &Path) -> Result<(), Failure> {
    let tests = root().join(TESTS).join("js");
    let folder = target.join("node-sdk");
    let pins = tests.join("package-lock.json");
    once(&folder, &pins, "made-from.json", || {
        fs::create_dir_all(&folder).trying(folder.display())?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(tests.join(name), folder.join(name)).trying(name)?;
        }
        // The machine's Node only runs npm; that it is too old for the packages does not matter.
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        run(command("npm", &arguments).current_dir(&folder))
    })
}
