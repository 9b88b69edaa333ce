//! The unlocked keys of one ring.

use custody_ambient::Entropy;

use crate::EnvelopeError;
use crate::derivation::{KEY_BYTES, Key};
use crate::locked::LockedBytes;

/// All data keys, id keys and the infrastructure key of a ring, in locked memory.
pub(crate) struct KeySet {
    memory: LockedBytes,
    data_keys: u32,
    id_keys: u32,
    second_layer: bool,
}

impl KeySet {
    /// Takes the keys over; the copies it is given are zeroed when they are dropped.
    pub(crate) fn new(
        data_keys: &[Key],
        id_keys: &[Key],
        infrastructure: Option<&Key>,
    ) -> Result<Self, EnvelopeError> {
        let keys = || data_keys.iter().chain(id_keys).chain(infrastructure);
        let mut memory = LockedBytes::zeroed(keys().count() * KEY_BYTES)?;
        for (place, key) in memory.bytes_mut().chunks_exact_mut(KEY_BYTES).zip(keys()) {
            place.copy_from_slice(key.as_slice());
        }
        let counted = |count: usize| {
            u32::try_from(count).map_err(|_| EnvelopeError::Bug("more keys than a ring can hold"))
        };
        Ok(Self {
            memory,
            data_keys: counted(data_keys.len())?,
            id_keys: counted(id_keys.len())?,
            second_layer: infrastructure.is_some(),
        })
    }

    pub(crate) fn is_locked_in_memory(&self) -> bool {
        self.memory.is_locked()
    }

    /// The newest generation of the data keys; they are numbered from 1 without gaps.
    pub(crate) fn newest(&self) -> u32 {
        self.data_keys
    }

    /// The newest generation of the id keys, likewise.
    pub(crate) fn newest_id(&self) -> u32 {
        self.id_keys
    }

    pub(crate) fn data_key(&self, generation: u32) -> Result<&[u8], EnvelopeError> {
        let unknown = EnvelopeError::UnknownGeneration { generation };
        if generation > self.data_keys {
            return Err(unknown);
        }
        generation.checked_sub(1).and_then(|place| self.key(place)).ok_or(unknown)
    }

    pub(crate) fn id_key(&self, generation: u32) -> Result<&[u8], EnvelopeError> {
        let unknown = EnvelopeError::UnknownGeneration { generation };
        if generation > self.id_keys {
            return Err(unknown);
        }
        let place = generation.checked_sub(1).map(|place| self.data_keys + place);
        place.and_then(|place| self.key(place)).ok_or(unknown)
    }

    pub(crate) fn infrastructure_key(&self) -> Option<&[u8]> {
        self.second_layer.then(|| self.key(self.data_keys + self.id_keys)).flatten()
    }

    fn key(&self, place: u32) -> Option<&[u8]> {
        self.memory.bytes().chunks_exact(KEY_BYTES).nth(place as usize)
    }
}

/// A new random key.
pub(crate) fn random_key(entropy: &dyn Entropy) -> Result<Key, EnvelopeError> {
    let mut key = Key::default();
    entropy.fill(key.as_mut_slice())?;
    Ok(key)
}
