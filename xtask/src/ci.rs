//! `ci`: what every submission must pass.

use crate::failure::Failure;
use crate::{check, steps, test};

/// Runs all checks, then all tests.
pub(crate) fn run() -> Result<(), Failure> {
    steps::run(&[("check", check::run), ("test", test::run)])
}
