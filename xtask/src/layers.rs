//! `layers`: dependencies go strictly down the floors of ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::fs;

use crate::failure::{Failure, Trying};
use crate::markdown::table;
use crate::metadata::{Package, workspace};
use crate::process::root;

/// Where the floors stand.
const PAGE: &str = "ARCHITECTURE.md";

/// Where a crate stands in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floor {
    /// May use crates of lower floors.
    Number(i32),
    /// Serves tests or the project itself: may use anything, is used by `[dev-dependencies]` alone.
    Dev,
}

impl Floor {
    fn parse(text: &str) -> Option<Self> {
        let number = || text.replace('−', "-").parse().ok().map(Self::Number);
        if text == "dev" { Some(Self::Dev) } else { number() }
    }
}

/// Compares the workspace with the table.
pub(crate) fn run() -> Result<(), Failure> {
    let page = fs::read_to_string(root().join(PAGE)).trying(PAGE)?;
    Failure::unless_empty(problems(&page, &workspace()?))
}

fn problems(page: &str, packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut floors = BTreeMap::new();
    for row in table(page, &["floor", "crate"]) {
        let [floor, folder, ..] = row.as_slice() else { continue };
        let folder = folder.trim_matches('`').to_owned();
        let Some(floor) = Floor::parse(floor) else {
            problems.push(format!("{PAGE}: {folder} has no floor but {floor:?}"));
            continue;
        };
        if !packages.iter().any(|package| package.folder == folder) {
            problems.push(format!("{PAGE}: there is no crate {folder}"));
        }
        if floors.insert(folder.clone(), floor).is_some() {
            problems.push(format!("{PAGE}: {folder} stands there twice"));
        }
    }
    for package in packages {
        match floors.get(&package.folder) {
            Some(floor) => problems.extend(edges(package, *floor, packages, &floors)),
            None => problems.push(format!("{PAGE}: the crate {} is missing", package.folder)),
        }
    }
    problems
}

/// What is wrong with the dependencies of one crate.
fn edges(
    package: &Package,
    floor: Floor,
    packages: &[Package],
    floors: &BTreeMap<String, Floor>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for dependency in &package.dependencies {
        let Some(target) = packages.iter().find(|other| other.name == dependency.name) else {
            continue;
        };
        let (from, to) = (&package.folder, &target.folder);
        match (floor, floors.get(to)) {
            (_, None) | (Floor::Dev, _) => {}
            (_, Some(Floor::Dev)) if dependency.dev => {}
            (_, Some(Floor::Dev)) => {
                problems.push(format!("{from} uses {to} outside [dev-dependencies]"));
            }
            (Floor::Number(above), Some(Floor::Number(below))) if below < &above => {}
            (Floor::Number(above), Some(Floor::Number(below))) => {
                problems.push(format!("{from} (floor {above}) may not use {to} (floor {below})"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    const PAGE_TEXT: &str = "| floor | crate | line |\n|---|---|---|\n| −1 | `ambient` | |\n\
                             | 0 | `names` | |\n| 1 | `access` | |\n| dev | `test-world` | |\n";

    /// `a > b` is a dependency of a on b, `a >> b` one under `[dev-dependencies]`.
    fn packages(edges: &[&str]) -> Vec<Package> {
        let package = |folder: &str| Package {
            name: format!("custody-{folder}"),
            version: "0.1.0".to_owned(),
            license: String::new(),
            folder: folder.to_owned(),
            dependencies: edges
                .iter()
                .filter_map(|edge| edge.split_once(" >"))
                .filter(|(from, _)| *from == folder)
                .map(|(_, to)| Dependency {
                    name: format!("custody-{}", to.trim_start_matches('>').trim()),
                    dev: to.starts_with('>'),
                })
                .collect(),
        };
        ["ambient", "names", "access", "test-world"].map(package).to_vec()
    }

    #[test]
    fn edges_go_down() {
        let check = |edges: &[&str], expected: &[&str]| {
            assert_eq!(problems(PAGE_TEXT, &packages(edges)), expected, "{edges:?}");
        };
        check(&["names > ambient", "access > names", "access > ambient", "access > serde"], &[]);
        check(&["names > access"], &["names (floor 0) may not use access (floor 1)"]);
        check(&["names >> access"], &["names (floor 0) may not use access (floor 1)"]);
        check(&["access > access"], &["access (floor 1) may not use access (floor 1)"]);
        check(&["access >> test-world", "test-world > names"], &[]);
        check(&["access > test-world"], &["access uses test-world outside [dev-dependencies]"]);
    }

    #[test]
    fn the_table_names_every_crate_once() {
        let check = |page: &str, expected: &[&str]| {
            assert_eq!(problems(page, &packages(&[])), expected, "{page}");
        };
        check(
            &PAGE_TEXT.replace("`access`", "`axes`"),
            &[
                "ARCHITECTURE.md: there is no crate axes",
                "ARCHITECTURE.md: the crate access is missing",
            ],
        );
        check(
            &format!("{PAGE_TEXT}| 2 | `names` | |\n"),
            &["ARCHITECTURE.md: names stands there twice"],
        );
        check(
            &PAGE_TEXT.replace("| 1 |", "| first |"),
            &[
                "ARCHITECTURE.md: access has no floor but \"first\"",
                "ARCHITECTURE.md: the crate access is missing",
            ],
        );
    }
}
