//! What a walk took and what it left out.

/// How many left-out places a summary lists; beyond that they are only counted.
const LISTED_MAX: usize = 1_000;

/// What a walk took and what it left out by choice. What it left out by need was told as warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkSummary {
    /// Regular files taken.
    pub files: u64,
    /// Folders taken, the top not counted.
    pub folders: u64,
    /// Links, pipes, sockets and device nodes taken.
    pub other: u64,
    /// Lengths of the files taken, holes included, in bytes.
    pub bytes: u64,
    /// Entries left out by a pattern; what lies in such a folder is not counted.
    pub excluded_by_pattern: u64,
    /// Places left out for a reason of their own, the first thousand.
    pub left_out: Vec<LeftOut>,
    /// How many places there were in all.
    pub left_out_count: u64,
    /// How often a warning was given.
    pub warnings: u64,
}

/// A place that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path below the top.
    pub path: Vec<u8>,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a place was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOutReason {
    /// It is custody's own: data folder, seal, or a repository.
    Own,
    /// The folder's content is a tagged cache (`--exclude-caches`); folder and tag were taken.
    Cache,
    /// The folder's content lies on another file system (`--one-file-system`); the folder itself
    /// was taken.
    OtherFileSystem,
}

impl WalkSummary {
    pub(crate) fn leave_out(&mut self, path: &[u8], reason: LeftOutReason) {
        self.left_out_count += 1;
        if self.left_out.len() < LISTED_MAX {
            self.left_out.push(LeftOut { path: path.to_vec(), reason });
        }
    }
}
