//! Paths of sources as JSON carries them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::{Map, Value};

/// A path or name that need not be UTF-8: a JSON string if it is, else `{"base64": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePath(Vec<u8>);

impl SourcePath {
    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the operating system takes it.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.0.clone()))
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Value::from(text),
            Err(_) => {
                Value::Object(Map::from_iter([("base64".into(), BASE64.encode(&self.0).into())]))
            }
        }
    }

    /// Reads the JSON form; none if it is neither.
    pub fn from_json(value: &Value) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Some(Self(text.as_bytes().to_vec()));
        }
        let encoded = value.get("base64")?.as_str()?;
        BASE64.decode(encoded.as_bytes()).ok().map(Self)
    }
}

impl From<&Path> for SourcePath {
    fn from(path: &Path) -> Self {
        Self::from(path.as_os_str())
    }
}

impl From<&OsStr> for SourcePath {
    fn from(path: &OsStr) -> Self {
        Self(path.as_bytes().to_vec())
    }
}
