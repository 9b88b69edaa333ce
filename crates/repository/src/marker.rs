//! The marker: what makes a store a repository, and which (docs/formats/repository.md, "Marker").

use std::fmt;

use custody_ambient::Timestamp;
use custody_blob_store::{BlobStore, Creation};
use custody_names::VaultGuid;

use crate::RepositoryError;

/// The marker's name in the store.
pub(crate) const MARKER: &str = "custody-repository";
/// Said of a marker that does not agree with the log.
pub(crate) const OTHER_TIME: &str = "it names another time than the log's first entry";
/// The format that this build writes, and the newest it reads.
pub const FORMAT: u64 = 1;

/// What the marker says. It is in clear and authenticates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The vault that the repository belongs to.
    pub vault: VaultGuid,
    /// When its log was begun; see [`Marker::agrees_with`].
    pub created: Timestamp,
}

/// How long after its log's first entry a marker may have been written that says when it was, in
/// milliseconds.
const WRITTEN_AFTER_MS_MAX: i64 = 60_000;

impl Marker {
    /// Reads the marker of the repository in `store`, before any key is needed.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::NewerFormat`] and
    /// [`RepositoryError::Damaged`].
    pub fn read(store: &dyn BlobStore) -> Result<Self, RepositoryError> {
        let bytes = store.read(&MARKER.parse()?)?.ok_or(RepositoryError::NotFound)?;
        let damaged = || RepositoryError::damaged(MARKER, "it is no marker");
        let text = str::from_utf8(&bytes).map_err(|_| damaged())?;
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some("custody repository") {
            return Err(damaged());
        }
        let mut field = |name| lines.next()?.strip_prefix(name);
        let found: u64 =
            field("format ").and_then(|number| number.parse().ok()).ok_or_else(damaged)?;
        if found > FORMAT {
            return Err(RepositoryError::NewerFormat { found, known: FORMAT });
        }
        let vault = field("vault ").and_then(|guid| guid.parse().ok()).ok_or_else(damaged)?;
        let created = field("created ").and_then(|time| time.parse().ok()).ok_or_else(damaged)?;
        let marker = Self { vault, created };
        // One spelling only: every flipped byte is noticed.
        if marker.to_string().as_bytes() == bytes { Ok(marker) } else { Err(damaged()) }
    }

    /// Whether the log beside it can have been begun at `begun_ms` (milliseconds since 1970, UTC).
    /// Markers with a finer time were written a little later and say when.
    pub(crate) fn agrees_with(&self, begun_ms: i64) -> bool {
        let after_ms = self.created.as_millisecond().saturating_sub(begun_ms);
        let is_finer = self.created.subsec_nanosecond() % 1_000_000 != 0;
        after_ms == 0 || is_finer && (0..WRITTEN_AFTER_MS_MAX).contains(&after_ms)
    }

    pub(crate) fn write(&self, store: &dyn BlobStore) -> Result<(), RepositoryError> {
        let name = MARKER.parse()?;
        match store.create(&name, self.to_string().as_bytes())? {
            Creation::Created => Ok(()),
            Creation::Exists => Err(RepositoryError::AlreadyExists),
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vault, created } = self;
        write!(f, "custody repository\nformat {FORMAT}\nvault {vault}\ncreated {created}\n")
    }
}
