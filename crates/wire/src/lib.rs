//! The REST surface: ARM and Key Vault requests in, answers out; the only crate that knows HTTP.
//!
//! [`Server::handle`] is one way in for every transport: the command line calls it in its own
//! process, a socket will call it for others. What is served is in `docs/rest-api.md`.

mod address;
mod arm;
mod audience;
mod authentication;
mod base;
mod data_plane;
mod form;
mod graph;
mod managed_identity;
mod own;
mod own_directory;
mod reply;
mod server;
mod tokens;

pub use base::{Base, CANONICAL_SUFFIX, HostKind};
pub use custody_envelope::SecretBytes;
pub use custody_worker::rescue::{LoneRepository, restore_kit};
pub use custody_worker::{AdministratorApplication, PlatformOptions, SealChoice, StartError};
pub use reply::Body;
pub use server::Server;
