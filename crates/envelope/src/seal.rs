//! Sealed objects: a header in clear, then positions (keyring.md §7).

use std::sync::Arc;

use custody_ambient::{Entropy, random_array};
use custody_names::VaultGuid;

use crate::derivation::{KEY_BYTES, Key, ObjectUse, equal, object_key};
use crate::key_set::KeySet;
use crate::object_keys::{ObjectKeys, ObjectSlot, Place};
use crate::{EnvelopeError, Lease};

/// Length of the header at the beginning of every sealed object, in bytes.
pub const HEADER_BYTES: usize = 100;
/// Length of the tag that one layer adds to each position, in bytes.
pub const TAG_BYTES: usize = 16;
/// The newest format of sealed objects that this version opens, and the one it seals.
pub const SEAL_FORMAT: u8 = 1;

const MAGIC: [u8; 7] = *b"custody";
/// How often one position is tried if the lease runs out between its check and the opening.
const OPENINGS_MAX: usize = 4;

/// What an object is; sealed objects of one type never open as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ObjectType {
    /// Groups of chunks with their directory.
    Pack = 1,
    /// A part of the index: where chunks lie.
    Index = 2,
    /// A recovery point: what it is and where its entries lie.
    Point = 3,
    /// A summary of the log up to a number.
    Checkpoint = 4,
    /// The part of a log entry that is not in clear.
    LogEntry = 5,
    /// A cache on the machine that backs up.
    Cache = 6,
    /// Warnings and names of files in the log of a job.
    JobLog = 7,
}

/// Seals one object, position after position. Not to be continued after an error: an attempt that
/// is repeated begins with a new sealer, whose salt is fresh.
pub struct Sealer {
    lease: Lease,
    keys: Arc<ObjectSlot>,
    header: [u8; HEADER_BYTES],
    overhead_bytes: usize,
    /// The position to seal next; none after the last.
    next: Option<u32>,
}

/// Opens the positions of one object in any order, also across a gap in the lease: its keys are
/// made anew from those of the next unwrap.
pub struct Opener {
    lease: Lease,
    keys: Arc<ObjectSlot>,
    header: Header,
    overhead_bytes: usize,
}

impl Sealer {
    pub(crate) fn new(
        lease: &Lease,
        object: ObjectType,
        entropy: &dyn Entropy,
    ) -> Result<Self, EnvelopeError> {
        let salt = random_array(entropy)?;
        let (vault, infrastructure) = (lease.ring().vault, lease.infrastructure());
        let mut header =
            Header { object, vault, generation: 0, infrastructure, salt, commitment: [0; 32] };
        let keys = lease.admit(|keys| {
            header.generation = keys.newest();
            header.commitment = header.expected_commitment(keys)?;
            header.object_keys(keys)
        })?;
        let overhead_bytes = overhead_bytes(infrastructure);
        Ok(Self {
            lease: lease.clone(),
            keys,
            header: header.encode(),
            overhead_bytes,
            next: Some(0),
        })
    }

    /// The object's first [`HEADER_BYTES`] bytes.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// What each position grows by when it is sealed, in bytes.
    pub fn overhead_bytes(&self) -> usize {
        self.overhead_bytes
    }

    /// Seals the next position in place and appends its tags. The positions count up from 0;
    /// after the one that is `last` there is none.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`], and [`EnvelopeError::SealFinished`] after the last position.
    pub fn seal(
        &mut self,
        aad: &[u8],
        last: bool,
        plain_to_sealed: &mut Vec<u8>,
    ) -> Result<(), EnvelopeError> {
        self.lease.check()?;
        let position = self.next.ok_or(EnvelopeError::SealFinished)?;
        // Taken before the attempt: whatever becomes of it, no position is sealed twice.
        self.next = if last { None } else { position.checked_add(1) };
        let sealed = self.keys.seal(Place { position, last }, aad, plain_to_sealed);
        sealed.unwrap_or_else(|| Err(why_gone(&self.lease)))
    }
}

impl Opener {
    pub(crate) fn new(
        lease: &Lease,
        object: ObjectType,
        header: &[u8],
    ) -> Result<Self, EnvelopeError> {
        let header = Header::parse(header, object, lease.ring().vault)?;
        if header.infrastructure != lease.infrastructure() {
            return Err(EnvelopeError::SealDamaged { why: "its second layer is not the vault's" });
        }
        let keys = lease.admit(|keys| {
            if !equal(&header.commitment, &header.expected_commitment(keys)?) {
                let generation = header.generation;
                return Err(EnvelopeError::CommitmentMismatch { generation });
            }
            header.object_keys(keys)
        })?;
        let overhead_bytes = overhead_bytes(header.infrastructure);
        Ok(Self { lease: lease.clone(), keys, header, overhead_bytes })
    }

