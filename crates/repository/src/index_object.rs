//! Index objects: the places of chunks, sorted, in sealed blocks (docs/formats/repository.md,
//! "Index").

use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::{HEADER_BYTES, ObjectType, Opener};
use minicbor::{Decoder, Encoder};

use crate::RepositoryError;
use crate::chunk::{CHUNK_BYTES_MAX, ChunkName};
use crate::compress::Compression;
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::index::{Pack, Place, RECORD_BYTES, Table};
use crate::log::ObjectId;
use crate::object::{self, Family, MISSING, read_part};
use crate::pack::{GroupShape, PackSummary, check_group};
use crate::sealed::{Footer, Keys, Tail, length_u32, open_position};

/// Most chunks in one index object that is written. Readers take what the format allows, a million.
pub(crate) const CHUNKS_MAX: usize = 1 << 18;
/// Records in one block.
const BLOCK_RECORDS: usize = 4_096;

/// Stores the index of new packs, each object of it opened again before it is sent.
pub(crate) fn store(
    packs: &[PackSummary],
    store: &dyn BlobStore,
    keys: Keys<'_>,
) -> Result<Vec<ObjectId>, RepositoryError> {
    let (mut names, mut rest) = (Vec::new(), packs);
    while !rest.is_empty() {
        let mut chunks = 0;
        let fitting = rest.iter().take_while(|pack| {
            chunks += pack.directory.chunk_count();
            chunks <= CHUNKS_MAX
        });
        let (part, after) = rest.split_at(fitting.count().max(1));
        let (mut table, mut places) = (Table::default(), Vec::new());
        for pack in part {
            places.append(&mut table.add(pack)?);
        }
        names.push(store_table(&table, places, store, keys)?);
        rest = after;
    }
    Ok(names)
}

/// Stores one index object of these packs and places, opened again before it is sent.
pub(crate) fn store_table(
    table: &Table,
    mut places: Vec<Place>,
    store: &dyn BlobStore,
    keys: Keys<'_>,
) -> Result<ObjectId, RepositoryError> {
    places.sort_unstable();
    let bytes = seal(table, &places, keys)?;
    prove(&bytes, table, &places, keys)?;
    object::put(store, Family::Index, &bytes)
}

/// The bytes of an index object.
fn seal(table: &Table, places: &[Place], keys: Keys<'_>) -> Result<Vec<u8>, RepositoryError> {
    let mut writer = keys.writer(ObjectType::Index, places.len() * (RECORD_BYTES + 1))?;
    let mut blocks = Vec::new();
    for block in places.chunks(BLOCK_RECORDS) {
        let mut bytes = Vec::with_capacity(block.len() * RECORD_BYTES + 64);
        for place in block {
            bytes.extend_from_slice(&place.encode());
        }
        let sealed = writer.push(&mut bytes)?;
        blocks.extend(block.first().map(|first| (sealed, first.name)));
    }
    writer.finish(encode_table(table, &blocks)?)
}

/// What an index object says.
pub(crate) fn open(
    bytes: &[u8],
    keys: Keys<'_>,
    object: &dyn ToString,
) -> Result<(Table, Vec<Place>), RepositoryError> {
    let mut places = Vec::new();
    let table = read(bytes, keys, object, &mut |mut block| {
        places.append(&mut block);
        Ok(())
    })?;
    Ok((table, places))
}

