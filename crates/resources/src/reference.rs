//! What a record names: the edges of the reference index (DESIGN §4).

use custody_names::{KeyUri, ResourceId};
use serde::{Deserialize, Serialize};

/// What is named. It may be foreign, unknown or soft-deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An ARM resource, by its canonical (lower-case) identifier.
    Resource(String),
    /// A key, by its versionless canonical URI.
    Key(String),
    /// One version of a key, by its canonical URI.
    KeyVersion(String),
}

impl Target {
    /// A resource.
    pub fn resource(id: &ResourceId) -> Self {
        Self::Resource(id.canonical())
    }

    /// A key, whatever version is named.
    pub fn key(uri: &KeyUri) -> Self {
        Self::Key(uri.versionless().to_string())
    }

    /// The target as the index keeps it: its sort and its text.
    pub fn index_key(&self) -> (&'static str, &str) {
        match self {
            Self::Resource(id) => ("resource", id),
            Self::Key(uri) => ("key", uri),
            Self::KeyVersion(uri) => ("key-version", uri),
        }
    }
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// What the edge means, for example `encryptedBy` or `usesIdentity`.
    pub relation: String,
    /// Where it leads.
    pub to: Target,
}

impl Reference {
    /// An edge.
    pub fn new(relation: &str, to: Target) -> Self {
        Self { relation: relation.to_owned(), to }
    }
}
