//! Sealed objects as they lie in the store: header, positions, footer
//! (docs/formats/repository.md, "Sealed objects").

use custody_ambient::Entropy;
use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::{EnvelopeError, HEADER_BYTES, ObjectType, Opener, Sealer, VaultKeys};

use crate::RepositoryError;
use crate::error::Malformed;
use crate::object::read_part;

/// How often a position, and the object before it, is sealed anew because the lease on the keys ran out
/// meanwhile. A gap is a minute away from the next one and sealing takes milliseconds: more than one is
/// a broken clock.
const SEALINGS_MAX: usize = 8;

/// The keys of the vault and the randomness that sealing takes.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) vault: &'a VaultKeys,
    pub(crate) entropy: &'a dyn Entropy,
}

impl<'a> Keys<'a> {
    /// An object with one position and no footer.
    pub(crate) fn seal(
        &self,
        object_type: ObjectType,
        associated: &[u8],
        mut plain: Vec<u8>,
    ) -> Result<Vec<u8>, RepositoryError> {
        let mut left = SEALINGS_MAX;
        loop {
            let mut sealer = self.vault.sealer(object_type, self.entropy)?;
            match sealer.seal(associated, true, &mut plain) {
                Ok(()) => {
                    let mut bytes = sealer.header().to_vec();
                    bytes.append(&mut plain);
                    return Ok(bytes);
                }
                Err(error) => left = after_gap(error, left)?,
            }
        }
    }

    /// Opens an object with one position; `object` is its name, for errors.
    pub(crate) fn open(
        &self,
        object_type: ObjectType,
        associated: &[u8],
        bytes: &[u8],
        object: &dyn ToString,
    ) -> Result<Vec<u8>, RepositoryError> {
        let opener = self.opener(object_type, bytes, object)?;
        let mut part = bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec();
        open_position(&opener, 0, associated, true, &mut part, object)?;
        Ok(part)
    }

    /// What opens the positions of the object that begins with `bytes`.
    pub(crate) fn opener(
        &self,
        object_type: ObjectType,
        bytes: &[u8],
        object: &dyn ToString,
    ) -> Result<Opener, RepositoryError> {
        let header = bytes
            .get(..HEADER_BYTES)
            .ok_or_else(|| RepositoryError::damaged(object.to_string(), "it is cut short"))?;
        self.vault.opener(object_type, header).map_err(|error| at_fault(error, object))
    }

    /// Begins an object of several positions.
    pub(crate) fn writer(
        self,
        object_type: ObjectType,
        capacity: usize,
    ) -> Result<SealedWriter<'a>, RepositoryError> {
        self.writer_for(object_type, capacity, Vec::new())
    }

    /// Begins an object of several positions, each with this associated data.
    pub(crate) fn writer_for(
        self,
        object_type: ObjectType,
        capacity: usize,
        associated: Vec<u8>,
    ) -> Result<SealedWriter<'a>, RepositoryError> {
        let room = Vec::with_capacity(capacity + HEADER_BYTES + Footer::BYTES);
        self.writer_within(object_type, room, associated)
    }

    /// The same, in the place of whatever is in `bytes`.
    pub(crate) fn writer_within(
        self,
        object_type: ObjectType,
        mut bytes: Vec<u8>,
        associated: Vec<u8>,
    ) -> Result<SealedWriter<'a>, RepositoryError> {
        let sealer = self.vault.sealer(object_type, self.entropy)?;
        bytes.clear();
        bytes.extend_from_slice(sealer.header());
        let (keys, lengths, left) = (self, Vec::new(), SEALINGS_MAX);
        Ok(SealedWriter { keys, object_type, sealer, associated, bytes, lengths, left })
    }
}

/// Opens one position in place.
pub(crate) fn open_position(
    opener: &Opener,
    position: u32,
    associated: &[u8],
    last: bool,
    part: &mut Vec<u8>,
    object: &dyn ToString,
) -> Result<(), RepositoryError> {
    opener.open(position, associated, last, part).map_err(|error| at_fault(error, object))
}

/// Builds an object of several positions and a footer.
pub(crate) struct SealedWriter<'a> {
    keys: Keys<'a>,
    object_type: ObjectType,
    sealer: Sealer,
    associated: Vec<u8>,
    bytes: Vec<u8>,
    /// Sealed length of each position so far.
    lengths: Vec<u32>,
    /// How often it may still begin again.
    left: usize,
}