/// Reads an index object through, a block at a time; its packs.
pub(crate) fn read(
    bytes: &[u8],
    keys: Keys<'_>,
    object: &dyn ToString,
    visit: &mut dyn FnMut(Vec<Place>) -> Result<(), Malformed>,
) -> Result<Table, RepositoryError> {
    let malformed = |error: Malformed| error.in_object(object.to_string());
    let opener = keys.opener(ObjectType::Index, bytes, object)?;
    let (footer, at) = Footer::parse(bytes).map_err(malformed)?;
    let mut part = bytes.get(at..bytes.len() - Footer::BYTES).unwrap_or_default().to_vec();
    open_position(&opener, footer.positions - 1, &[], true, &mut part, object)?;
    let (table, blocks) = decode_table(&part).map_err(malformed)?;
    if blocks.len() + 1 != footer.positions as usize {
        return Err(malformed("its blocks are not as many as its footer says".into()));
    }
    let shapes: Vec<GroupShape> = table.shapes().collect();
    let fits = |place: &Place| {
        shapes.get(place.group as usize).is_some_and(|shape| {
            u64::from(place.offset) + u64::from(place.length) <= u64::from(shape.plain)
                && place.length as usize <= CHUNK_BYTES_MAX
        })
    };
    let (mut last, mut at) = (None, HEADER_BYTES);
    for (position, (sealed, _first)) in (0..).zip(&blocks) {
        let end = at + *sealed as usize;
        let mut part = bytes.get(at..end).unwrap_or_default().to_vec();
        at = end;
        open_position(&opener, position, &[], false, &mut part, object)?;
        let mut places = Vec::with_capacity(part.len() / RECORD_BYTES);
        decode_block(&part, &fits, &mut places).map_err(malformed)?;
        if !places.is_sorted() || last > places.first().copied() {
            return Err(malformed("it is not sorted".into()));
        }
        last = places.last().copied().or(last);
        visit(places).map_err(malformed)?;
    }
    Ok(table)
}

/// An index object that is read block by block.
pub(crate) struct Stream<'s> {
    store: &'s dyn BlobStore,
    name: BlobName,
    opener: Opener,
    /// Its packs with their groups; whoever needs them no more takes them away.
    pub(crate) table: Table,
    blocks: Vec<u32>,
    next: usize,
    at: u64,
}

impl<'s> Stream<'s> {
    /// Reads an index object's footer and table.
    pub(crate) fn open(
        store: &'s dyn BlobStore,
        keys: Keys<'_>,
        id: ObjectId,
    ) -> Result<Self, RepositoryError> {
        let name = Family::Index.name(id)?;
        let malformed = |error: Malformed| error.in_object(&name);
        let length = store.size(&name).map_err(|error| RepositoryError::reading(&name, error))?;
        let length = length.ok_or_else(|| RepositoryError::damaged(&name, MISSING))?;
        let Tail { opener, footer, last } =
            Tail::read(store, keys, ObjectType::Index, &name, length)?;
        let (table, blocks) = decode_table(&last).map_err(malformed)?;
        if blocks.len() + 1 != footer.positions as usize {
            return Err(malformed("its blocks are not as many as its footer says".into()));
        }
        let blocks = blocks.into_iter().map(|(sealed, _)| sealed).collect();
        Ok(Self { store, name, opener, table, blocks, next: 0, at: HEADER_BYTES as u64 })
    }

    /// At least as many as it has chunks.
    pub(crate) fn chunks_max(&self) -> usize {
        self.blocks.len() * BLOCK_RECORDS
    }

    /// The places of its next block, whose groups count through its table; nothing after the last.
    pub(crate) fn next_block(&mut self) -> Result<Option<Vec<Place>>, RepositoryError> {
        let Some(sealed) = self.blocks.get(self.next) else { return Ok(None) };
        let mut part = read_part(self.store, &self.name, self.at, *sealed as usize)?;
        self.at += u64::from(*sealed);
        let position = length_u32(self.next)?;
        self.next += 1;
        open_position(&self.opener, position, &[], false, &mut part, &self.name)?;
        let mut places = Vec::with_capacity(BLOCK_RECORDS);
        // Whether a place lies within its group is seen by whoever reads the group.
        let fits = |place: &Place| place.length as usize <= CHUNK_BYTES_MAX;
        let decoded = decode_block(&part, &fits, &mut places);
        decoded.map_err(|malformed| malformed.in_object(&self.name))?;
        Ok(Some(places))
    }
}

