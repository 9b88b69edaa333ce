//! Names of objects.

use std::fmt;
use std::str::FromStr;

/// The name of an object: segments of `[a-z0-9._-]`, none beginning with a dot, joined by `/`;
/// at most 200 bytes. Safe as a relative path and as an object key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobName {
    type Err = InvalidBlobName;

    fn from_str(text: &str) -> Result<Self, InvalidBlobName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let fits =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
        if text.len() <= 200 && text.split('/').all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBlobName(text.chars().take(200).collect()))
        }
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name an object")]
pub struct InvalidBlobName(pub String);
