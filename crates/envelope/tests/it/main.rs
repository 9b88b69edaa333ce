//! The envelope through its front door, with key encryption keys in memory.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::similar_names, reason = "a sealer leaves something sealed")]

mod document;
mod failover;
mod leases;
mod rewraps;
mod rings;
mod sealing;
mod setting;
