//! The REST surface: ARM and Key Vault requests in, answers out; the only crate that knows HTTP.
//!
//! [`Server::handle`] is the way in from the same process, [`Listener`] the one over the network:
//! it speaks TLS and HTTP and hands whole requests to [`Server::handle_from`]. What is served is
//! in `docs/rest-api.md`.

mod activity;
mod activity_log;
mod address;
mod api_version;
mod arm;
mod arm_keys;
mod audience;
mod authentication;
mod authorization;
mod base;
mod call;
mod certificates;
mod connection;
mod courier;
mod data_plane;
mod diagnostics;
mod exchange;
mod filter;
mod form;
mod graph;
mod guard_requests;
mod health;
mod hsm_authorization;
mod inventory;
mod jobs;
mod json_body;
mod limits;
mod links;
mod listener;
mod managed_identity;
mod management;
mod metadata;
mod metrics;
mod moves;
mod name_checks;
mod operate;
mod own;
mod own_directory;
mod portal;
mod private_file;
mod private_links;
mod protected;
mod providers;
mod reach;
mod recovery_services;
mod reply;
mod server;
mod stamp;
mod tags;
mod tenancy;
mod tokens;
mod undelete;
mod views;

pub use base::{Base, CANONICAL_SUFFIX, HostKind};
pub use certificates::{Authority, CertificateError, Certificates};
pub use custody_directory::Region;
pub use custody_envelope::SecretBytes;
pub use custody_key_vault::{AddressRange, ReleaseAuthority};
pub use custody_worker::rescue::{LoneRepository, restore_kit};
pub use custody_worker::{
    AdministratorApplication, Followed, Housekeeping, KeyVaultLink, PlatformOptions, SealChoice,
    StartError,
};
pub use limits::Limits;
pub use listener::{Listener, Sockets};
pub use reply::Body;
pub use server::{AdjustableClock, Administrator, Network, Peer, Server};
