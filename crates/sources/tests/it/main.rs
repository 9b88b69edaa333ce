//! Folders through the crate's front door: read, restored, compared, attacked.

mod bridge;
mod deep;
mod hostile_source;
mod hostile_target;
mod options;
mod policies;
mod round_trip;
mod tree;
