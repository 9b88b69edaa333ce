//! Whether the keys of a ring can still be used, without opening it for use.

use std::time::Duration;

use custody_names::KeyVersionUri;

use crate::derivation::KeyKind;
use crate::unwrap::open_wrap;
use crate::{EnvelopeError, KeyAccess, Ring, Trust};

/// How one key version answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The key version.
    pub key: KeyVersionUri,
    /// Whether it gave back the data key that it wrapped.
    pub outcome: Result<(), EnvelopeError>,
    /// How long it took to answer, by the boot clock.
    pub took: Duration,
}

/// Unwraps each wrap of the newest generation that the caller allows, and throws the data key away
/// at once. Unlike [`crate::unwrap`] it goes on after a refusal: each key is told of by itself.
///
/// # Errors
/// As for [`crate::unwrap`], if `trust` does not hold.
pub fn probe(
    ring: &Ring,
    trust: &Trust,
    access: &KeyAccess<'_>,
) -> Result<Vec<Probed>, EnvelopeError> {
    trust.check(ring)?;
    let newest = ring.generations().next_back();
    let newest = newest.ok_or(EnvelopeError::Bug("a ring without a generation"))?;
    let wraps = newest.wraps.iter().filter(|wrap| (access.allowed)(&wrap.key));
    Ok(wraps
        .map(|wrap| {
            let begun = access.clock.since_boot();
            let opened = open_wrap(access.keys, wrap, newest, KeyKind::Data, ring.vault());
            let took = access.clock.since_boot().saturating_sub(begun);
            Probed { key: wrap.key.clone(), outcome: opened.map(drop), took }
        })
        .collect())
}
