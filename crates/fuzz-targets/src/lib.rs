//! What the fuzzer throws bytes at: every parser that a byte from a network, a store or a list that
//! somebody gives can reach.
//!
//! A [`Target`] takes any bytes and panics if something that must hold does not: no answer of
//! status 500, bodies that are JSON where they say so, texts that read back as they were written, no
//! forged token believed. `cargo xtask fuzz` runs the targets under libFuzzer; the tests of this
//! crate send every file of the corpus through them once, so that they cannot rot and a crash once
//! found stays mended.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a target says what is wrong by panicking"
)]

mod attestation;
mod changed_blocks;
mod fields;
mod request;
mod requests;
mod site;
mod stored;
mod values;

use std::sync::{Mutex, PoisonError};

pub use site::World;

/// Takes any bytes, and panics at what must not be.
pub type Target = fn(&World, &[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("address_rule", fields::address_rule),
    ("arm", requests::arm),
    ("assertion", values::assertion),
    ("attestation", attestation::attestation),
    ("backup_blob", fields::backup_blob),
    ("certificate", values::certificate),
    ("changed_blocks", |_, data| changed_blocks::changed_blocks(data)),
    ("checkpoint", |_, data| stored::checkpoint(data)),
    ("content", |_, data| stored::content(data)),
    ("data_plane", requests::data_plane),
    ("filter", fields::filter),
    ("form", fields::form),
    ("graph", requests::graph),
    ("host", fields::host),
    ("identity", requests::identity),
    ("import_key", fields::import_key),
    ("index_object", |_, data| stored::index_object(data)),
    ("index_run", |_, data| stored::index_run(data)),
    ("json", fields::json),
    ("keyring", |_, data| stored::keyring(data)),
    ("listing", |_, data| stored::listing(data)),
    ("log_entry", |_, data| stored::log_entry(data)),
    ("marker", |_, data| stored::marker(data)),
    ("names", values::names),
    ("own", requests::own),
    ("pack_directory", |_, data| stored::directory(data)),
    ("pack_group", |_, data| stored::group(data)),
    ("point", |_, data| stored::point(data)),
    ("query", fields::query),
    ("release_policy", fields::release_policy),
    ("rotation_policy", fields::rotation_policy),
    ("token", values::token),
];

/// Inputs after which the fuzzer's world is made anew, so that it does not fill up.
const INPUTS_PER_WORLD: usize = 10_000;

/// The world of this process, and how many inputs it has seen.
static WORLD: Mutex<Option<(World, usize)>> = Mutex::new(None);

/// Runs one input of the fuzzer.
///
/// # Panics
/// If there is no such target, or the target found something.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target {name}"));
    let mut kept = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let (world, inputs) = match kept.take() {
        Some((world, inputs)) if inputs < INPUTS_PER_WORLD => (world, inputs),
        _ => (World::default(), 0),
    };
    target(&world, data);
    *kept = Some((world, inputs + 1));
}
