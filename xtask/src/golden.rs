//! `golden`: writes golden outputs anew. The difference is to be read before it is committed.

use std::fs;

use crate::docs::{CLI_PAGE, command_reference};
use crate::failure::{Failure, Trying};
use crate::process::{command, root, run as run_command};

/// Lets every test write its golden files, and the command its reference.
pub(crate) fn run() -> Result<(), Failure> {
    fs::write(root().join(CLI_PAGE), command_reference()?).trying(CLI_PAGE)?;
    let arguments = ["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"];
    run_command(command("cargo", &arguments).env("CUSTODY_GOLDEN", "1"))
}
