//! The data that is backed up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Trying};
use crate::process::{command, run};
use crate::tree;

/// Sizes for a quick run: enough to see that everything works, too small to judge by.
const SMALL: [&str; 6] = ["--tree-mb", "24", "--vm-mb", "48", "--dump-mb", "16"];

/// Data made by `bench/make-data.py`, in its first or second generation.
pub(crate) struct Data {
    folder: PathBuf,
    seed: u64,
    small: bool,
}

impl Data {
    /// Makes the data, or takes what an earlier run made with the same seed and sizes.
    pub(crate) fn generate(folder: &Path, seed: u64, small: bool) -> Result<Self, Failure> {
        let data = Self { folder: folder.to_owned(), seed, small };
        let mark = folder.join(".bench/complete");
        let wanted = format!("seed {seed} small {small}");
        if fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
            data.revert()?;
        } else {
            eprintln!("making data (seed {seed})");
            let seed = seed.to_string();
            let mut options = vec!["--seed", &seed];
            options.extend(if small { SMALL.as_slice() } else { &[] });
            data.make("gen", &options)?;
            fs::write(&mark, wanted).trying(mark.display())?;
        }
        Ok(data)
    }

    /// Where the data sets `tree` and `large` stand.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the second generation out of the first.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        self.make("apply", &[])
    }

    /// Goes back to the first generation.
    pub(crate) fn revert(&self) -> Result<(), Failure> {
        if self.folder.join(".bench/undo").exists() { self.make("revert", &[]) } else { Ok(()) }
    }

    /// Reads everything once, so that no engine pays for a cold page cache.
    pub(crate) fn warm(&self, set: &str) -> Result<(), Failure> {
        let read = |path: PathBuf| io::copy(&mut fs::File::open(path)?, &mut io::sink());
        let files = tree::files(&self.folder.join(set), &[]).trying(set)?;
        files.into_iter().try_for_each(|path| read(path).map(drop)).trying(set)
    }

    /// How the data was made, in words.
    pub(crate) fn description(&self) -> String {
        let size = if self.small { ", small" } else { "" };
        format!("bench/make-data.py, seed {}{size}", self.seed)
    }

    fn make(&self, what: &str, options: &[&str]) -> Result<(), Failure> {
        run(command("python3", &["bench/make-data.py", what]).arg(&self.folder).args(options))
    }
}
