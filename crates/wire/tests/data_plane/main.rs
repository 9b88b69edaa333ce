//! The data plane of key vaults and managed HSMs, through the server's front door.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bodies;
mod golden;
mod keys;
mod life;
mod races;
mod release;
mod world;
mod wycheproof;
