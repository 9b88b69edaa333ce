//! A run: what a set of index objects says, sorted, on disk (docs/formats/index-cache.md).

use std::collections::BTreeSet;
use std::sync::Arc;

use custody_blob_store::BlobStore;
use custody_envelope::ObjectType;
use minicbor::{Decoder, Encoder};

use super::filter::{Filter, part};
use super::table::{RunId, Shape, TableReader, TableWriter, associated, object_name, store_new};
use super::{Group, Place, RECORD_BYTES};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::compress::Compression;
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::log::ObjectId;
use crate::pack::GroupShape;
use crate::sealed::{Keys, length_u32};

const NAMES: Shape = Shape { name: "names", record_bytes: RECORD_BYTES, block_records: 512 };
const GROUPS: Shape = Shape { name: "groups", record_bytes: GROUP_BYTES, block_records: 512 };
const FILTER: Shape = Shape { name: "filter", record_bytes: 1_024, block_records: 8 };
/// The name of the object that says what a run is.
pub(super) const MANIFEST: &str = "manifest";
/// Bytes of a group as it is stored.
const GROUP_BYTES: usize = 21;

/// A run that can be read.
pub(super) struct Run<'r> {
    pub(super) id: RunId,
    pub(super) covered: BTreeSet<ObjectId>,
    /// Each pack with its length.
    pub(super) packs: Vec<(ObjectId, u64)>,
    names: TableReader<'r>,
    groups: TableReader<'r>,
    /// The first eight bytes of the first name of each block.
    firsts: Vec<u64>,
    filter: Filter,
}

impl<'r> Run<'r> {
    /// Opens the run; nothing if it has no manifest.
    pub(super) fn open(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        id: RunId,
    ) -> Result<Option<Self>, RepositoryError> {
        let name = object_name(&id, MANIFEST)?;
        let read = store.read(&name).map_err(|error| RepositoryError::reading(&name, error))?;
        let Some(bytes) = read else { return Ok(None) };
        let plain = keys.open(ObjectType::Cache, &associated(&id, MANIFEST, 0), &bytes, &name)?;
        let manifest = Manifest::decode(&plain).map_err(|malformed| malformed.in_object(&name))?;
        let table = |shape, records| TableReader::new(store, keys, id, shape, records);
        let words = read_words(&table(FILTER, manifest.bits.div_ceil(8_192)), manifest.bits)?;
        let filter = Filter::from_parts(words, manifest.hashes);
        let filter = filter.ok_or_else(|| RepositoryError::damaged(&name, "it has no filter"))?;
        let (names, groups) = (table(NAMES, manifest.chunks), table(GROUPS, manifest.groups));
        let Manifest { covered, packs, firsts, .. } = manifest;
        if names.blocks() != firsts.len() as u64 {
            return Err(RepositoryError::damaged(&name, "it does not know all of its blocks"));
        }
        Ok(Some(Self { id, covered, packs, names, groups, firsts, filter }))
    }

    /// Shares memory with as many runs.
    pub(super) fn share(&mut self, runs: usize) {
        self.names.share(runs);
        self.groups.share(runs);
    }