impl SealedWriter<'_> {
    /// Seals the next position, not the last; returns its sealed length. What is left in `part` is of
    /// no use.
    pub(crate) fn push(&mut self, part: &mut Vec<u8>) -> Result<u32, RepositoryError> {
        let sealed = self.append(part, false)?;
        // An object may be open for long: only gaps that come one upon the other are too many.
        self.left = SEALINGS_MAX;
        Ok(sealed)
    }

    /// Seals the last position and ends the object.
    pub(crate) fn finish(mut self, mut part: Vec<u8>) -> Result<Vec<u8>, RepositoryError> {
        let last_length = self.append(&mut part, true)?;
        let footer = Footer { positions: length_u32(self.lengths.len())?, last_length };
        self.bytes.extend_from_slice(&footer.encode());
        Ok(self.bytes)
    }

    fn append(&mut self, part: &mut Vec<u8>, last: bool) -> Result<u32, RepositoryError> {
        while let Err(error) = self.sealer.seal(&self.associated, last, part) {
            self.left = after_gap(error, self.left)?;
            self.begin_again()?;
        }
        self.bytes.extend_from_slice(part);
        let length = length_u32(part.len())?;
        self.lengths.push(length);
        Ok(length)
    }

    /// Seals what there is once more under a fresh salt: no object goes on across a gap in the
    /// lease.
    fn begin_again(&mut self) -> Result<(), RepositoryError> {
        let object = &"a new object";
        let opener = self.keys.opener(self.object_type, &self.bytes, object)?;
        let (object_type, capacity) = (self.object_type, self.bytes.capacity());
        let mut again = self.keys.writer_for(object_type, capacity, self.associated.clone())?;
        again.left = self.left;
        let mut at = HEADER_BYTES;
        for (position, length) in (0_u32..).zip(&self.lengths) {
            let end = at + *length as usize;
            let mut part = self.bytes.get(at..end).unwrap_or_default().to_vec();
            open_position(&opener, position, &self.associated, false, &mut part, object)?;
            again.append(&mut part, false)?;
            at = end;
        }
        *self = again;
        Ok(())
    }
}

/// How often sealing may begin again, if a gap in the lease is all that was in its way. What was to
/// be sealed is untouched then.
fn after_gap(error: EnvelopeError, left: usize) -> Result<usize, RepositoryError> {
    match error {
        EnvelopeError::LeaseEnded { .. } if left > 0 => Ok(left - 1),
        error => Err(error.into()),
    }
}

/// The end of an object of several positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Number of positions, the last one included.
    pub(crate) positions: u32,
    /// Sealed length of the last position in bytes.
    pub(crate) last_length: u32,
}

impl Footer {
    pub(crate) const BYTES: usize = 16;
    const MAGIC: [u8; 8] = *b"custodyF";

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = Self::MAGIC
            .into_iter()
            .chain(self.positions.to_be_bytes())
            .chain(self.last_length.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    /// The footer at the end of `bytes`, and the offset of the last position in them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let cut = || Malformed::from(NO_FOOTER);
        let at = bytes.len().checked_sub(Self::BYTES).ok_or_else(cut)?;
        let (body, footer) = bytes.split_at_checked(at).ok_or_else(cut)?;
        let footer = Self::decode(footer)?;
        let at = body.len().checked_sub(footer.last_length as usize);
        let at = at.filter(|at| *at >= HEADER_BYTES).ok_or_else(cut)?;
        Ok((footer, at))
    }

    /// The footer that these bytes are.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let cut = || Malformed::from(NO_FOOTER);
        let (magic, fields) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        let &[positions, last_length] = fields.as_chunks::<4>().0 else { return Err(cut()) };
        let footer = Self {
            positions: u32::from_be_bytes(positions),
            last_length: u32::from_be_bytes(last_length),
        };
        let holds = magic == &Self::MAGIC && footer.positions > 0;
        if holds { Ok(footer) } else { Err(cut()) }
    }
}

/// The end of a stored object of several positions, read without the rest of it.
pub(crate) struct Tail {
    pub(crate) opener: Opener,
    pub(crate) footer: Footer,
    /// The last position, open.
    pub(crate) last: Vec<u8>,
}

impl Tail {
    /// Reads header, footer and last position of an object of this length.
    pub(crate) fn read(
        store: &dyn BlobStore,
        keys: Keys<'_>,
        object_type: ObjectType,
        name: &BlobName,
        length: u64,
    ) -> Result<Self, RepositoryError> {
        let malformed = |error: Malformed| error.in_object(name);
        let cut = || malformed(NO_FOOTER.into());
        let footer_at = length.checked_sub(Footer::BYTES as u64).ok_or_else(cut)?;
        let footer = Footer::decode(&read_part(store, name, footer_at, Footer::BYTES)?);
        let footer = footer.map_err(malformed)?;
        let at = footer_at.checked_sub(u64::from(footer.last_length));
        let at = at.filter(|at| *at >= HEADER_BYTES as u64).ok_or_else(cut)?;
        let opener = keys.opener(object_type, &read_part(store, name, 0, HEADER_BYTES)?, name)?;
        let mut last = read_part(store, name, at, footer.last_length as usize)?;
        open_position(&opener, footer.positions - 1, &[], true, &mut last, name)?;
        Ok(Self { opener, footer, last })
    }
}

/// Said of an object that does not end as one of several positions does.
const NO_FOOTER: &str = "it is cut short or has no footer";

/// A length that the format keeps in 32 bits; limits elsewhere keep every one far below.
pub(crate) fn length_u32(length: usize) -> Result<u32, RepositoryError> {
    u32::try_from(length).map_err(|_| RepositoryError::Bug("a part is longer than 4 GiB"))
}

/// Tells damage of one object from keys that cannot be used at all.
fn at_fault(error: EnvelopeError, object: &dyn ToString) -> RepositoryError {
    match error {
        EnvelopeError::SealDamaged { .. }
        | EnvelopeError::SealWrongType
        | EnvelopeError::SealForeignVault { .. }
        | EnvelopeError::CommitmentMismatch { .. }
        | EnvelopeError::UnknownGeneration { .. }
        | EnvelopeError::NewerFormat { .. } => RepositoryError::damaged(object.to_string(), error),
        _ => RepositoryError::Envelope(error),
    }
}
