//! What can go wrong, grouped by who must act.

use std::net::IpAddr;

use custody_access::{Denial, Principal};
use custody_ambient::EntropyUnavailable;
use custody_envelope::KekFault;
use custody_names::{KeyName, KeyVaultName, KeyVersionUri, ResourceId};

use crate::vault_network::Barrier;
use crate::{AuditUnavailable, KeyUse};

// Codes of custody's own, beside those of Key Vault.
const ALGORITHM_REFUSED: &str = "AlgorithmRefused";
const KEY_ALREADY_EXISTS: &str = "KeyAlreadyExists";
const KEY_BELOW_FLOOR: &str = "KeyBelowFloor";
const KEY_HAS_DEPENDANTS: &str = "KeyHasDependants";
const NOT_SUPPORTED: &str = "NotSupported";
const RELEASE_REFUSED: &str = "ReleaseRefused";
const ROTATED_MEANWHILE: &str = "RotatedMeanwhile";

/// What this crate returns.
pub(crate) type Result<T> = std::result::Result<T, KeyVaultError>;

/// Why the embedded key vault cannot do what it was asked. No variant holds key bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyVaultError {
    // The caller must act.
    /// The request asks for something that is not possible.
    #[error("{0}")]
    BadParameter(String),
    /// No such key or version.
    #[error(
        "A key with (name/id) {0} was not found in this key vault. If you recently deleted this \
         key you may be able to recover it using the correct recovery command. For help resolving \
         this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
    )]
    KeyNotFound(String),
    /// No such key vault, or it is deleted.
    #[error("the key vault {0} does not exist or is deleted")]
    VaultNotFound(KeyVaultName),
    /// The name belongs to a key that is soft-deleted.
    #[error(
        "Key {0} is currently in a deleted but recoverable state, and its name cannot be reused; \
         in this state, the key can only be recovered or purged."
    )]
    DeletedButRecoverable(KeyName),
    /// Another process rotated the key while this one made a version for it.
    #[error("the key {0} was rotated by another process at the same time")]
    RotatedMeanwhile(KeyName),
    /// A backup would be restored over a key that lives.
    #[error("The key {0} exists already in this key vault, so its backup cannot be restored.")]
    KeyExists(KeyName),
    /// What was asked for is not here to be had.
    #[error("{0}")]
    NotSupported(&'static str),
    /// The caller has as much waiting as he may.
    #[error(
        "Request was not processed because too many requests were received. Reason: the operations \
         with private keys that this caller has waiting are his share of what may wait; ask again \
         after the time in Retry-After."
    )]
    Throttled,
    /// The wrapped bytes are no wrap of this key version: damaged, or another key's.
    #[error("the wrapped bytes are not a wrap of {0}: they are damaged or of another key")]
    WrapMismatch(KeyVersionUri),

    // The key owner must act.
    /// The caller has no grant for it.
    #[error("{}", denied(.0))]
    Denied(Box<DeniedAccess>),
    /// The key vault's network rules keep the caller out.
    #[error("{}", barred(.0))]
    Barred(Box<BarredCall>),
    /// The key is disabled: no cryptographic operation is allowed.
    #[error("Operation {0} is not allowed on a disabled key.")]
    KeyDisabled(KeyUse),
    /// The key's `nbf` lies ahead: nothing new is protected with it.
    #[error("Operation {0} is not allowed on a key that is not yet valid.")]
    KeyNotYetValid(KeyUse),
    /// The key's `exp` has passed: nothing new is protected with it.
    #[error("Operation {0} is not allowed on an expired key.")]
    KeyExpired(KeyUse),
    /// The version is older than its key's floor.
    #[error("Operation {0} is not allowed on a version below the key's min_decryption_version.")]
    KeyBelowFloor(KeyUse),
    /// The key vault refuses this algorithm.
    #[error("alg {0} is refused by the settings of this key vault.")]
    AlgorithmRefused(&'static str),
    /// Vaults depend on the key, and the key vault guards those.
    #[error(
        "{0} vault(s) depend on this key, and this key vault refuses to disable or delete such \
         keys; see GET /keys/NAME/dependants"
    )]
    KeyHasDependants(usize),
    /// The target of a release is not who it should be.
    #[error("The key was not released: {0}")]
    ReleaseRefused(String),
    /// The key's `key_ops` leave the operation out.
    #[error("Operation {0} is not permitted on this key.")]
    OperationNotPermitted(KeyUse),
    /// The key vault has purge protection (rule 125).
    #[error("Operation \"purge\" is not enabled for this vault.")]
    PurgeProtected,

    // The operator must act.
    /// There is no seal where it should be.
    #[error(
        "the seal {0} is missing: without it no key opens; put it back, or restore a recovery kit \
         with `custody recovery-kit restore`"
    )]
    SealMissing(String),
    /// The seal belongs to another `keys.db`.
    #[error(
        "the seal does not hold the root key of keys.db: one of the two is of another installation \
         or older than a purge"
    )]
    SealMismatch,
    /// The seal file is not safe to use.
    #[error("the seal {place} is refused: {reason}")]
    SealRefused {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A seal stands where a new one should be made.
    #[error("a seal stands at {0} already")]
    SealExists(String),
    /// The passphrase is not the one of the seal or kit.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// There is no `keys.db`.
    #[error("{0} does not exist")]
    StoreMissing(String),
    /// A `keys.db` stands where a kit should be restored.
    #[error("{0} exists already: a recovery kit is restored into an empty data folder only")]
    StoreExists(String),
    /// A file is of a format newer than this version of custody knows.
    #[error("{what} has format {found}, this version of custody knows up to {known}: update it")]
    NewerFormat {
        /// Which file.
        what: &'static str,
        /// Its format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A file is not what it should be, or is damaged.
    #[error("{0} is damaged or no such file")]
    Damaged(String),
    /// Another process holds `keys.db` for too long.
    #[error("keys.db is in use by another process; the same request may go through later")]
    Busy,
    /// `keys.db` or the seal cannot be read or written.
    #[error("cannot use {place}: {reason}")]
    Storage {
        /// The file.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// A key was purged, and its remains could not be erased yet as another process reads them.
    #[error(
        "the key is purged, but another process still reads keys.db, so its old bytes are not \
         erased yet; the next start of custody finishes this"
    )]
    EraseUnfinished,
    /// The record of the request could not be written, so the request fails (rule 118).
    #[error(transparent)]
    AuditUnavailable(#[from] AuditUnavailable),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),

    // We must act.
    /// Something that cannot happen did.
    #[error("a fault in custody: {0}")]
    Bug(&'static str),
}

/// Who was kept out by which rule, for the message and the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarredCall {
    /// The rule.
    pub barrier: Barrier,
    /// Where the call came from; none if from this process.
    pub address: Option<IpAddr>,
    /// Who asked.
    pub caller: Principal,
    /// The key vault.
    pub vault: KeyVaultName,
    /// Where that is.
    pub location: String,
}

/// Who was denied what, for the message and the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedAccess {
    /// What is missing.
    pub denial: Denial,
    /// Who asked.
    pub caller: Principal,
    /// The key vault.
    pub vault: KeyVaultName,
    /// Where that is.
    pub location: String,
    /// What it was asked on.
    pub resource: ResourceId,
}

