//! The deduplicating backup engine: chunk, pack, index, recovery point, restore, prune, check.
//!
//! A [`Repository`] keeps points of items in a store, sealed with a vault's keys
//! (docs/formats/repository.md). [`Repository::backup`] reads a source into a point,
//! [`Repository::restore`] gives it back, [`Repository::check`] proves what is there. The
//! [`log`] orders what writers do.

mod backup;
mod check;
mod chunk;
mod compress;
mod content;
mod diff;
mod error;
mod extents;
mod find;
mod index;
mod index_object;
mod indexes;
mod listing;
pub mod log;
mod marker;
#[cfg(feature = "measure")]
pub mod measure;
mod needs;
mod object;
mod pack;
mod packer;
#[cfg(feature = "parsers")]
pub mod parsers;
mod point;
mod progress;
mod prune;
pub mod prune_plan;
mod read;
mod reindex;
mod repair;
mod repository;
mod restore;
pub mod retention;
mod rings;
mod rooms;
mod sealed;
mod select;
mod threads;

pub use backup::{BackupOptions, CommittedPoint};
pub use check::{
    Assurance, CheckLevel, CheckReport, FILES_NAMED_MAX, LostFile, Problem, Sample,
    check_without_keys,
};
pub use compress::CompressionEffort;
pub use diff::{Aspect, Change, DiffTotals, Tally};
pub use error::RepositoryError;
pub use find::{FindTotals, Found, Lead, Search, Span};
pub use index::cache::IndexLimits;
pub use marker::{FORMAT, Marker};
pub use point::{Counts, Point, PointId, PointWarning, WARNINGS_MAX};
pub use progress::{Phase, Precision, Progress, Status, Total, Unwatched};
pub use prune::PruneReport;
pub use repair::RepairReport;
pub use repository::{OpenCache, Repository, RepositoryParts};
pub use restore::RestoreReport;
pub use rings::Rings;
pub use select::{ListedPoint, PointSelector};
