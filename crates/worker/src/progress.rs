//! A job as the engine's watcher.

use custody_repository::{Phase, Precision, Progress, Status, Total};

use crate::job::Job;

impl Progress for Job<'_> {
    fn report(&self, status: &Status) {
        let phase = word(status.phase);
        Job::report(self, |progress| {
            if progress.phase != phase {
                // What another phase had to do says nothing about this one.
                phase.clone_into(&mut progress.phase);
                (progress.files_total, progress.bytes_total) = (0, 0);
                progress.total_is_estimate = false;
            }
            progress.files_done = status.files;
            progress.bytes_done = status.bytes;
            progress.bytes_new = status.new_bytes;
        });
    }

    fn expect(&self, total: Total) {
        Job::report(self, |progress| {
            progress.files_total = total.files;
            progress.bytes_total = total.bytes;
            progress.total_is_estimate = total.precision == Precision::Estimate;
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
        Phase::Following => "follow",
        Phase::Planning => "plan",
        Phase::Repacking => "repack",
        Phase::Indexing => "index",
        Phase::Deleting => "delete",
        _ => "work",
    }
}
