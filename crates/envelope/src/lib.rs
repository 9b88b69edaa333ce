//! Keyrings, wrapping and sealing: the formats and the port to a key encryption key.
//!
//! A [`Ring`] holds a vault's data keys, each wrapped by keys that the customer controls through
//! the port [`KeyEncryptionKeys`]. [`unlock`] turns a ring into [`VaultKeys`], which seal and open
//! objects as long as their [`Lease`] lasts. The bytes are in `docs/formats/keyring.md`; the
//! reasons in DESIGN §5.

mod cbor;
mod chain;
mod create;
mod derivation;
mod error;
mod kek;
mod key_set;
mod lease;
mod locked;
mod object_keys;
mod probe;
mod rewrap;
mod ring;
mod seal;
mod secret;
mod unwrap;
mod vault_keys;

pub use chain::{Fingerprint, KnownRing, Trust, follows};
pub use create::{KeyTarget, WrapKey, create};
pub use error::EnvelopeError;
pub use kek::{KekError, KekFault, KekKind, KekState, KeyEncryptionKeys, WrapAlgorithm};
pub use lease::{LEASE_DEFAULT, Lease, LeaseEnd, Renewal};
pub use probe::{Probed, probe};
pub use rewrap::{
    Proven, RewrapStep, begin_rewrap, finish_key_change, finish_rewrap, prove_wraps, rewrap_step,
};
pub use ring::{
    Failover, GENERATIONS_MAX, RING_BYTES_MAX, RING_FORMAT, Ring, WRAP_BYTES_MAX, WRAPS_MAX, Wrap,
    WrappedKey,
};
pub use seal::{HEADER_BYTES, ObjectType, Opener, SEAL_FORMAT, Sealer, TAG_BYTES};
pub use secret::SecretBytes;
pub use unwrap::{KeyAccess, Unwrapped, unlock, unwrap};
pub use vault_keys::{IdPurpose, MacPurpose, VaultKeys};