    /// What each position shrinks by when it is opened, in bytes.
    pub fn overhead_bytes(&self) -> usize {
        self.overhead_bytes
    }

    /// Opens the position in place and cuts its tags off. What does not open is wiped.
    ///
    /// # Errors
    /// [`EnvelopeError::SealDamaged`] if these bytes were not sealed as this position of this
    /// object with this `aad` and `last`; [`EnvelopeError::LeaseEnded`].
    pub fn open(
        &self,
        position: u32,
        aad: &[u8],
        last: bool,
        sealed_to_plain: &mut Vec<u8>,
    ) -> Result<(), EnvelopeError> {
        for _ in 0..OPENINGS_MAX {
            self.lease.check()?;
            match self.keys.open(Place { position, last }, aad, sealed_to_plain) {
                Some(opened) => return opened,
                None => self.lease.readmit(&self.keys, |keys| self.header.object_keys(keys))?,
            }
        }
        Err(why_gone(&self.lease))
    }
}

/// What a position grows by with or without a second layer.
pub(crate) fn overhead_bytes(infrastructure: u32) -> usize {
    if infrastructure == 0 { TAG_BYTES } else { 2 * TAG_BYTES }
}

/// The keys of the object went with a lease that may have been taken up again since: this attempt
/// is over either way.
fn why_gone(lease: &Lease) -> EnvelopeError {
    lease.check().err().unwrap_or_else(|| lease.expired())
}

struct Header {
    object: ObjectType,
    vault: VaultGuid,
    generation: u32,
    /// Generation of the infrastructure key, 0 without one.
    infrastructure: u32,
    salt: [u8; KEY_BYTES],
    commitment: [u8; KEY_BYTES],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let parts: [&[u8]; 7] = [
            &MAGIC,
            &[SEAL_FORMAT, self.object as u8, 0, 0, 0],
            self.vault.as_bytes(),
            &self.generation.to_be_bytes(),
            &self.infrastructure.to_be_bytes(),
            &self.salt,
            &self.commitment,
        ];
        let mut bytes = [0; HEADER_BYTES];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn parse(bytes: &[u8], object: ObjectType, expected: VaultGuid) -> Result<Self, EnvelopeError> {
        let mut rest = bytes;
        if take::<7>(&mut rest)? != MAGIC {
            return Err(EnvelopeError::SealDamaged { why: "it is no sealed object" });
        }
        let [format] = take(&mut rest)?;
        if format > SEAL_FORMAT {
            let (found, known) = (u64::from(format), u64::from(SEAL_FORMAT));
            return Err(EnvelopeError::NewerFormat { what: "sealed object", found, known });
        }
        let [found_type, reserved @ ..] = take::<4>(&mut rest)?;
        if format != SEAL_FORMAT || reserved != [0; 3] {
            return Err(EnvelopeError::SealDamaged { why: "its header holds something unknown" });
        }
        if found_type != object as u8 {
            return Err(EnvelopeError::SealWrongType);
        }
        let vault = VaultGuid::from_bytes(take(&mut rest)?);
        if vault != expected {
            return Err(EnvelopeError::SealForeignVault { found: vault, expected });
        }
        Ok(Self {
            object,
            vault,
            generation: u32::from_be_bytes(take(&mut rest)?),
            infrastructure: u32::from_be_bytes(take(&mut rest)?),
            salt: take(&mut rest)?,
            commitment: take(&mut rest)?,
        })
    }

    fn expected_commitment(&self, keys: &KeySet) -> Result<[u8; KEY_BYTES], EnvelopeError> {
        let data_key = keys.data_key(self.generation)?;
        self.derive(data_key, ObjectUse::Commitment).map(|commitment| *commitment)
    }

    fn object_keys(&self, keys: &KeySet) -> Result<ObjectKeys, EnvelopeError> {
        let first = self.derive(keys.data_key(self.generation)?, ObjectUse::FirstLayer)?;
        let second = match keys.infrastructure_key() {
            Some(key) => Some(self.derive(key, ObjectUse::SecondLayer)?),
            None => None,
        };
        ObjectKeys::new(&first, second.as_ref())
    }

    fn derive(&self, secret: &[u8], usage: ObjectUse) -> Result<Key, EnvelopeError> {
        object_key(secret, &self.salt, usage, self.vault, self.object as u8)
    }
}

/// The next `N` bytes of a header.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], EnvelopeError> {
    let (taken, left) = rest
        .split_first_chunk()
        .ok_or(EnvelopeError::SealDamaged { why: "it is shorter than its header" })?;
    *rest = left;
    Ok(*taken)
}
