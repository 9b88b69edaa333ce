//! The port to key encryption keys, wherever they live.

use custody_ambient::Timestamp;
use custody_names::{KeyUri, KeyVersionUri};

use crate::SecretBytes;

/// How a data key is wrapped. Vault keys use RSA-OAEP alone; RSA1_5 is never offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum WrapAlgorithm {
    /// RSA-OAEP with SHA-256 and MGF1-SHA-256 (`RSA-OAEP-256`), the default.
    #[n(1)]
    RsaOaep256,
    /// RSA-OAEP with SHA-1 (`RSA-OAEP`), for providers that have nothing better.
    #[n(2)]
    RsaOaep,
}

/// What a key is made of, as far as wrapping data keys goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KekKind {
    /// RSA, in a key vault or an HSM.
    Rsa {
        /// The size of its modulus.
        bits: u32,
    },
    /// Anything else: it wraps no vault's data keys.
    Other,
}

/// What a provider says about a key before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekState {
    /// The version that was asked for, or the newest one.
    pub version: KeyVersionUri,
    /// Kind and size.
    pub kind: KekKind,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// Not to be used before this time.
    pub not_before: Option<Timestamp>,
    /// Not to be used from this time on.
    pub expires: Option<Timestamp>,
}

/// Key encryption keys of one provider, spoken to as one principal. Every call is authorised and
/// recorded by the provider; a call that returns is on the ledger.
pub trait KeyEncryptionKeys: Send + Sync {
    /// Reads a key's attributes; without a version those of the newest version.
    fn describe(&self, key: &KeyUri) -> Result<KekState, KekError>;

    /// Wraps `plain` under exactly this version.
    fn wrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        plain: &SecretBytes,
    ) -> Result<Vec<u8>, KekError>;

    /// Unwraps what was wrapped under exactly this version.
    fn unwrap(
        &self,
        key: &KeyVersionUri,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes, KekError>;
}

/// Why a key cannot be used, told apart by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KekError {
    /// What kind of fault it is; decides whether the job waits or stops.
    pub fault: KekFault,
    /// A stable code: the documents' where they have one (`UserErrorCMK…`), else ours.
    pub code: &'static str,
    /// What happened and why, naming the key.
    pub message: String,
    /// The command that mends it, where there is one.
    pub fix: Option<String>,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KekFault {
    /// A definite no: disabled, expired, deleted, not permitted. The vault stops at once.
    Refused,
    /// No answer: the key vault is down, slow or throttles. Unreachable is not revoked: retry.
    Unreachable,
    /// The bytes are no wrap of this key: damaged or of another vault.
    Mismatch,
}
