//! The deduplicating backup engine: chunk, pack, index, recovery point, restore, prune, check.

pub mod log;
pub mod prune_plan;
pub mod retention;