fn encode_table(table: &Table, blocks: &[(u32, ChunkName)]) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    let mut cbor = Encoder::new(&mut bytes);
    cbor.array(2)?.array(table.packs.len() as u64)?;
    for (pack, groups) in &table.packs {
        cbor.array(3)?.bytes(pack.id.as_bytes())?.u64(pack.length)?;
        cbor.array(groups.len() as u64 * 3)?;
        for (sealed, shape) in groups {
            cbor.u32(*sealed)?.u32(shape.plain)?.u8(shape.compression.number())?;
        }
    }
    cbor.array(blocks.len() as u64)?;
    for (sealed, first) in blocks {
        cbor.array(2)?.u32(*sealed)?.bytes(&first.0)?;
    }
    Ok(bytes)
}

fn decode_table(bytes: &[u8]) -> Result<(Table, Vec<(u32, ChunkName)>), Malformed> {
    let mut cbor = Decoder::new(bytes);
    array_of(&mut cbor, 2)?;
    let mut table = Table::default();
    for _ in 0..length_of_array(&mut cbor)? {
        array_of(&mut cbor, 3)?;
        let id = ObjectId::from_bytes(array32(&mut cbor)?);
        let pack = Pack { id, length: cbor.u64()?, leaving: false };
        let mut groups = Vec::new();
        for _ in 0..length_of_array(&mut cbor)? / 3 {
            let (sealed, plain) = (cbor.u32()?, cbor.u32()?);
            check_group(sealed, plain)?;
            let compression = Compression::from_number(cbor.u8()?)?;
            groups.push((sealed, GroupShape { plain, compression }));
        }
        table.packs.push((pack, groups));
    }
    let mut blocks = Vec::new();
    for _ in 0..length_of_array(&mut cbor)? {
        array_of(&mut cbor, 2)?;
        blocks.push((cbor.u32()?, ChunkName(array32(&mut cbor)?)));
    }
    end(&cbor)?;
    Ok((table, blocks))
}

fn decode_block(
    bytes: &[u8],
    fits: &dyn Fn(&Place) -> bool,
    places: &mut Vec<Place>,
) -> Result<(), Malformed> {
    let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() || records.len() > BLOCK_RECORDS {
        return Err("a block has no whole number of records".into());
    }
    for record in records {
        let place = Place::decode(record);
        if !fits(&place) {
            return Err("a record leads out of its group".into());
        }
        places.push(place);
    }
    Ok(())
}

/// Reads the same bytes as a table and as a block: what is read of a table is written and read as the
/// same one.
#[cfg(feature = "parsers")]
#[expect(clippy::unwrap_used, reason = "a fuzzer looks for panics")]
pub(crate) fn parse(bytes: &[u8]) {
    let mut places = Vec::new();
    let fits = |place: &Place| place.length as usize <= CHUNK_BYTES_MAX;
    if decode_block(bytes, &fits, &mut places).is_ok() {
        let written: Vec<u8> = places.iter().flat_map(Place::encode).collect();
        assert_eq!(written, bytes);
    }
    if let Ok((table, blocks)) = decode_table(bytes) {
        let written = encode_table(&table, &blocks).unwrap();
        let (again, blocks_again) = decode_table(&written).unwrap();
        assert!((again.packs, blocks_again) == (table.packs, blocks), "another table came back");
    }
}

/// Opens a new index object again and compares it with what went in.
fn prove(
    bytes: &[u8],
    table: &Table,
    places: &[Place],
    keys: Keys<'_>,
) -> Result<(), RepositoryError> {
    let (mut rest, mut same) = (places, true);
    let found = read(bytes, keys, &"a new index object", &mut |block| {
        let (expected, after) = rest.split_at_checked(block.len()).unwrap_or_default();
        same &= block == expected;
        rest = after;
        Ok(())
    })?;
    if same && rest.is_empty() && found.packs == table.packs {
        Ok(())
    } else {
        Err(RepositoryError::Bug("an index object does not open to what went into it"))
    }
}
