//! Keyrings, wrapping and sealing: the formats and the port to a key encryption key.

mod kek;
mod secret;

pub use kek::{KekError, KekFault, KekState, KeyEncryptionKeys, WrapAlgorithm};
pub use secret::SecretBytes;
