//! The embedded key vault, through its front door.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod bench;
mod firewall;
mod keys;
mod kits;
mod purge;
mod seals;
mod store;
mod vault_resource;
