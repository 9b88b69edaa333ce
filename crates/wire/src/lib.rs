//! The REST surface: ARM and Key Vault requests in, answers out; the only crate that knows HTTP.
//!
//! [`Server::handle`] is one way in for every transport: the command line calls it in its own
//! process, a socket will call it for others. What is served is in `docs/rest-api.md`.

mod address;
mod api_version;
mod arm;
mod base;
mod data_plane;
mod filter;
mod inventory;
mod jobs;
mod links;
mod metadata;
mod own;
mod providers;
mod reply;
mod server;
mod tenancy;
mod views;

pub use base::Base;
pub use custody_envelope::SecretBytes;
pub use custody_worker::rescue::{LoneRepository, restore_kit};
pub use custody_worker::{PlatformOptions, SealChoice, StartError};
pub use reply::Body;
pub use server::Server;
