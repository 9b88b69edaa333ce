//! Checking without any key.

use custody_blob_store::BlobStore;

use super::{Assurance, CheckReport, Problem};
use crate::RepositoryError;
use crate::marker::Marker;
use crate::object::{self, Family};
use crate::progress::{Phase, Progress, Status};

/// Compares every immutable object in `store` with the SHA-256 in its name, without any key. What
/// is missing altogether only a check with the keys can tell.
pub fn check_without_keys(
    store: &dyn BlobStore,
    progress: &dyn Progress,
) -> Result<CheckReport, RepositoryError> {
    Marker::read(store)?;
    let mut report =
        CheckReport { assurance: Assurance::HashOnly, objects: 0, bytes: 0, problems: Vec::new() };
    for family in [Family::Pack, Family::Index, Family::Point, Family::Bad] {
        let mut names = Vec::new();
        store.list(family.prefix(), &mut |name, _| names.push(name))?;
        for name in names {
            if progress.is_cancelled() {
                return Err(RepositoryError::Cancelled);
            }
            let Some(id) = family.id_in(&name) else { continue };
            match object::get(store, family, id) {
                Ok(bytes) => report.bytes += bytes.len() as u64,
                Err(error) if error.is_local() => report.problems.push(Problem {
                    object: name.to_string(),
                    what: error.to_string(),
                    files: Vec::new(),
                    files_total: 0,
                }),
                Err(error) => return Err(error),
            }
            report.objects += 1;
            let (files, bytes) = (report.objects, report.bytes);
            progress.report(&Status { phase: Phase::Checking, files, bytes, new_bytes: 0 });
        }
    }
    Ok(report)
}
