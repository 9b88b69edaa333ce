//! Why a plan stops.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Query, Write};

/// A request that is refused: the error to answer and what must be kept of it all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// A stable code, listed in `docs/errors.md`.
    pub code: Cow<'static, str>,
    /// What and why.
    pub message: String,
    /// The command or step that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What the documents recommend under this code, in their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Box<str>>,
    /// Writes that stay although the request is refused (a durable flag, the activity event).
    #[serde(skip)]
    pub writes: Vec<Write>,
}

impl Refusal {
    /// A refusal with nothing to keep.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            fix: None,
            advice: None,
            writes: Vec::new(),
        }
    }

    /// Adds the step that mends it.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Adds what the documents recommend.
    #[must_use]
    pub fn with_advice(mut self, advice: &str) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What to do about it: the command that mends it, then the documents' words.
    pub fn recommended_actions(&self) -> Vec<&str> {
        self.fix.as_deref().into_iter().chain(self.advice.as_deref()).collect()
    }

    /// A body or parameter that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContent", message)
    }

    /// An impossible case: our bug.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(500, "InternalServerError", message)
    }
}

/// Why a plan stops before it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// It needs to see more of the world; load this and ask again.
    Needs(Query),
    /// It is refused.
    Refused(Box<Refusal>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
