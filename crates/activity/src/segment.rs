//! Segments: the files that the lines stand in.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::LedgerError;

/// Behind the first sequence number in a segment's name.
const SUFFIX: &str = ".jsonl";

/// A file of lines.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Sequence number of its first line.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    /// The segment whose first line has this number, whether it stands or not.
    pub(crate) fn at(folder: &Path, first: u64) -> Self {
        Self { first, path: folder.join(format!("{first:020}{SUFFIX}")) }
    }

    /// All segments of a ledger, in order.
    pub(crate) fn list(folder: &Path) -> Result<Vec<Self>, LedgerError> {
        let failed = |error| LedgerError::io("list", folder)(error);
        let mut segments = Vec::new();
        for file in fs::read_dir(folder).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(first) = digits.filter(|d| d.len() == 20).and_then(|d| d.parse().ok()) {
                segments.push(Self::at(folder, first));
            }
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }

    /// The file's name.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its bytes, cut into lines.
    pub(crate) fn lines(&self) -> Result<Lines, LedgerError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Lines::cut(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lines::cut(Vec::new())),
            Err(error) => Err(LedgerError::io("read", &self.path)(error)),
        }
    }
}

/// The bytes of a segment, cut into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    whole_bytes: usize,
}

impl Lines {
    fn cut(bytes: Vec<u8>) -> Self {
        let mut ranges = Vec::new();
        let mut start = 0;
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            ranges.push(start..at);
            start = at + 1;
        }
        Self { bytes, ranges, whole_bytes: start }
    }

    /// How many whole lines there are.
    pub(crate) fn count(&self) -> usize {
        self.ranges.len()
    }

    /// The whole line with this index from 0, without its `\n`.
    pub(crate) fn line(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(self.ranges.get(index)?.clone())
    }

    /// All whole lines.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    /// Length of all whole lines with their ends, in bytes.
    pub(crate) fn whole_bytes(&self) -> usize {
        self.whole_bytes
    }

    /// What follows the last whole line.
    pub(crate) fn fragment(&self) -> &[u8] {
        self.bytes.get(self.whole_bytes..).unwrap_or_default()
    }
}
