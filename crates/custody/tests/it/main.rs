//! The command through its front door: a command line in, output and exit code out, against a
//! server that a test scripts.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod commands;
mod confirmation;
mod deleted_vaults;
mod documents;
mod failures;
mod fake_server;
mod jobs;
mod maintenance;
mod protect;
mod world;
