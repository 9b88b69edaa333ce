//! Listings: the entries of one folder as bytes (docs/formats/repository.md, "Listings").

use custody_entries::{
    DeviceNumber, Entry, EntryKind, EntryName, FileIdentity, Metadata, TimeSpec, Xattr,
};
use minicbor::bytes::ByteSlice;
use minicbor::{Decoder, Encoder};

use crate::RepositoryError;
use crate::content::{Content, array_of, length_of_array};
use crate::error::Malformed;

/// Longest listing, in bytes: some six million entries. It is in memory when it is written and read.
pub(crate) const LISTING_BYTES_MAX: usize = 1 << 30;

/// An entry of a point, with where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) entry: Entry,
    pub(crate) body: Body,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A regular file's bytes; `changed` if it did not stand still while it was read.
    File { content: Content, changed: bool },
    /// A folder's listing.
    Folder(Content),
    /// Nothing beside the entry itself.
    None,
}

/// The bytes of a listing, for those who do not put one together as a backup does; `nodes` are in ascending order of their names.
#[cfg(any(test, feature = "measure", feature = "parsers"))]
pub(crate) fn encode(nodes: &[Node]) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::with_capacity(nodes.len() * 160);
    for node in nodes {
        encode_node(node, &mut bytes)?;
    }
    Ok(bytes)
}

