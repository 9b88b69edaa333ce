//! A job as the engine's watcher.

use custody_repository::{Phase, Progress, Status};

use crate::job::Job;

impl Progress for Job<'_> {
    fn report(&self, status: &Status) {
        let phase = word(status.phase);
        Job::report(self, |progress| {
            phase.clone_into(&mut progress.phase);
            progress.files_done = status.files;
            progress.bytes_done = status.bytes;
            progress.bytes_new = status.new_bytes;
        });
    }

    fn expect(&self, files: u64, bytes: u64) {
        Job::report(self, |progress| {
            progress.files_total = files;
            progress.bytes_total = bytes;
        });
    }

    fn is_cancelled(&self) -> bool {
        self.is_stopped()
    }
}

/// The phase as progress lines name it.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Reading => "read",
        Phase::Committing => "commit",
        Phase::Restoring => "restore",
        Phase::Checking => "check",
        Phase::Planning => "plan",
        Phase::Repacking => "repack",
        Phase::Deleting => "delete",
        _ => "work",
    }
}
