//! Other keys around the same data keys, or around a new one (keyring.md §6).
//!
//! Each function makes the ring of one step and stores nothing: the caller stores it and goes on.
//! Whoever finds a ring in the store asks [`rewrap_step`] what comes next.

use custody_ambient::Entropy;

use crate::chain::{endorse, sign, verify};
use crate::create::{KeyMaker, seal_id_key, to_the_millisecond};
use crate::derivation::{Key, KeyKind, equal};
use crate::key_set::{KeySet, random_key};
use crate::ring::{Body, Chain, DataKey, Wrap};
use crate::unwrap::{open_wrap, wrap_plaintext};
use crate::{
    EnvelopeError, GENERATIONS_MAX, KeyAccess, KeyTarget, Ring, SecretBytes, VaultKeys, WRAPS_MAX,
    WrapKey, WrappedKey,
};

/// What a ring needs to be wrapped as a target says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrapStep {
    /// [`begin_rewrap`], and store its ring.
    Begin,
    /// [`prove_wraps`], then [`finish_rewrap`] or [`finish_key_change`], and store its ring.
    Finish,
    /// Delete the rings before this one. After a change of key the caller sees from
    /// [`Ring::newest_generation`] that the new generation is there too.
    Done,
}

/// That all wraps a target names were unwrapped and hold the right keys.
pub struct Proven<'a> {
    ring: [u8; 32],
    target: &'a KeyTarget,
}

/// What comes next to wrap `ring` by exactly `target`.
pub fn rewrap_step(ring: &Ring, target: &KeyTarget) -> RewrapStep {
    let entries = || {
        let data_keys = ring.generations().map(|key| (key, &target.keys));
        data_keys.chain(ring.infrastructure().map(|key| (key, &target.infrastructure)))
    };
    let wrapped =
        |(key, by): (&WrappedKey, &Vec<WrapKey>)| by.iter().all(|by| find_wrap(key, by).is_some());
    let nothing_else = |(key, by): (&WrappedKey, &Vec<WrapKey>)| key.wraps.len() == by.len();
    let finished = ring.failover() == target.failover && !ring.is_rewrap_under_way();
    if !entries().all(wrapped) {
        RewrapStep::Begin
    } else if !finished || !entries().all(nothing_else) {
        RewrapStep::Finish
    } else {
        RewrapStep::Done
    }
}

/// The ring after `ring` that holds its wraps and those `target` names besides.
///
/// # Errors
/// [`EnvelopeError::TargetInvalid`]; the answer of a key that does not wrap;
/// [`EnvelopeError::LeaseEnded`].
pub fn begin_rewrap(
    ring: &Ring,
    keys: &VaultKeys,
    target: &KeyTarget,
    access: &KeyAccess<'_>,
) -> Result<Ring, EnvelopeError> {
    check_target(ring, target)?;
    let mut body = next_body(ring, access)?;
    body.rewrap_under_way = true;
    let vault = body.vault;
    let add_wraps = |entry: &mut WrappedKey, kind, by: &[WrapKey]| {
        for by in by {
            if find_wrap(entry, by).is_some() {
                continue;
            }
            let generation = entry.generation;
            let plain = keys.with_keys(|keys| {
                Ok(wrap_plaintext(key_of(keys, kind, generation)?, kind, vault, generation))
            })?;
            entry.wraps.push(wrap_by(by, &plain, access)?);
        }
        if entry.wraps.len() > WRAPS_MAX {
            let why = "it is wrapped by too many keys: finish the rewrap that was begun first";
            return Err(EnvelopeError::TargetInvalid { why });
        }
        Ok(())
    };
    for data_key in &mut body.data_keys {
        add_wraps(&mut data_key.key, KeyKind::Data, &target.keys)?;
    }
    if let Some(entry) = &mut body.infrastructure {
        add_wraps(entry, KeyKind::Infrastructure, &target.infrastructure)?;
    }
    sign_next(ring, body, keys)
}