/// The entries of a listing. Hostile names, disorder and twins are refused.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Node>, Malformed> {
    let mut cbor = Decoder::new(bytes);
    let mut nodes: Vec<Node> = Vec::new();
    while cbor.position() < bytes.len() {
        let node = decode_node(&mut cbor)?;
        if nodes.last().is_some_and(|last| last.entry.name >= node.entry.name) {
            return Err("the entries of a folder are out of order".into());
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// Adds an entry to the bytes of a listing.
pub(crate) fn encode_node(node: &Node, bytes: &mut Vec<u8>) -> Result<(), RepositoryError> {
    let Entry { name, kind, metadata } = &node.entry;
    let cbor = &mut Encoder::new(bytes);
    cbor.array(3)?.bytes(name.as_bytes())?;
    encode_metadata(metadata, cbor)?;
    match (kind, &node.body) {
        (EntryKind::File { .. }, Body::File { content, changed }) => {
            cbor.array(3)?.u8(1)?;
            content.encode(cbor)?;
            cbor.bool(*changed)?;
        }
        (EntryKind::Folder, Body::Folder(content)) => {
            cbor.array(2)?.u8(2)?;
            content.encode(cbor)?;
        }
        (EntryKind::Symlink { target }, Body::None) => {
            cbor.array(2)?.u8(3)?.bytes(target)?;
        }
        (EntryKind::Fifo, Body::None) => {
            cbor.array(1)?.u8(4)?;
        }
        (EntryKind::Socket, Body::None) => {
            cbor.array(1)?.u8(5)?;
        }
        (EntryKind::BlockDevice(number), Body::None) => {
            cbor.array(3)?.u8(6)?.u32(number.major)?.u32(number.minor)?;
        }
        (EntryKind::CharDevice(number), Body::None) => {
            cbor.array(3)?.u8(7)?.u32(number.major)?.u32(number.minor)?;
        }
        _ => return Err(RepositoryError::Bug("an entry's kind and body do not fit")),
    }
    Ok(())
}

/// The name of an entry that [`encode_node`] wrote.
pub(crate) fn name_in(entry: &[u8]) -> Result<&[u8], RepositoryError> {
    let mut cbor = Decoder::new(entry);
    let name = array_of(&mut cbor, 3).and_then(|()| Ok(cbor.bytes()?));
    name.map_err(|_| RepositoryError::Bug("an entry without a name"))
}

/// The metadata of an entry, or of a point's top.
pub(crate) fn encode_metadata(
    metadata: &Metadata,
    cbor: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), RepositoryError> {
    cbor.array(13)?.u32(metadata.mode)?.u32(metadata.uid)?.u32(metadata.gid)?;
    for owner in [&metadata.user, &metadata.group] {
        match owner {
            Some(owner) => cbor.bytes(owner)?,
            None => cbor.null()?,
        };
    }
    encode_time(metadata.modified, cbor)?;
    cbor.array(metadata.xattrs.len() as u64 * 2)?;
    for xattr in &metadata.xattrs {
        cbor.bytes(&xattr.name)?.bytes(&xattr.value)?;
    }
    let identity = &metadata.identity;
    cbor.u64(identity.device)?.u64(identity.inode)?.u64(identity.links)?;
    encode_time(identity.changed, cbor)
}

fn encode_time(time: TimeSpec, cbor: &mut Encoder<&mut Vec<u8>>) -> Result<(), RepositoryError> {
    cbor.i64(time.seconds)?.u32(time.nanoseconds)?;
    Ok(())
}

fn decode_node(cbor: &mut Decoder<'_>) -> Result<Node, Malformed> {
    array_of(cbor, 3)?;
    let name = EntryName::new(cbor.bytes()?)
        .map_err(|invalid| Malformed(format!("an entry has a bad name: {}", invalid.reason)))?;
    let metadata = decode_metadata(cbor)?;
    let (kind, body) = decode_body(cbor)?;
    Ok(Node { entry: Entry { name, kind, metadata }, body })
}

/// What [`encode_metadata`] wrote.
pub(crate) fn decode_metadata(cbor: &mut Decoder<'_>) -> Result<Metadata, Malformed> {
    array_of(cbor, 13)?;
    let (mode, uid, gid) = (cbor.u32()?, cbor.u32()?, cbor.u32()?);
    let user = decode_owner(cbor)?;
    let group = decode_owner(cbor)?;
    let modified = decode_time(cbor)?;
    let xattrs = decode_xattrs(cbor)?;
    let (device, inode, links) = (cbor.u64()?, cbor.u64()?, cbor.u64()?);
    let identity = FileIdentity { device, inode, links, changed: decode_time(cbor)? };
    Ok(Metadata { mode, uid, gid, user, group, modified, xattrs, identity })
}

fn decode_owner(cbor: &mut Decoder<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    Ok(cbor.decode::<Option<&ByteSlice>>()?.map(|owner| owner.to_vec()))
}

fn decode_body(cbor: &mut Decoder<'_>) -> Result<(EntryKind, Body), Malformed> {
    let parts = length_of_array(cbor)?;
    Ok(match (cbor.u8()?, parts) {
        (1, 3) => {
            let content = Content::decode(cbor)?;
            let changed = cbor.bool()?;
            (EntryKind::File { size: content.size }, Body::File { content, changed })
        }
        (2, 2) => (EntryKind::Folder, Body::Folder(Content::decode(cbor)?)),
        (3, 2) => (EntryKind::Symlink { target: cbor.bytes()?.to_vec() }, Body::None),
        (4, 1) => (EntryKind::Fifo, Body::None),
        (5, 1) => (EntryKind::Socket, Body::None),
        (6, 3) => (EntryKind::BlockDevice(decode_device(cbor)?), Body::None),
        (7, 3) => (EntryKind::CharDevice(decode_device(cbor)?), Body::None),
        _ => return Err("an entry is of a kind that there is not".into()),
    })
}

fn decode_device(cbor: &mut Decoder<'_>) -> Result<DeviceNumber, Malformed> {
    Ok(DeviceNumber { major: cbor.u32()?, minor: cbor.u32()? })
}

fn decode_xattrs(cbor: &mut Decoder<'_>) -> Result<Vec<Xattr>, Malformed> {
    let count = length_of_array(cbor)?;
    if count % 2 != 0 {
        return Err("an attribute has no value".into());
    }
    let mut xattrs = Vec::new();
    for _ in 0..count / 2 {
        xattrs.push(Xattr { name: cbor.bytes()?.to_vec(), value: cbor.bytes()?.to_vec() });
    }
    Ok(xattrs)
}

fn decode_time(cbor: &mut Decoder<'_>) -> Result<TimeSpec, Malformed> {
    let time = TimeSpec { seconds: cbor.i64()?, nanoseconds: cbor.u32()? };
    if time.nanoseconds < 1_000_000_000 {
        Ok(time)
    } else {
        Err("a time has more than a second of nanoseconds".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::{ChunkName, Chunker};
    use crate::content::Extent;

    fn node(name: &[u8], kind: EntryKind, body: Body) -> Node {
        let metadata = Metadata {
            mode: 0o4755,
            uid: u32::MAX,
            gid: 7,
            user: Some(b"m\xfcller".to_vec()),
            group: None,
            modified: TimeSpec { seconds: -1, nanoseconds: 999_999_999 },
            xattrs: vec![Xattr { name: b"user.a".to_vec(), value: vec![0; 3] }],
            identity: FileIdentity { device: 1, inode: u64::MAX, links: 2, ..Default::default() },
        };
        Node { entry: Entry { name: EntryName::new(name).unwrap(), kind, metadata }, body }
    }

    fn samples() -> Vec<Node> {
        let extents = vec![
            Extent { length: 1 << 40, chunk: None },
            Extent { length: 5, chunk: Some(ChunkName([9; 32])) },
        ];
        let size = (1 << 40) + 5;
        let content = Content { chunker: Chunker::Fixed, level: 0, size, extents };
        let device = DeviceNumber { major: 8, minor: 1 };
        vec![
            node(b"\x01\n\xff", EntryKind::Folder, Body::Folder(Content::empty())),
            node(b"a", EntryKind::File { size }, Body::File { content, changed: true }),
            node(b"b", EntryKind::Symlink { target: b"../\xff".to_vec() }, Body::None),
            node(b"c", EntryKind::Fifo, Body::None),
            node(b"d", EntryKind::Socket, Body::None),
            node(b"e", EntryKind::BlockDevice(device), Body::None),
            node(b"f", EntryKind::CharDevice(device), Body::None),
        ]
    }

    #[test]
    fn every_kind_comes_back() {
        let nodes = samples();
        assert_eq!(decode(&encode(&nodes).unwrap()).unwrap(), nodes);
        assert_eq!(decode(&[]).unwrap(), []);
    }

    #[test]
    fn disorder_twins_and_hostile_names_are_refused() {
        let mut nodes = samples();
        nodes.swap(0, 1);
        assert!(decode(&encode(&nodes).unwrap()).is_err());
        let twin = vec![nodes[0].clone(), nodes[0].clone()];
        assert!(decode(&encode(&twin).unwrap()).is_err());
        let good = encode(&nodes[2..3]).unwrap();
        let evil: Vec<u8> = good.iter().map(|&b| if b == b'b' { b'/' } else { b }).collect();
        assert_ne!(good, evil);
        assert!(decode(&evil).unwrap_err().0.contains("bad name"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&samples()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode(&bytes);
        }

        #[test]
        fn noise_is_no_listing(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&noise);
        }
    }
}
