//! The parsers of what lies in a store, for fuzzing: each takes any bytes and panics at what must
//! not be. They get what stands behind seals and checksums, which no fuzzer would get past.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fuzzer looks for panics")]

use aws_lc_rs::digest::{SHA256, digest};
use custody_blob_store::{BlobStore as _, MemoryStore};
use custody_names::VaultGuid;
use minicbor::{Decoder, Encoder};

use crate::compress::{Compression, Decompressor};
use crate::content::Content;
use crate::log::{History, Keyless, SealedEntry};
use crate::marker::{MARKER, Marker};
use crate::pack::{Directory, GROUP_BYTES_MAX, check_group};
use crate::point::Point;
use crate::sealed::Footer;
use crate::{index, index_object, listing};

/// The vault that log entries are read for.
pub const VAULT: [u8; 16] = [7; 16];

/// A pack's directory: what is read of one is written and read as the same one.
pub fn directory(bytes: &[u8]) {
    let Ok(directory) = Directory::decode(bytes) else { return };
    let written = directory.encode().unwrap();
    assert!(Directory::decode(&written).unwrap() == directory, "another directory came back");
}

/// A group: a byte for its compression, four for its plain length, then what was sealed. It becomes as
/// long as it says, and no longer than any group.
pub fn group(bytes: &[u8]) {
    let Some((&[compression, a, b, c, d], stored)) = bytes.split_first_chunk() else { return };
    let (plain, sealed) = (u32::from_be_bytes([a, b, c, d]), u32::try_from(stored.len()).unwrap());
    let Ok(compression) = Compression::from_number(compression) else { return };
    if check_group(sealed, plain).is_err() {
        return;
    }
    let mut decompressor = Decompressor::new().unwrap();
    let (mut stored, mut opened, length) = (stored.to_vec(), Vec::new(), plain as usize);
    if decompressor.decompress(compression, &mut stored, &mut opened, length).is_ok() {
        assert!(opened.len() == length && length <= GROUP_BYTES_MAX);
    }
}

/// An index object: its table and a block of its records, and the footer of all such objects.
pub fn index_object(bytes: &[u8]) {
    index_object::parse(bytes);
    if let Ok((footer, at)) = Footer::parse(bytes) {
        assert!(footer.positions > 0 && at <= bytes.len() - Footer::BYTES);
    }
}

/// A folder's listing.
pub fn listing(bytes: &[u8]) {
    let Ok(nodes) = listing::decode(bytes) else { return };
    let written = listing::encode(&nodes).unwrap();
    assert!(listing::decode(&written).unwrap() == nodes, "another listing came back");
}

/// A content with its extents.
pub fn content(bytes: &[u8]) {
    let Ok(content) = Content::decode(&mut Decoder::new(bytes)) else { return };
    let mut written = Vec::new();
    content.encode(&mut Encoder::new(&mut written)).unwrap();
    assert!(Content::decode(&mut Decoder::new(&written)).unwrap() == content);
}

/// A point.
pub fn point(bytes: &[u8]) {
    let Ok(point) = Point::decode(bytes) else { return };
    let written = point.encode().unwrap();
    assert!(Point::decode(&written).unwrap() == point, "another point came back");
}

/// A log entry without its checksum, read as number 1; one that counts begins a history.
pub fn log_entry(bytes: &[u8]) {
    let sealed = [bytes, digest(&SHA256, bytes).as_ref()].concat();
    let vault = VaultGuid::from_bytes(VAULT);
    let Ok(entry) = SealedEntry::open(&sealed, 1, vault, &Keyless) else { return };
    let mut history = History::default();
    if history.apply(&entry).is_ok() {
        assert_eq!(history.head().map(|head| head.number), Some(1));
    }
}

/// The state that a checkpoint holds.
pub fn checkpoint(bytes: &[u8]) {
    let Some(history) = History::from_state(bytes) else { return };
    let head = history.head().map_or(0, |head| head.number);
    assert!(head == u64::MAX || history.next().0 == head + 1);
}

/// The marker.
pub fn marker(bytes: &[u8]) {
    let store = MemoryStore::new();
    store.create(&MARKER.parse().unwrap(), bytes).unwrap();
    if let Ok(marker) = Marker::read(&store) {
        assert_eq!(marker.to_string().as_bytes(), bytes);
    }
}

/// A run of the index cache: its manifest, or a group of its table.
pub fn index_run(bytes: &[u8]) {
    index::parse_run(bytes);
}