/// How Key Vault's data plane answers an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.innererror.code`, where there is one.
    pub inner: Option<&'static str>,
}

impl KeyVaultError {
    /// The stable code of the error: the inner code of the answer where it has one.
    pub fn code(&self) -> &'static str {
        let answer = self.answer();
        match self {
            Self::PurgeProtected => "PurgeProtected",
            Self::WrapMismatch(_) => "WrapMismatch",
            _ => answer.inner.unwrap_or(answer.code),
        }
    }

    /// Status and codes that clients of Key Vault expect (`reference/key-vault-api.md` §1).
    pub fn answer(&self) -> ErrorAnswer {
        let (status, code, inner) = match self {
            Self::BadParameter(_) | Self::WrapMismatch(_) => (400, "BadParameter", None),
            Self::KeyNotFound(_) => (404, "KeyNotFound", None),
            Self::VaultNotFound(_) => (404, "VaultNotFound", None),
            Self::DeletedButRecoverable(_) => {
                (409, "Conflict", Some("ObjectIsDeletedButRecoverable"))
            }
            Self::Throttled => (429, "Throttled", None),
            Self::RotatedMeanwhile(_) => (409, "Conflict", Some(ROTATED_MEANWHILE)),
            Self::KeyExists(_) => (409, "Conflict", Some(KEY_ALREADY_EXISTS)),
            Self::NotSupported(_) => (400, NOT_SUPPORTED, None),
            Self::KeyBelowFloor(_) => (403, "Forbidden", Some(KEY_BELOW_FLOOR)),
            Self::AlgorithmRefused(_) => (403, "Forbidden", Some(ALGORITHM_REFUSED)),
            Self::KeyHasDependants(_) => (409, "Conflict", Some(KEY_HAS_DEPENDANTS)),
            Self::ReleaseRefused(_) => (403, "Forbidden", Some(RELEASE_REFUSED)),
            Self::Denied(denied) => (403, "Forbidden", Some(denied.inner_code())),
            Self::Barred(call) => (403, "Forbidden", Some(call.barrier.inner_code())),
            Self::KeyDisabled(_) => (403, "Forbidden", Some("KeyDisabled")),
            Self::KeyNotYetValid(_) => (403, "Forbidden", Some("KeyNotYetValid")),
            Self::KeyExpired(_) => (403, "Forbidden", Some("KeyExpired")),
            Self::OperationNotPermitted(_) => (403, "Forbidden", Some("KeyOperationForbidden")),
            Self::PurgeProtected => (403, "Forbidden", None),
            Self::SealMissing(_) => (500, "SealMissing", None),
            Self::SealMismatch => (500, "SealMismatch", None),
            Self::SealRefused { .. } => (500, "SealRefused", None),
            Self::SealExists(_) => (409, "SealExists", None),
            Self::WrongPassphrase => (500, "WrongPassphrase", None),
            Self::StoreMissing(_) => (500, "KeyStoreMissing", None),
            Self::StoreExists(_) => (409, "KeyStoreExists", None),
            Self::NewerFormat { .. } => (500, "NewerFormat", None),
            Self::Damaged(_) => (500, "KeyStoreDamaged", None),
            Self::Busy => (503, "KeyStoreBusy", None),
            Self::Storage { .. } => (500, "KeyStoreUnavailable", None),
            Self::EraseUnfinished => (503, "EraseUnfinished", None),
            Self::AuditUnavailable(_) => (503, "AuditUnavailable", None),
            Self::Entropy(_) => (500, "EntropyUnavailable", None),
            Self::Bug(_) => (500, "InternalError", None),
        };
        ErrorAnswer { status, code, inner }
    }

    /// How a holder of data keys must take the error (DESIGN §5: unreachable is not revoked).
    pub fn fault(&self) -> KekFault {
        match self {
            Self::WrapMismatch(_) => KekFault::Mismatch,
            Self::Busy
            | Self::Throttled
            | Self::Storage { .. }
            | Self::EraseUnfinished
            | Self::AuditUnavailable(_)
            | Self::Entropy(_)
            | Self::Bug(_) => KekFault::Unreachable,
            _ => KekFault::Refused,
        }
    }

    pub(crate) fn storage(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Storage { place: place.into(), reason: reason.to_string() }
    }
}

