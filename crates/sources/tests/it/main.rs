//! Folders through the crate's front door: read, restored, compared, attacked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy.toml excuses only the test functions themselves"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bridge;
mod deep;
mod hostile_source;
mod hostile_target;
mod options;
mod policies;
mod resuming;
mod round_trip;
mod tree;