/// Unwraps every wrap that `target` names and compares it with the keys in hand.
///
/// # Errors
/// The answer of a key that does not unwrap; [`EnvelopeError::WrapUnproven`] if a wrap is missing
/// or holds something else; [`EnvelopeError::LeaseEnded`].
pub fn prove_wraps<'a>(
    ring: &Ring,
    keys: &VaultKeys,
    target: &'a KeyTarget,
    access: &KeyAccess<'_>,
) -> Result<Proven<'a>, EnvelopeError> {
    check_target(ring, target)?;
    let prove = |entry: &WrappedKey, kind, by: &WrapKey| {
        let opened = prove_wrap(ring, entry, kind, by, access)?;
        keys.with_keys(|keys| {
            if equal(opened.as_slice(), key_of(keys, kind, entry.generation)?) {
                Ok(())
            } else {
                Err(EnvelopeError::WrapUnproven { key: by.key.clone() })
            }
        })
    };
    for by in &target.keys {
        ring.generations().try_for_each(|entry| prove(entry, KeyKind::Data, by))?;
    }
    if let Some(entry) = ring.infrastructure() {
        let mut keys = target.infrastructure.iter();
        keys.try_for_each(|by| prove(entry, KeyKind::Infrastructure, by))?;
    }
    Ok(Proven { ring: ring.hash(), target })
}

/// The ring after `ring` that holds the proven wraps alone.
///
/// # Errors
/// [`EnvelopeError::TargetInvalid`] if the proof is of another ring;
/// [`EnvelopeError::LeaseEnded`].
pub fn finish_rewrap(
    ring: &Ring,
    keys: &VaultKeys,
    proven: &Proven<'_>,
    access: &KeyAccess<'_>,
) -> Result<Ring, EnvelopeError> {
    let body = proven_body(ring, proven, access)?;
    sign_next(ring, body, keys)
}

/// The ring after `ring` that holds the proven wraps alone and a new data key generation, wrapped
/// by the proven keys alone and unwrapped once. To use the new generation, store the ring and
/// extend the lease by [`crate::unwrap`] of it.
///
/// # Errors
/// As for [`finish_rewrap`]; the answer of a key that does not wrap or unwrap;
/// [`EnvelopeError::Entropy`].
pub fn finish_key_change(
    ring: &Ring,
    keys: &VaultKeys,
    proven: &Proven<'_>,
    access: &KeyAccess<'_>,
    entropy: &dyn Entropy,
) -> Result<Ring, EnvelopeError> {
    let mut body = proven_body(ring, proven, access)?;
    let (vault, before) = (body.vault, ring.newest_generation());
    if ring.generations().len() >= GENERATIONS_MAX {
        let why = "it has as many key generations as it can hold";
        return Err(EnvelopeError::TargetInvalid { why });
    }
    let generation = before.saturating_add(1);
    let data_key = random_key(entropy)?;
    let maker = KeyMaker { vault, generation, made: body.made, keys: access.keys };
    let entry = maker.wrap(&data_key, KeyKind::Data, &proven.target.keys)?;
    for by in &proven.target.keys {
        let opened = prove_wrap(ring, &entry, KeyKind::Data, by, access)?;
        if !equal(opened.as_slice(), data_key.as_slice()) {
            return Err(EnvelopeError::WrapUnproven { key: by.key.clone() });
        }
    }
    keys.with_keys(|keys| {
        verify(ring, keys)?;
        let key_before = keys.data_key(before)?;
        for id_key in &mut body.id_keys {
            let mut plain = Key::default();
            plain.copy_from_slice(keys.id_key(id_key.generation)?);
            let sealed_by = (generation, &data_key);
            *id_key = seal_id_key(&plain, id_key.generation, sealed_by, vault, entropy)?;
        }
        let endorsement = endorse(key_before, vault, generation, &entry.commitment)?;
        body.data_keys.push(DataKey { key: entry, endorsement: Some(endorsement) });
        sign(body, Some((before, key_before)), (generation, data_key.as_slice()))
    })
}

