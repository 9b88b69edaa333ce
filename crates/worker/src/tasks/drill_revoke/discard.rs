//! A target that keeps nothing: what is restored into it was read, opened and checked.

use custody_entries::{Entry, FilePlace, FileWriter, Landing, Target, TargetError, Warning};

/// Takes everything and keeps nothing.
pub(super) struct Discard;

impl Target for Discard {
    fn folder(&mut self, _folder: &Entry) -> Result<Landing, TargetError> {
        Ok(Landing::Made)
    }

    fn leave(&mut self) -> Result<(), TargetError> {
        Ok(())
    }

    fn file(&mut self, _file: &Entry) -> Result<FilePlace, TargetError> {
        Ok(FilePlace::Free(Box::new(Self)))
    }

    fn hard_link(&mut self, _entry: &Entry, _earlier: &[u8]) -> Result<Landing, TargetError> {
        Ok(Landing::Made)
    }

    fn other(&mut self, _entry: &Entry) -> Result<Landing, TargetError> {
        Ok(Landing::Made)
    }

    fn take_warnings(&mut self) -> Vec<Warning> {
        Vec::new()
    }
}

impl FileWriter for Discard {
    fn write_at(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        Ok(Vec::new())
    }
}
