//! The embedded key vault, through its front door.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod bench;
mod firewall;
mod formats;
mod keys;
mod kits;
mod purge;
mod release;
mod rotation;
mod seals;
mod store;
mod vault_resource;
