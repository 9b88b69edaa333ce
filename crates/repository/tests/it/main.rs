//! The repository through its front door.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bad_sectors;
mod changed_blocks;
mod check;
mod check_levels;
mod crash;
mod damage;
mod diff;
mod every_byte;
mod failing_calls;
mod find;
mod index_cache;
mod log;
mod many_extents;
mod object_store;
mod packing;
mod pauses;
mod progress;
mod prune;
mod prune_plan;
mod repair;
mod restless;
mod resume;
mod retention;
mod round_trip;
mod tree;
mod world;
