//! What changes a key.

use serde_json::{Value, json};

use crate::crash::keys::state::State;

/// An act is timed so often before it is shot at; the last time counts.
pub(crate) const ROUNDS_TIMED: usize = 3;

/// A request to a key vault that changes the key `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    NewVersion,
    Rotate,
    Import,
    Update,
    Delete,
    Recover,
    Purge,
}

impl Act {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::NewVersion,
        Self::Rotate,
        Self::Import,
        Self::Update,
        Self::Delete,
        Self::Recover,
        Self::Purge,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::NewVersion => "create (next version)",
            Self::Rotate => "rotate",
            Self::Import => "import",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Recover => "recover",
            Self::Purge => "purge",
        }
    }

    /// Method, path and body. `mark` is what an update writes.
    pub(crate) fn request(self, mark: &str) -> (&'static str, &'static str, Value) {
        match self {
            Self::Create | Self::NewVersion => {
                ("POST", "/keys/k/create", json!({ "kty": "EC", "crv": "P-256" }))
            }
            Self::Rotate => ("POST", "/keys/k/rotate", Value::Null),
            // The example of RFC 7517 A.2.
            Self::Import => (
                "PUT",
                "/keys/k",
                json!({ "key": {
                    "kty": "EC", "crv": "P-256",
                    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
                    "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
                }}),
            ),
            Self::Update => ("PATCH", "/keys/k", json!({ "tags": { "mark": mark } })),
            Self::Delete => ("DELETE", "/keys/k", Value::Null),
            Self::Recover => ("POST", "/deletedkeys/k/recover", Value::Null),
            Self::Purge => ("DELETE", "/deletedkeys/k", Value::Null),
        }
    }

    /// Whether `after` is what this act makes of `before`, and what its answer said.
    pub(crate) fn leads(self, before: &State, after: &State, answer: Option<&Value>) -> bool {
        match (self, before, after) {
            (
                Self::Create | Self::NewVersion | Self::Rotate | Self::Import,
                _,
                State::Live { versions, .. },
            ) => {
                let old: Vec<&String> = before.versions().iter().collect();
                let new: Vec<&String> =
                    versions.iter().filter(|version| !old.contains(version)).collect();
                let said = answer.and_then(|answer| answer.pointer("/key/kid")?.as_str());
                let kept = old.iter().all(|version| versions.contains(version));
                match new.as_slice() {
                    [new] => kept && said.is_none_or(|kid| kid.ends_with(new.as_str())),
                    _ => false,
                }
            }
            (
                Self::Update,
                State::Live { versions: old, mark: was },
                State::Live { versions: new, mark },
            ) => old == new && mark != was && mark.is_some(),
            (Self::Purge, _, State::Absent) => true,
            (Self::Delete, State::Live { versions: old, .. }, State::Deleted { versions: new })
            | (
                Self::Recover,
                State::Deleted { versions: old },
                State::Live { versions: new, .. },
            ) => old == new,
            _ => false,
        }
    }
}
