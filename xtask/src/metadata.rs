//! What `cargo metadata` says about the workspace.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::failure::{Failure, Trying};
use crate::process::{command, output};

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression, empty if the package names none.
    pub(crate) license: String,
    /// Its folder's name, `names` for `crates/names`.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One entry of a package's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Under `[dev-dependencies]`.
    pub(crate) dev: bool,
}

/// The packages of the workspace alone.
pub(crate) fn workspace() -> Result<Vec<Package>, Failure> {
    packages(&["--no-deps"])
}

/// The packages of the workspace and all that they pull in, on every platform.
pub(crate) fn whole_graph() -> Result<Vec<Package>, Failure> {
    // The lock file also names packages that only a feature nobody enables would pull in
    // (`ring?/…`); the tree is what is built.
    let tree = ["tree", "--workspace", "--all-features", "--locked", "--target", "all"];
    let mut cargo = command("cargo", &tree);
    let built = output(cargo.args(["--prefix", "none", "--format", "{p}"]))?;
    let built: BTreeSet<&str> =
        built.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut found = packages(&["--all-features"])?;
    found.retain(|package| built.contains(package.name.as_str()));
    Ok(found)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf, Failure> {
    Ok(text(&metadata(&["--no-deps"])?, "target_directory").into())
}

fn packages(arguments: &[&str]) -> Result<Vec<Package>, Failure> {
    Ok(array(&metadata(arguments)?, "packages").iter().map(package).collect())
}

fn metadata(arguments: &[&str]) -> Result<Value, Failure> {
    let mut cargo = command("cargo", &["metadata", "--format-version", "1", "--locked"]);
    let text = output(cargo.args(arguments))?;
    serde_json::from_str(&text).trying("cargo metadata")
}

fn package(package: &Value) -> Package {
    let manifest = text(package, "manifest_path");
    Package {
        name: text(package, "name"),
        version: text(package, "version"),
        license: text(package, "license"),
        folder: manifest.rsplit('/').nth(1).unwrap_or_default().to_owned(),
        dependencies: array(package, "dependencies")
            .iter()
            .map(|dependency| Dependency {
                name: text(dependency, "name"),
                dev: text(dependency, "kind") == "dev",
            })
            .collect(),
    }
}

fn array<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}
