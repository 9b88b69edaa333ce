//! Why a command did not pass.

use std::fmt;

/// One sentence a problem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(Vec<String>);

impl Failure {
    /// A single problem.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }

    /// Passes if there are no problems.
    pub(crate) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Says what was tried when an error came.
pub(crate) trait Trying<T> {
    /// Turns the error into a [`Failure`] that begins with `what`.
    fn trying(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Trying<T> for Result<T, E> {
    fn trying(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
