//! The Rust code of the workspace, as text.

use std::fs;
use std::path::PathBuf;

use crate::failure::{Failure, Trying};
use crate::process::root;
use crate::tree;

/// A file of Rust code.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// Below the workspace's folder.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    /// Its text up to its unit tests; nothing if the whole file serves tests.
    pub(crate) fn product_text(&self) -> &str {
        let serves_tests = self.path.components().any(|part| {
            ["tests", "test-world", "fuzz-targets", "benches"]
                .iter()
                .any(|name| part.as_os_str() == *name)
        });
        match self.text.split_once("#[cfg(test)]\nmod ") {
            _ if serves_tests => "",
            Some((product, _)) => product,
            None => &self.text,
        }
    }
}

/// All files of Rust code below `crates`.
pub(crate) fn product() -> Result<Vec<SourceFile>, Failure> {
    let crates = root().join("crates");
    let paths = tree::files(&crates, &["target"]).trying("crates")?;
    let rust = paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = fs::read_to_string(&path).trying(path.display())?;
        let path = path.strip_prefix(root()).unwrap_or(&path).to_owned();
        Ok(SourceFile { path, text })
    })
    .collect()
}
