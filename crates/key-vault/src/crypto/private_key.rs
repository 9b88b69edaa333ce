//! A private key that is ready for use.

use std::sync::OnceLock;

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, PrivateDecryptingKey};
use custody_envelope::SecretBytes;

use super::damaged;
use crate::error::Result;

/// The bytes of a private or symmetric key, and of RSA what reading them took: reading costs as
/// much as using.
pub(crate) struct PrivateKey {
    bytes: SecretBytes,
    decrypting: OnceLock<PrivateDecryptingKey>,
    signing: OnceLock<RsaKeyPair>,
}

impl PrivateKey {
    /// PKCS#8 DER; of a symmetric key its bytes.
    pub(crate) fn new(bytes: SecretBytes) -> Self {
        Self { bytes, decrypting: OnceLock::new(), signing: OnceLock::new() }
    }

    /// The bytes as they were.
    pub(crate) fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }

    /// As RSA decrypts with it.
    pub(super) fn decrypting(&self) -> Result<&PrivateDecryptingKey> {
        read(&self.decrypting, || PrivateDecryptingKey::from_pkcs8(self.bytes.expose()).ok())
    }

    /// As RSA signs with it.
    pub(super) fn signing(&self) -> Result<&RsaKeyPair> {
        read(&self.signing, || RsaKeyPair::from_pkcs8(self.bytes.expose()).ok())
    }
}

fn read<T>(place: &OnceLock<T>, read: impl FnOnce() -> Option<T>) -> Result<&T> {
    if let Some(known) = place.get() {
        return Ok(known);
    }
    let key = read().ok_or_else(|| damaged("a private key in keys.db"))?;
    Ok(place.get_or_init(|| key))
}
