//! An entry and its bytes (docs/formats/repository-log.md, "Bytes").

use aws_lc_rs::digest::{SHA256, digest};
use custody_blob_store::BlobName;
use custody_names::VaultGuid;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::authenticator::{Authenticator, LogAuthenticator, Verdict};
use super::body::Body;
use super::error::{LogError, LogFault};
use super::identifiers::EntryHash;

/// What every entry of every format begins with.
const MAGIC: &[u8; 7] = b"custlog";

/// The format that this code writes, and the newest it reads.
const FORMAT: u8 = 1;

/// The SHA-256 at the end.
const TRAILER_BYTES: usize = 32;

/// The hash that entry 1 carries in place of that of an entry before it.
pub(super) const NO_ENTRY: EntryHash = EntryHash::from_bytes([0; 32]);

/// One entry of the log, without its authenticator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    vault: [u8; 16],
    /// Its number, from 1.
    #[n(1)]
    pub number: u64,
    /// The hash of the entry before it.
    #[n(2)]
    pub previous: EntryHash,
    /// When it was made, in milliseconds since 1970 (UTC), by its writer's clock.
    #[n(3)]
    pub time_ms: i64,
    /// Random: by it a writer knows its own after an unclear answer.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    /// What it says.
    #[n(5)]
    pub body: Body,
}

/// An entry with what is known about its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry.
    pub entry: Entry,
    /// The hash of its bytes.
    pub hash: EntryHash,
    /// Whether it was made with the vault's key.
    pub keyed: bool,
    /// What its authenticator is worth to this reader.
    pub verdict: Verdict,
}

#[derive(Encode, Decode)]
struct Signed {
    #[n(0)]
    payload: ByteVec,
    #[n(1)]
    authenticator: Authenticator,
}

impl Entry {
    /// A new entry of `vault`.
    pub(super) fn new(
        vault: VaultGuid,
        (number, previous): (u64, EntryHash),
        time_ms: i64,
        nonce: [u8; 16],
        body: Body,
    ) -> Self {
        Self { vault: *vault.as_bytes(), number, previous, time_ms, nonce, body }
    }

    /// The entry's bytes, vouched for by `authenticator`, and the entry as a reader sees it.
    pub(super) fn seal(
        self,
        authenticator: &dyn LogAuthenticator,
    ) -> Result<(Vec<u8>, SealedEntry), LogError> {
        let payload = encode(&self)?;
        let authenticator = authenticator.sign(&with_header(&payload))?;
        let keyed = matches!(authenticator, Authenticator::Keyed(_));
        let mut bytes = with_header(&encode(&Signed { payload: payload.into(), authenticator })?);
        bytes.extend_from_slice(digest(&SHA256, &bytes).as_ref());
        let hash = hash_of(&bytes);
        Ok((bytes, SealedEntry { entry: self, hash, keyed, verdict: Verdict::Authentic }))
    }
}

impl SealedEntry {
    /// Reads entry `number` of `vault`: checksum, format, structure, origin, in this order.
    /// Whether it follows the entry before it is the caller's to check.
    ///
    /// # Errors
    /// [`LogError::Fault`], naming the entry and what is wrong with it.
    pub(crate) fn open(
        bytes: &[u8],
        number: u64,
        vault: VaultGuid,
        authenticator: &dyn LogAuthenticator,
    ) -> Result<Self, LogError> {
        let wrong = |fault| LogError::Fault { number, fault };
        let damaged = |what: &'static str| wrong(LogFault::Damaged(what));
        let split = bytes.len().checked_sub(TRAILER_BYTES).ok_or(damaged("it is too short"))?;
        let (content, checksum) = bytes.split_at(split);
        if digest(&SHA256, content).as_ref() != checksum {
            return Err(damaged("its checksum is wrong"));
        }
        let rest = content.strip_prefix(MAGIC).ok_or(damaged("it is no log entry"))?;
        let (format, cbor) = rest.split_first().ok_or(damaged("it is too short"))?;
        if *format != FORMAT {
            return Err(wrong(LogFault::NewerFormat(*format)));
        }
        let signed: Signed = decode(cbor).ok_or(damaged("it cannot be decoded"))?;
        let entry: Entry =
            decode(&signed.payload).ok_or(damaged("its content cannot be decoded"))?;
        if entry.vault != *vault.as_bytes() {
            return Err(wrong(LogFault::ForeignVault(VaultGuid::from_bytes(entry.vault))));
        }
        if entry.number != number {
            return Err(damaged("it bears another number"));
        }
        let verdict = authenticator.verify(&with_header(&signed.payload), &signed.authenticator)?;
        if verdict == Verdict::Forged {
            return Err(wrong(LogFault::Forged));
        }
        let keyed = matches!(signed.authenticator, Authenticator::Keyed(_));
        Ok(Self { entry, hash: hash_of(bytes), keyed, verdict })
    }
}

/// The hash by which the next entry and pins refer to an entry of these bytes.
pub(super) fn hash_of(bytes: &[u8]) -> EntryHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    EntryHash::from_bytes(hash)
}

/// The name of entry `number`.
pub(super) fn object_name(number: u64) -> Result<BlobName, LogError> {
    format!("log/{number:010}").parse().map_err(|_| LogError::Bug("an entry's name is invalid"))
}

pub(super) fn encode<T: Encode<()>>(value: &T) -> Result<Vec<u8>, LogError> {
    minicbor::to_vec(value).map_err(|_| LogError::Bug("an entry cannot be encoded"))
}

/// Decodes `bytes` if they are exactly what encoding the value gives again.
pub(super) fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<T> {
    let value = minicbor::decode(bytes).ok()?;
    (minicbor::to_vec(&value).ok()? == bytes).then_some(value)
}

fn with_header(bytes: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &[FORMAT], bytes].concat()
}
