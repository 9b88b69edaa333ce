//! One vault with its keys, clock and randomness.

use std::sync::Arc;
use std::time::Duration;

use custody_ambient::Clock;
use custody_envelope::{
    EnvelopeError, Failover, KeyAccess, KeyTarget, LEASE_DEFAULT, Ring, Trust, Unwrapped,
    VaultKeys, WrapAlgorithm, WrapKey, create, unlock, unwrap,
};
use custody_names::{KeyVersionUri, VaultGuid};
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};

pub(crate) const VAULT: VaultGuid = VaultGuid::from_bytes([7; 16]);

pub(crate) struct Setting {
    pub(crate) keks: MemoryKeks,
    pub(crate) moved: Arc<FixedClock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: SeededEntropy,
}

impl Setting {
    pub(crate) fn new() -> Self {
        let moved = Arc::new(FixedClock::at_text("2026-11-22T06:00:00.123456789Z"));
        let clock: Arc<dyn Clock> = Arc::clone(&moved) as Arc<dyn Clock>;
        Self { keks: MemoryKeks::new(), moved, clock, entropy: SeededEntropy::new(1) }
    }

    /// A setting and a vault in it under one customer key.
    pub(crate) fn with_vault() -> (Self, KeyVersionUri, Ring, VaultKeys) {
        let setting = Self::new();
        let key = setting.keks.add_version("kv-one", "k");
        let (ring, keys) = setting.create(VAULT, &target(&[&key])).unwrap();
        (setting, key, ring, keys)
    }

    /// A setting and a vault in it with infrastructure encryption.
    pub(crate) fn with_two_layers() -> (Self, Ring, VaultKeys) {
        let setting = Self::new();
        let (key, platform) =
            (setting.keks.add_version("kv-one", "k"), setting.keks.add_version("platform", "p"));
        let target = KeyTarget { infrastructure: vec![by(&platform)], ..target(&[&key]) };
        let (ring, keys) = setting.create(VAULT, &target).unwrap();
        (setting, ring, keys)
    }

    pub(crate) fn access(&self) -> KeyAccess<'_> {
        self.access_to(&|_| true)
    }

    pub(crate) fn access_to<'a>(
        &'a self,
        allowed: &'a dyn Fn(&KeyVersionUri) -> bool,
    ) -> KeyAccess<'a> {
        KeyAccess { keys: &self.keks, allowed, clock: &self.clock }
    }

    pub(crate) fn create(
        &self,
        vault: VaultGuid,
        target: &KeyTarget,
    ) -> Result<(Ring, VaultKeys), EnvelopeError> {
        create(vault, target, &self.access(), &self.entropy)
    }

    pub(crate) fn unlock(&self, ring: &Ring) -> Result<VaultKeys, EnvelopeError> {
        unlock(ring, &Trust::FirstUse, &self.access())
    }

    pub(crate) fn unwrap(&self, ring: &Ring) -> Result<Unwrapped, EnvelopeError> {
        unwrap(ring, &Trust::FirstUse, &self.access())
    }

    /// Lets the default lease run out.
    pub(crate) fn outlive_lease(&self) {
        self.moved.advance(LEASE_DEFAULT + Duration::from_millis(1));
    }
}

pub(crate) fn by(key: &KeyVersionUri) -> WrapKey {
    WrapKey { key: key.clone(), algorithm: WrapAlgorithm::RsaOaep256 }
}

pub(crate) fn target(keys: &[&KeyVersionUri]) -> KeyTarget {
    let keys = keys.iter().map(|key| by(key)).collect();
    KeyTarget { keys, infrastructure: Vec::new(), failover: Failover::Stop }
}

/// The code of the error; there must be one.
pub(crate) fn code<T>(result: Result<T, EnvelopeError>) -> &'static str {
    match result {
        Ok(_) => "no error",
        Err(error) => error.code(),
    }
}
