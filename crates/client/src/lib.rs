//! Typed client for custody's own surfaces.
//!
//! A [`Client`] speaks ARM, the key vaults' data plane and custody's few own paths through a
//! [`Transport`]: a server in the same process today, one behind TLS later. It knows addresses,
//! api-versions, paging, waiting for operations and the shape of errors; what the answers mean is
//! the caller's business, so resources stay JSON in the key order of the server.

mod address;
mod client;
mod error;
mod installation;
mod job;
mod key_vault;
mod local;
mod path;
mod transport;
mod waiting;

pub use address::{Addresses, kinds};
pub use client::{Accepted, Client, encode};
pub use error::ClientError;
pub use installation::{Administrator, Defaults, Installation, Seal};
pub use job::{Job, JobError, JobWarning, Progress, Waiting};
pub use key_vault::KeyVault;
pub use local::LocalTransport;
pub use path::SourcePath;
pub use transport::{Transport, TransportError};
pub use waiting::{OPERATION_POLLS_MAX, WAIT_SECONDS, Wish};
