//! What lies in a vault's store.

use custody_envelope::Ring;

pub(crate) use custody_repository::parsers::{
    checkpoint, content, directory, group, index_object, index_run, listing, log_entry, marker,
    point,
};

/// A keyring: there is one spelling of each.
pub(crate) fn keyring(data: &[u8]) {
    if let Ok(ring) = Ring::parse(data) {
        assert_eq!(ring.encoded(), data);
        assert!(ring.generations().len() > 0, "a keyring without keys");
    }
}