    pub(super) fn chunk_count(&self) -> u64 {
        self.names.records()
    }

    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.words().len() * 8
    }

    pub(super) fn group_count(&self) -> u64 {
        self.groups.records()
    }

    /// Every place of the chunk with its number in the run; groups and packs count through the run.
    pub(super) fn find(&self, name: &ChunkName) -> Result<Vec<(u64, Place)>, RepositoryError> {
        let mut found = Vec::new();
        self.search(name, &mut |block| self.names.block(block), &mut |number, place| {
            found.push((number, place));
        })?;
        Ok(found)
    }

    /// The places of many chunks, whose names are sorted: shows for each which name it was, its number
    /// and itself.
    pub(super) fn find_all(
        &self,
        names: &[ChunkName],
        visit: &mut dyn FnMut(usize, u64, Place),
    ) -> Result<(), RepositoryError> {
        let mut at_hand: Option<(u64, Arc<Vec<u8>>)> = None;
        for (asked, name) in names.iter().enumerate() {
            let mut block = |number| {
                if let Some((kept, block)) = &at_hand
                    && *kept == number
                {
                    return Ok(Arc::clone(block));
                }
                let block = Arc::new(self.names.read_block(number)?);
                at_hand = Some((number, Arc::clone(&block)));
                Ok(block)
            };
            self.search(name, &mut block, &mut |number, place| visit(asked, number, place))?;
        }
        Ok(())
    }

    fn search(
        &self,
        name: &ChunkName,
        read: &mut dyn FnMut(u64) -> Result<Arc<Vec<u8>>, RepositoryError>,
        visit: &mut dyn FnMut(u64, Place),
    ) -> Result<(), RepositoryError> {
        if !self.filter.may_hold(name) {
            return Ok(());
        }
        let wanted = part(name, 0);
        // Blocks after the first one that begins below it, as long as they may begin with it.
        let first = self.firsts.partition_point(|first| *first < wanted).saturating_sub(1);
        let firsts = self.firsts.get(first..).unwrap_or_default();
        for (block, begins) in (first as u64..).zip(firsts) {
            if *begins > wanted {
                break;
            }
            let bytes = read(block)?;
            let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
            let at = records.partition_point(|record| record.get(..32) < Some(&name.0));
            for (number, record) in (0_u64..).zip(records).skip(at) {
                let place = Place::decode(record);
                if place.name != *name {
                    return Ok(());
                }
                visit(block * NAMES.block_records as u64 + number, place);
            }
        }
        Ok(())
    }

    /// A group by its number in the run.
    pub(super) fn group(&self, number: u64) -> Result<Option<Group>, RepositoryError> {
        if number >= self.groups.records() {
            return Ok(None);
        }
        let per_block = GROUPS.block_records as u64;
        let block = self.groups.block(number / per_block)?;
        let (records, _) = block.as_chunks::<GROUP_BYTES>();
        let at = usize::try_from(number % per_block).unwrap_or(usize::MAX);
        let group = records.get(at).map(decode_group).transpose();
        group.map_err(|malformed| malformed.in_object("the index cache"))
    }

    /// All its groups, a block at a time.
    pub(super) fn group_block(&self, block: u64) -> Result<Option<Vec<Group>>, RepositoryError> {
        if block >= self.groups.blocks() {
            return Ok(None);
        }
        let bytes = self.groups.read_block(block)?;
        let groups: Result<_, Malformed> =
            bytes.as_chunks::<GROUP_BYTES>().0.iter().map(decode_group).collect();
        groups.map(Some).map_err(|malformed| malformed.in_object("the index cache"))
    }

    /// All its places, a block at a time.
    pub(super) fn place_block(&self, block: u64) -> Result<Option<Vec<Place>>, RepositoryError> {
        if block >= self.names.blocks() {
            return Ok(None);
        }
        let bytes = self.names.read_block(block)?;
        Ok(Some(bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Place::decode).collect()))
    }
}

fn read_words(table: &TableReader<'_>, bits: u64) -> Result<Vec<u64>, RepositoryError> {
    let count = usize::try_from(bits / u64::from(u64::BITS)).unwrap_or(usize::MAX);
    // Grows with what is read: the number is only what the manifest says.
    let mut words = Vec::new();
    for block in 0..table.blocks() {
        let bytes = table.read_block(block)?;
        words.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word)));
    }
    words.truncate(count);
    Ok(words)
}

fn encode_group(group: &Group) -> Vec<u8> {
    let Group { pack, position, offset, sealed, shape: GroupShape { plain, compression } } = group;
    let mut record = Vec::with_capacity(GROUP_BYTES);
    for number in [pack, position, offset, sealed, plain] {
        record.extend_from_slice(&number.to_be_bytes());
    }
    record.push(compression.number());
    record
}

fn decode_group(record: &[u8; GROUP_BYTES]) -> Result<Group, Malformed> {
    let (numbers, rest) = record.as_chunks::<4>();
    let cut = || Malformed::from("a group is cut short");
    let &[pack, position, offset, sealed, plain] = numbers else { return Err(cut()) };
    let compression = Compression::from_number(*rest.first().ok_or_else(cut)?)?;
    let [pack, position, offset, sealed, plain] =
        [pack, position, offset, sealed, plain].map(u32::from_be_bytes);
    Ok(Group { pack, position, offset, sealed, shape: GroupShape { plain, compression } })
}

/// Reads the same bytes as a manifest and as a group: what is read is written and read as the same.
#[cfg(feature = "parsers")]
#[expect(clippy::unwrap_used, reason = "a fuzzer looks for panics")]
pub(crate) fn parse(bytes: &[u8]) {
    let record = bytes.first_chunk::<GROUP_BYTES>();
    if let Some((record, Ok(group))) = record.map(|record| (record, decode_group(record))) {
        assert_eq!(encode_group(&group), record);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        let written = manifest.encode().unwrap();
        let again = Manifest::decode(&written).unwrap();
        assert_eq!((again.covered, again.packs), (manifest.covered, manifest.packs));
        assert_eq!((again.firsts, again.bits), (manifest.firsts, manifest.bits));
    }
}

