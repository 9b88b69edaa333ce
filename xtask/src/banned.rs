//! `banned`: no banned crate, no second copy of what must be there once, no licence outside the
//! list. All lists stand in `deny.toml`, where cargo-deny reads them too.

use std::fs;

use crate::failure::{Failure, Trying};
use crate::metadata::{Package, whole_graph};
use crate::process::root;

mod license;

/// Where the lists stand.
const FILE: &str = "deny.toml";

/// Checks everything that the workspace pulls in.
pub(crate) fn run() -> Result<(), Failure> {
    let text = fs::read_to_string(root().join(FILE)).trying(FILE)?;
    let lists = Lists::parse(&text)?;
    Failure::unless_empty(lists.problems(&whole_graph()?))
}

/// What `deny.toml` says.
#[derive(Debug, PartialEq, Eq)]
struct Lists {
    /// `[licenses] allow`: SPDX identifiers.
    licenses: Vec<String>,
    /// `[bans] deny`: names of crates.
    banned: Vec<String>,
    /// `[bans] deny-multiple-versions` of single crates: names of crates.
    single: Vec<String>,
}

impl Lists {
    fn parse(text: &str) -> Result<Self, Failure> {
        let file: toml::Table = text.parse().trying(FILE)?;
        let list = |table: &str, name: &str| -> Result<Vec<toml::Value>, Failure> {
            let value = file.get(table).and_then(|table| table.get(name));
            let array = value.and_then(toml::Value::as_array);
            array.cloned().ok_or_else(|| Failure::new(format!("{FILE}: no list {table}.{name}")))
        };
        let mut lists = Self { licenses: Vec::new(), banned: Vec::new(), single: Vec::new() };
        for license in list("licenses", "allow")? {
            lists.licenses.extend(license.as_str().map(str::to_owned));
        }
        for ban in list("bans", "deny")? {
            let name = ban.get("crate").and_then(toml::Value::as_str).unwrap_or_default();
            let once = ban.get("deny-multiple-versions").and_then(toml::Value::as_bool);
            let names = if once == Some(true) { &mut lists.single } else { &mut lists.banned };
            names.push(name.to_owned());
        }
        Ok(lists)
    }

    fn problems(&self, packages: &[Package]) -> Vec<String> {
        let mut problems = Vec::new();
        for Package { name, version, license, .. } in packages {
            if self.banned.contains(name) {
                problems.push(format!("{name} {version} is banned ({FILE} says why)"));
            }
            if !license::allowed(license, &self.licenses) {
                problems.push(format!("{name} {version}: licence {license:?} is not in {FILE}"));
            }
        }
        for name in &self.single {
            let copies = packages.iter().filter(|package| &package.name == name).count();
            if copies > 1 {
                problems.push(format!("{name} is there in {copies} versions"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.to_owned(),
            folder: String::new(),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn packages_are_held_against_the_lists() {
        let lists = Lists::parse(
            "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"ring\" }, \
             { crate = \"aws-lc-sys\", deny-multiple-versions = true }]",
        )
        .unwrap();
        let check = |packages: &[Package], expected: &[&str]| {
            assert_eq!(lists.problems(packages), expected);
        };
        check(&[package("serde", "1.0.0", "MIT"), package("aws-lc-sys", "1.0.0", "MIT")], &[]);
        check(&[package("ring", "0.17.0", "MIT")], &["ring 0.17.0 is banned (deny.toml says why)"]);
        check(
            &[package("x", "1.0.0", "GPL-3.0"), package("y", "1.0.0", "")],
            &[
                "x 1.0.0: licence \"GPL-3.0\" is not in deny.toml",
                "y 1.0.0: licence \"\" is not in deny.toml",
            ],
        );
        check(
            &[package("aws-lc-sys", "1.0.0", "MIT"), package("aws-lc-sys", "2.0.0", "MIT")],
            &["aws-lc-sys is there in 2 versions"],
        );
    }

    #[test]
    fn the_projects_own_list_holds_the_laws() {
        let text = fs::read_to_string(root().join(FILE)).unwrap();
        let lists = Lists::parse(&text).unwrap();
        assert_eq!(lists.banned, ["rsa", "ring", "openssl", "openssl-sys"]);
        assert_eq!(lists.single, ["aws-lc-sys"]);
        assert!(lists.licenses.contains(&"Apache-2.0".to_owned()));
    }
}
