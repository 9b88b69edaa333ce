//! The client in Rust: a package of its own with its own lock file.

use std::path::Path;

use crate::failure::Failure;
use crate::process::{command, run};

/// Its manifest, which the workspace does not know.
pub(crate) const MANIFEST: &str = "crates/custody/tests/clients/rust/Cargo.toml";

/// Builds it among the workspace's own programs; cargo knows what is to be done.
pub(super) fn ensure(target: &Path) -> Result<(), Failure> {
    let arguments = ["build", "--quiet", "--locked", "--manifest-path", MANIFEST, "--target-dir"];
    run(command("cargo", &arguments).arg(target))
}
