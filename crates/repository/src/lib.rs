//! The deduplicating backup engine: chunk, pack, index, recovery point, restore, prune, check.

mod backup;
mod chunk;
mod compress;
mod content;
mod error;
mod index;
mod index_object;
mod listing;
mod marker;
mod object;
mod pack;
mod point;
mod progress;
mod read;
mod restore;
mod rings;
mod sealed;

pub use error::RepositoryError;
