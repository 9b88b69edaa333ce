//! The keys of one sealed object.

use std::sync::{PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::EnvelopeError;
use crate::derivation::Key;

/// Both layers of an object, keyed. The library zeroes its key schedules when they are dropped.
pub(crate) struct ObjectKeys {
    first_layer: LessSafeKey,
    second_layer: Option<LessSafeKey>,
}

/// Where the keys of an object stand as long as the lease lasts.
pub(crate) struct ObjectSlot(RwLock<Option<ObjectKeys>>);

/// Which part of an object is sealed: what the nonce is made of.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) position: u32,
    pub(crate) last: bool,
}

impl ObjectKeys {
    pub(crate) fn new(first: &Key, second: Option<&Key>) -> Result<Self, EnvelopeError> {
        let second_layer = match second {
            Some(key) => Some(UnboundKey::new(&CHACHA20_POLY1305, key.as_slice())?),
            None => None,
        };
        Ok(Self {
            first_layer: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, first.as_slice())?),
            second_layer: second_layer.map(LessSafeKey::new),
        })
    }

    fn seal(&self, place: Place, aad: &[u8], bytes: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        self.first_layer.seal_in_place_append_tag(place.nonce(), Aad::from(aad), bytes)?;
        if let Some(second_layer) = &self.second_layer {
            second_layer.seal_in_place_append_tag(place.nonce(), Aad::from(aad), bytes)?;
        }
        Ok(())
    }

    fn open(&self, place: Place, aad: &[u8], bytes: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        for layer in self.second_layer.iter().chain([&self.first_layer]) {
            let Ok(plain) = layer.open_in_place(place.nonce(), Aad::from(aad), bytes) else {
                bytes.zeroize();
                let why = "a part of it is not what was sealed in its place";
                return Err(EnvelopeError::SealDamaged { why });
            };
            let length = plain.len();
            bytes.truncate(length);
        }
        Ok(())
    }
}

impl ObjectSlot {
    pub(crate) fn new(keys: ObjectKeys) -> Self {
        Self(RwLock::new(Some(keys)))
    }

    /// Puts keys in the place of those that are gone.
    pub(crate) fn fill(&self, keys: ObjectKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// Zeroes the keys; waits for a call that is using them.
    pub(crate) fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Seals in place; `None` if the keys are gone.
    pub(crate) fn seal(
        &self,
        place: Place,
        aad: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Option<Result<(), EnvelopeError>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref().map(|keys| keys.seal(place, aad, bytes))
    }

    /// Opens in place, or wipes what does not open; `None` if the keys are gone.
    pub(crate) fn open(
        &self,
        place: Place,
        aad: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Option<Result<(), EnvelopeError>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref().map(|keys| keys.open(place, aad, bytes))
    }
}

impl Place {
    fn nonce(self) -> Nonce {
        let [a, b, c, d] = self.position.to_be_bytes();
        Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(self.last)])
    }
}