impl DeniedAccess {
    fn inner_code(&self) -> &'static str {
        match self.denial {
            Denial::Role { .. } => "ForbiddenByRbac",
            Denial::Policy { .. } => "AccessDenied",
        }
    }
}

/// The text of Key Vault.
fn barred(call: &BarredCall) -> String {
    let address = call.address.map_or_else(|| "this machine".to_owned(), |from| from.to_string());
    format!(
        "{}\r\nClient address: {address}\r\nCaller: {}\r\nVault: {};location={}",
        call.barrier,
        caller_text(&call.caller),
        call.vault,
        call.location
    )
}

/// A caller as Key Vault's texts name it.
fn caller_text(caller: &Principal) -> String {
    let application =
        caller.application().map(|client| format!("appid={client};")).unwrap_or_default();
    format!("{application}oid={};iss=https://custody.localhost/{}/", caller.id, caller.tenant)
}

/// The two texts of Key Vault, which operators and tools match by word.
fn denied(denied: &DeniedAccess) -> String {
    let caller = caller_text(&denied.caller);
    let vault = format!("{};location={}", denied.vault, denied.location);
    match &denied.denial {
        Denial::Role { action } => format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
             assignments or role definitions changed recently, please observe propagation \
             time.\r\nCaller: {caller}\r\nAction: '{action}'\r\nResource: '{}'\r\nAssignment: (not \
             found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\nVault: {vault}",
            denied.resource
        ),
        Denial::Policy { permission } => format!(
            "The user, group or application '{caller}' does not have keys {permission} permission \
             on key vault '{vault}'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287"
        ),
    }
}

impl From<rusqlite::Error> for KeyVaultError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged("keys.db".to_owned())
            }
            _ => Self::storage("keys.db", error),
        }
    }
}
