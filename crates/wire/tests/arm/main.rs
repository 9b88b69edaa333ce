//! The ARM plane over its front door: bodies, codes and headers as unmodified clients need them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod authorization;
mod conventions;
mod tenancy;
mod world;