/// Writes a run: first its packs and groups, then its places in order.
pub(super) struct RunWriter<'w> {
    store: &'w dyn BlobStore,
    keys: Keys<'w>,
    id: RunId,
    names: TableWriter<'w>,
    groups: TableWriter<'w>,
    packs: Vec<(ObjectId, u64)>,
    firsts: Vec<u64>,
    filter: Filter,
}

impl<'w> RunWriter<'w> {
    pub(super) fn new(store: &'w dyn BlobStore, keys: Keys<'w>, id: RunId, filter: Filter) -> Self {
        let table = |shape| TableWriter::new(store, keys, id, shape);
        let (names, groups) = (table(NAMES), table(GROUPS));
        Self { store, keys, id, names, groups, packs: Vec::new(), firsts: Vec::new(), filter }
    }

    /// Adds a pack; returns its number.
    pub(super) fn pack(&mut self, id: ObjectId, length: u64) -> Result<u32, RepositoryError> {
        self.packs.push((id, length));
        length_u32(self.packs.len() - 1)
    }

    /// Adds a group; returns its number.
    pub(super) fn group(&mut self, group: &Group) -> Result<u32, RepositoryError> {
        let number = self.groups.push(&encode_group(group))?;
        length_u32(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Adds the next place.
    pub(super) fn place(&mut self, place: &Place) -> Result<(), RepositoryError> {
        let number = self.names.push(&place.encode())?;
        if number.is_multiple_of(NAMES.block_records as u64) {
            self.firsts.push(part(&place.name, 0));
        }
        self.filter.insert(&place.name);
        Ok(())
    }

    /// Ends the run, which exists from now on.
    pub(super) fn finish(self, covered: &BTreeSet<ObjectId>) -> Result<(), RepositoryError> {
        let Self { store, keys, id, names, groups, packs, firsts, filter } = self;
        let (chunks, groups) = (names.finish()?, groups.finish()?);
        let mut table = TableWriter::new(store, keys, id, FILTER);
        for words in filter.words().chunks(FILTER.record_bytes / 8) {
            let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            record.resize(FILTER.record_bytes, 0);
            table.push(&record)?;
        }
        table.finish()?;
        let bits = filter.words().len() as u64 * u64::from(u64::BITS);
        let hashes = filter.hashes();
        let covered = covered.clone();
        let manifest = Manifest { covered, packs, chunks, groups, firsts, hashes, bits };
        let bound = associated(&id, MANIFEST, 0);
        let plain = manifest.encode()?;
        let sealed = keys.seal(ObjectType::Cache, &bound, plain)?;
        store_new(store, &object_name(&id, MANIFEST)?, &sealed)
    }
}

struct Manifest {
    covered: BTreeSet<ObjectId>,
    packs: Vec<(ObjectId, u64)>,
    chunks: u64,
    groups: u64,
    firsts: Vec<u64>,
    hashes: usize,
    bits: u64,
}

impl Manifest {
    fn encode(&self) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        cbor.array(7)?.array(self.covered.len() as u64)?;
        for id in &self.covered {
            cbor.bytes(id.as_bytes())?;
        }
        cbor.array(self.packs.len() as u64 * 2)?;
        for (id, length) in &self.packs {
            cbor.bytes(id.as_bytes())?.u64(*length)?;
        }
        cbor.u64(self.chunks)?.u64(self.groups)?;
        let firsts: Vec<u8> = self.firsts.iter().flat_map(|first| first.to_be_bytes()).collect();
        cbor.bytes(&firsts)?.u64(self.hashes as u64)?.u64(self.bits)?;
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cbor = Decoder::new(bytes);
        array_of(&mut cbor, 7)?;
        let mut covered = BTreeSet::new();
        for _ in 0..length_of_array(&mut cbor)? {
            covered.insert(ObjectId::from_bytes(array32(&mut cbor)?));
        }
        let mut packs = Vec::new();
        for _ in 0..length_of_array(&mut cbor)? / 2 {
            packs.push((ObjectId::from_bytes(array32(&mut cbor)?), cbor.u64()?));
        }
        let (chunks, groups) = (cbor.u64()?, cbor.u64()?);
        let firsts = cbor.bytes()?.as_chunks::<8>().0;
        let firsts = firsts.iter().map(|first| u64::from_be_bytes(*first)).collect();
        let hashes = usize::try_from(cbor.u64()?).unwrap_or(usize::MAX);
        let bits = cbor.u64()?;
        end(&cbor)?;
        Ok(Self { covered, packs, chunks, groups, firsts, hashes, bits })
    }
}
