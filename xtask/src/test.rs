//! `test`: all tests, after making sure of the Debian packages and the clients they need.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::clients;
use crate::failure::{Failure, Trying};
use crate::packages::{self, Package};
use crate::process::{command, line};

/// What tests call: extended attributes and access lists are compared with the system's own tools,
/// clients come through Python's and Node's package managers, and one of them imports a key that
/// openssl made.
const PACKAGES: [Package; 6] = [
    ("getfattr", "attr"),
    ("getfacl", "acl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("python3", "python3"),
];

/// Runs all tests of the workspace and prints how many passed.
pub(crate) fn run() -> Result<(), Failure> {
    packages::ensure(&PACKAGES)?;
    clients::ensure()?;
    let mut cargo = command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]);
    let cargo_line = line(&cargo);
    let mut child = cargo.stdout(Stdio::piped()).spawn().trying(&cargo_line)?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines() {
            let text = text.trying(&cargo_line)?;
            println!("{text}");
            counts.add(&text);
        }
    }
    let status = child.wait().trying(&cargo_line)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{cargo_line}: {status}"))) }
}

/// Tests counted over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds what a closing line of a test binary says; any other line says nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 21 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; finished in 0.13s",
            "test passed ... ok",
        ] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 22, failed: 2 });
    }
}