fn check_target(ring: &Ring, target: &KeyTarget) -> Result<(), EnvelopeError> {
    target.check()?;
    if ring.infrastructure().is_some() == target.infrastructure.is_empty() {
        let why = "whether a vault has infrastructure encryption is settled when it is made";
        return Err(EnvelopeError::TargetInvalid { why });
    }
    Ok(())
}

/// The body of the next ring, saying the same as this one.
fn next_body(ring: &Ring, access: &KeyAccess<'_>) -> Result<Body, EnvelopeError> {
    let body = ring.body();
    let number = body.number.checked_add(1).ok_or(EnvelopeError::Bug("too many rings"))?;
    let chain = Chain {
        before: ring.hash(),
        first: body.chain.as_ref().map_or_else(|| ring.hash(), |chain| chain.first),
        generation: ring.newest_generation(),
    };
    let made = to_the_millisecond(access.clock.now())?;
    Ok(Body { number, made, chain: Some(chain), ..body.clone() })
}

fn proven_body(
    ring: &Ring,
    proven: &Proven<'_>,
    access: &KeyAccess<'_>,
) -> Result<Body, EnvelopeError> {
    if proven.ring != ring.hash() {
        let why = "the proof is of another keyring";
        return Err(EnvelopeError::TargetInvalid { why });
    }
    let mut body = next_body(ring, access)?;
    for data_key in &mut body.data_keys {
        data_key.key.wraps.retain(|wrap| named(&proven.target.keys, wrap));
    }
    if let Some(entry) = &mut body.infrastructure {
        entry.wraps.retain(|wrap| named(&proven.target.infrastructure, wrap));
    }
    body.failover = proven.target.failover;
    body.rewrap_under_way = false;
    Ok(body)
}

/// Signs a ring without a new generation, if the keys in hand are those of the ring before.
fn sign_next(ring: &Ring, body: Body, keys: &VaultKeys) -> Result<Ring, EnvelopeError> {
    let newest = ring.newest_generation();
    keys.with_keys(|keys| {
        verify(ring, keys)?;
        let newest = (newest, keys.data_key(newest)?);
        sign(body, Some(newest), newest)
    })
}

fn prove_wrap(
    ring: &Ring,
    entry: &WrappedKey,
    kind: KeyKind,
    by: &WrapKey,
    access: &KeyAccess<'_>,
) -> Result<Key, EnvelopeError> {
    let wrap = find_wrap(entry, by)
        .filter(|wrap| (access.allowed)(&wrap.key))
        .ok_or_else(|| EnvelopeError::WrapUnproven { key: by.key.clone() })?;
    open_wrap(access.keys, wrap, entry, kind, ring.vault())
}

fn wrap_by(
    by: &WrapKey,
    plain: &SecretBytes,
    access: &KeyAccess<'_>,
) -> Result<Wrap, EnvelopeError> {
    let bytes = access.keys.wrap(&by.key, by.algorithm, plain)?;
    Ok(Wrap { key: by.key.clone(), algorithm: by.algorithm, bytes })
}

fn find_wrap<'r>(entry: &'r WrappedKey, by: &WrapKey) -> Option<&'r Wrap> {
    entry.wraps.iter().find(|wrap| wrap.key == by.key)
}

fn named(by: &[WrapKey], wrap: &Wrap) -> bool {
    by.iter().any(|by| by.key == wrap.key)
}

fn key_of(keys: &KeySet, kind: KeyKind, generation: u32) -> Result<&[u8], EnvelopeError> {
    match kind {
        KeyKind::Data => keys.data_key(generation),
        KeyKind::Infrastructure => keys
            .infrastructure_key()
            .ok_or(EnvelopeError::Bug("the ring has an infrastructure key, the keys have none")),
    }
}
