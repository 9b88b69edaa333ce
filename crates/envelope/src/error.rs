//! Why keys and sealed objects cannot be used.

use custody_ambient::EntropyUnavailable;
use custody_names::{KeyVersionUri, VaultGuid};

use crate::{KekError, KekFault, LeaseEnd};

/// What goes wrong with keyrings, leases and sealed objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    // The key's owner acts.
    /// A key vault's own answer: refused, unreachable or mismatched.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The lease on the keys is over; nothing can be sealed or opened with them.
    #[error("the keys of the vault are locked: {}", reason.message)]
    LeaseEnded {
        /// Why it ended.
        reason: LeaseEnd,
    },
    /// No wrap in the ring is under a key that the caller allows.
    #[error(
        "none of the keys that may be used opens the keyring; it is wrapped by {}",
        listed(wrapped_by)
    )]
    NoAllowedKey {
        /// What the ring says it is wrapped by: hints, not to be called unasked.
        wrapped_by: Vec<KeyVersionUri>,
    },
    /// A wrap opened to something else than the key that went in.
    #[error("{key} does not give back the data key that it wrapped")]
    WrapUnproven {
        /// The key version that cannot be relied on.
        key: KeyVersionUri,
    },

    // The operator acts.
    /// Written by a newer version of custody.
    #[error("the {what} has format {found}; this version of custody knows formats up to {known}")]
    NewerFormat {
        /// What was read: `keyring` or `sealed object`.
        what: &'static str,
        /// Its format.
        found: u64,
        /// The newest format this version knows.
        known: u64,
    },
    /// The ring's bytes are not what custody wrote.
    #[error("the keyring is damaged or forged: {why}")]
    RingDamaged {
        /// What does not fit.
        why: String,
    },
    /// The ring is of another vault than the record says.
    #[error("the keyring belongs to the vault {found}, not to {expected}")]
    RingForeignVault {
        /// The vault it names.
        found: VaultGuid,
        /// The vault that was to be opened.
        expected: VaultGuid,
    },
    /// An older ring, or another one under a known number, stands where a newer was seen.
    #[error(
        "the keyring is number {found}, but number {known} was seen before and is not behind \
        it: an older copy was put in its place"
    )]
    RingRolledBack {
        /// The newest ring number that is on record.
        known: u64,
        /// The number that was found.
        found: u64,
    },
    /// The ring does not go back to what is known of the vault.
    #[error("the keyring cannot be trusted: {why}")]
    RingUntrusted {
        /// What does not fit.
        why: &'static str,
    },
    /// A key is not the one that was committed to.
    #[error("the key of generation {generation} is not the one that was committed to")]
    CommitmentMismatch {
        /// The generation of the key.
        generation: u32,
    },
    /// A sealed object names a key generation that the ring does not have.
    #[error("the keyring has no generation {generation}")]
    UnknownGeneration {
        /// What was asked for.
        generation: u32,
    },
    /// A sealed object is of another vault.
    #[error("the object belongs to the vault {found}, not to {expected}")]
    SealForeignVault {
        /// The vault its header names.
        found: VaultGuid,
        /// The vault whose keys are in use.
        expected: VaultGuid,
    },
    /// A sealed object is of another type than expected.
    #[error("the object is of another type than expected")]
    SealWrongType,
    /// A sealed object, or a part of it, is not what was sealed here.
    #[error("the object is damaged: {why}")]
    SealDamaged {
        /// What does not fit.
        why: &'static str,
    },
    /// A MAC does not fit its data.
    #[error("the signature does not fit the data")]
    MacMismatch,
    /// The operating system gave no random bytes; nothing was sealed.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),

    // The caller acts.
    /// The keys a ring is to be wrapped by cannot be taken so.
    #[error("the keyring cannot be wrapped like that: {why}")]
    TargetInvalid {
        /// What does not fit.
        why: &'static str,
    },
    /// An object has no room for another position.
    #[error("the object is complete or full; nothing can be sealed into it")]
    SealFinished,

    // We act.
    /// Something that cannot happen did.
    #[error("a fault in custody itself: {0}")]
    Bug(&'static str),
}

impl EnvelopeError {
    /// The stable code; for a key vault's answer that answer's own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kek(error) => error.code,
            Self::LeaseEnded { .. } => "KeyLeaseEnded",
            Self::NoAllowedKey { .. } => "KeyringNoAllowedKey",
            Self::WrapUnproven { .. } => "KeyWrapUnproven",
            Self::NewerFormat { what: "keyring", .. } => "KeyringNewerFormat",
            Self::NewerFormat { .. } => "SealNewerFormat",
            Self::RingDamaged { .. } => "KeyringDamaged",
            Self::RingForeignVault { .. } => "KeyringForeignVault",
            Self::RingRolledBack { .. } => "KeyringRolledBack",
            Self::RingUntrusted { .. } => "KeyringUntrusted",
            Self::CommitmentMismatch { .. } => "KeyCommitmentMismatch",
            Self::UnknownGeneration { .. } => "KeyGenerationUnknown",
            Self::SealForeignVault { .. } => "SealForeignVault",
            Self::SealWrongType => "SealWrongType",
            Self::SealDamaged { .. } => "SealDamaged",
            Self::MacMismatch => "MacMismatch",
            Self::Entropy(_) => "EntropyUnavailable",
            Self::TargetInvalid { .. } => "KeyringTargetInvalid",
            Self::SealFinished => "SealFinished",
            Self::Bug(_) => "EnvelopeBug",
        }
    }

    /// Whether the same call may go through later without anyone acting.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Kek(error) => error.fault == KekFault::Unreachable,
            Self::LeaseEnded { reason } => reason.retryable,
            _ => false,
        }
    }

    /// What mends it, where that is known here.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Kek(error) => error.fix.as_deref(),
            Self::NewerFormat { .. } => Some("install a newer version of custody"),
            Self::RingDamaged { .. } => Some("custody repair"),
            Self::RingRolledBack { .. } => Some("custody repair --accept-head"),
            Self::NoAllowedKey { .. } => Some("name the key with --key"),
            _ => None,
        }
    }

    pub(crate) fn damaged_ring(why: impl ToString) -> Self {
        Self::RingDamaged { why: why.to_string() }
    }
}

impl From<aws_lc_rs::error::Unspecified> for EnvelopeError {
    /// Only for calls that cannot fail by their input; a failed opening has its own error.
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Bug("the cryptographic library refused a call")
    }
}

fn listed(keys: &[KeyVersionUri]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
