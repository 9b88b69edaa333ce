//! Who vouches for an entry.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use custody_envelope::{EnvelopeError, MacPurpose, VaultKeys};
use minicbor::{Decode, Encode};

/// Proof of who made an entry (docs/formats/repository-log.md, "Bytes").
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Authenticator {
    /// By a holder of the vault's data key.
    #[n(0)]
    Keyed(#[n(0)] KeyedTag),
    /// By a server that had no key; it counts for little until a key holder confirms it.
    #[n(1)]
    Signed(#[n(0)] ServerSignature),
}

/// An HMAC-SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyedTag {
    /// Generation of the data key.
    #[n(0)]
    pub generation: u32,
    /// The tag.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: [u8; 32],
}

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ServerSignature {
    /// The public key.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// The signature.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// What an authenticator turned out to be worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right, by a key that is trusted.
    Authentic,
    /// This reader cannot tell: it has not the key, or does not know the signer.
    Unchecked,
    /// It is wrong.
    Forged,
}

/// Makes and checks authenticators.
pub trait LogAuthenticator: Send + Sync {
    /// Vouches for `bytes`.
    fn sign(&self, bytes: &[u8]) -> Result<Authenticator, EnvelopeError>;

    /// What `authenticator` says about `bytes`.
    fn verify(&self, bytes: &[u8], authenticator: &Authenticator)
    -> Result<Verdict, EnvelopeError>;
}

/// The public keys of the servers that may make entries without the vault's key.
#[derive(Clone, Debug, Default)]
pub struct TrustedServers(pub Vec<[u8; 32]>);

impl TrustedServers {
    /// Checks a signature over `bytes`.
    pub fn verify(&self, bytes: &[u8], signed: &ServerSignature) -> Verdict {
        let key = UnparsedPublicKey::new(&ED25519, &signed.public_key);
        if key.verify(bytes, &signed.signature).is_err() {
            return Verdict::Forged;
        }
        if self.0.contains(&signed.public_key) { Verdict::Authentic } else { Verdict::Unchecked }
    }
}

/// A server without the vault's key: signs with its own, and cannot check keyed entries.
pub struct ServerAuthenticator {
    pair: Ed25519KeyPair,
    trusted: TrustedServers,
}

impl ServerAuthenticator {
    /// Signs with `pair`, and trusts it and `trusted`.
    pub fn new(pair: Ed25519KeyPair, mut trusted: TrustedServers) -> Self {
        if let Ok(own) = pair.public_key().as_ref().try_into() {
            trusted.0.push(own);
        }
        Self { pair, trusted }
    }
}

impl LogAuthenticator for ServerAuthenticator {
    fn sign(&self, bytes: &[u8]) -> Result<Authenticator, EnvelopeError> {
        let wrong = |_| EnvelopeError::Bug("a server key or signature has another length");
        let public_key = self.pair.public_key().as_ref().try_into().map_err(wrong)?;
        let signature = self.pair.sign(bytes).as_ref().try_into().map_err(wrong)?;
        Ok(Authenticator::Signed(ServerSignature { public_key, signature }))
    }

    fn verify(
        &self,
        bytes: &[u8],
        authenticator: &Authenticator,
    ) -> Result<Verdict, EnvelopeError> {
        Ok(match authenticator {
            Authenticator::Keyed(_) => Verdict::Unchecked,
            Authenticator::Signed(signed) => self.trusted.verify(bytes, signed),
        })
    }
}

/// A reader without any key.
pub(crate) struct Keyless;

impl LogAuthenticator for Keyless {
    fn sign(&self, _bytes: &[u8]) -> Result<Authenticator, EnvelopeError> {
        Err(EnvelopeError::Bug("a reader without keys was to write a log entry"))
    }

    fn verify(
        &self,
        bytes: &[u8],
        authenticator: &Authenticator,
    ) -> Result<Verdict, EnvelopeError> {
        Ok(match authenticator {
            Authenticator::Keyed(_) => Verdict::Unchecked,
            Authenticator::Signed(signed) => TrustedServers::default().verify(bytes, signed),
        })
    }
}

/// A holder of the vault's keys.
pub struct KeyholderAuthenticator {
    keys: VaultKeys,
    trusted: TrustedServers,
}

impl KeyholderAuthenticator {
    /// Vouches with the newest generation of `keys`, and knows the servers of `trusted`.
    pub fn new(keys: VaultKeys, trusted: TrustedServers) -> Self {
        Self { keys, trusted }
    }
}

impl LogAuthenticator for KeyholderAuthenticator {
    fn sign(&self, bytes: &[u8]) -> Result<Authenticator, EnvelopeError> {
        let generation = self.keys.newest_generation();
        let tag = self.keys.mac(MacPurpose::LogEntry, generation, bytes)?;
        Ok(Authenticator::Keyed(KeyedTag { generation, tag }))
    }

    fn verify(
        &self,
        bytes: &[u8],
        authenticator: &Authenticator,
    ) -> Result<Verdict, EnvelopeError> {
        let keyed = match authenticator {
            Authenticator::Keyed(keyed) => keyed,
            Authenticator::Signed(signed) => return Ok(self.trusted.verify(bytes, signed)),
        };
        let purpose = MacPurpose::LogEntry;
        match self.keys.verify_mac(purpose, keyed.generation, bytes, &keyed.tag) {
            Ok(()) => Ok(Verdict::Authentic),
            Err(EnvelopeError::MacMismatch) => Ok(Verdict::Forged),
            // A generation that these keys lack: its ring must be read first. Never taken on trust.
            Err(error) => Err(error),
        }
    }
}
