//! What is read for an item of either kind.

use custody_resources::Refusal;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Most paths in one item.
const PATHS_MAX: usize = 64;
/// Most patterns in one item.
const PATTERNS_MAX: usize = 1_000;

/// Longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// A path on this machine: text where it is UTF-8, else its bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourcePath {
    /// UTF-8.
    Text(String),
    /// Any other bytes.
    Bytes {
        /// Standard base64 with padding.
        base64: String,
    },
}

impl SourcePath {
    /// The path of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64.encode(bytes) },
        }
    }

    /// The bytes of the path.
    pub fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Bytes { base64 } => BASE64
                .decode(base64.as_bytes())
                .map_err(|error| Refusal::bad_request(format!("a path's base64: {error}"))),
        }
    }
}

/// How much time compressing may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Little, for more bytes.
    Fast,
    /// What pays.
    Auto,
    /// Much, for fewer bytes.
    Best,
}

/// What is read for an item, and what is left out. By what key the source itself is encrypted is
/// of no concern to the vault (rule 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FolderSource {
    /// Absolute paths of folders or files.
    pub paths: Vec<SourcePath>,
    /// Patterns (gitignore syntax) of what is taken although excluded.
    pub include: Vec<String>,
    /// Patterns (gitignore syntax) of what is left out.
    pub exclude: Vec<String>,
    /// Whether to stay on the file systems of the paths.
    pub one_file_system: bool,
    /// Whether to leave out folders marked by a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// The name of the one file that the item is, if it is no folder but a stream that each backup
    /// is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// How much time compressing may take; what pays if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

impl FolderSource {
    /// Refuses what no backup could read.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let wrong = |text: String| Refusal::new(400, "InvalidSource", text);
        if let Some(name) = &self.stream {
            let (stream, compression) = (self.stream.clone(), self.compression);
            let alone = Self { stream, compression, ..Self::default() };
            if is_file_name(name) && *self == alone {
                return Ok(());
            }
            return Err(wrong(
                "a stream has the name of a file and no paths, patterns or flags".to_owned(),
            ));
        }
        if self.paths.is_empty() || self.paths.len() > PATHS_MAX {
            return Err(wrong(format!("an item takes 1 to {PATHS_MAX} paths")));
        }
        if self.include.len() + self.exclude.len() > PATTERNS_MAX {
            return Err(wrong(format!("an item takes at most {PATTERNS_MAX} patterns")));
        }
        for path in &self.paths {
            let bytes = path.bytes()?;
            if !bytes.starts_with(b"/") || bytes.contains(&0) {
                return Err(wrong("a path must be absolute and without NUL".to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether a folder can hold a file of this name.
fn is_file_name(name: &str) -> bool {
    let fits = (1..=FILE_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    fits && !name.contains(['/', '\0'])
}
