//! A small folder that changes between points.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files in the folder.
const FILES: u64 = 96;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 192 << 10;

/// Of so many files one is left alone by an edit.
const KEPT_IN: u64 = 3;

/// The folder that is protected.
pub(crate) struct Source {
    folder: PathBuf,
    state: u64,
}

impl Source {
    /// Writes the folder; the same seed gives the same files and edits.
    pub(crate) fn create(folder: &Path, seed: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut source = Self { folder: folder.to_owned(), state: seed };
        for number in 0..FILES {
            source.write(number)?;
        }
        Ok(source)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes most files anew.
    pub(crate) fn edit(&mut self) -> io::Result<()> {
        for number in 0..FILES {
            if !self.random().is_multiple_of(KEPT_IN) {
                self.write(number)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, number: u64) -> io::Result<()> {
        let folder = self.folder.join(format!("folder {}", number % 8));
        fs::create_dir_all(&folder)?;
        let length = self.random() % FILE_BYTES_MAX;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&self.random().to_le_bytes());
        }
        fs::write(folder.join(format!("file {number}")), bytes)
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::fingerprint;

    #[test]
    fn edits_change_some_files_and_a_seed_fixes_all() {
        let folder = tempfile::tempdir().unwrap();
        let contents = |top: &Path| -> Vec<u64> {
            fingerprint(top).unwrap().into_values().map(|(_, _, content)| content).collect()
        };
        let mut source = Source::create(&folder.path().join("a"), 1).unwrap();
        let before = contents(source.folder());
        source.edit().unwrap();
        let after = contents(source.folder());
        let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
        assert!((10..60).contains(&same), "{same} files of {} are the same", before.len());

        let twin = Source::create(&folder.path().join("b"), 1).unwrap();
        assert_eq!(contents(twin.folder()), before);
    }
}
