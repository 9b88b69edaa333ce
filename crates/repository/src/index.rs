//! Where every chunk is: the union of the index objects.
//!
//! A small one lies in memory, at most 48 bytes a chunk ([`Index`]); a large one on disk, and of it only as
//! much in memory as a limit allows ([`capped`]).

pub(crate) mod cache;
pub(crate) mod capped;
mod filter;
mod manifest;
mod merge;
mod near;
mod packs;
mod prefixes;
mod run;
pub(crate) mod session;
mod slots;
pub(crate) mod summary;
mod table;
mod writer;

use std::collections::{BTreeSet, HashMap, HashSet};

use custody_envelope::HEADER_BYTES;

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::error::Malformed;
use crate::index::prefixes::Prefixes;
use crate::log::ObjectId;
use crate::pack::{GroupShape, MEMBER_BYTES_MAX, PackSummary};
use crate::sealed::length_u32;

#[cfg(feature = "parsers")]
pub(crate) use run::parse as parse_run;

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) name: ChunkName,
    /// Counted through all packs of the index.
    pub(crate) group: u32,
    /// In the plain group, in bytes.
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Bytes of a place as it is stored.
pub(crate) const RECORD_BYTES: usize = 44;

impl Place {
    /// Its bytes: name, group, offset, length.
    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        let numbers = [self.group, self.offset, self.length].map(u32::to_be_bytes);
        let bytes = self.name.0.iter().chain(numbers.as_flattened());
        record.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        record
    }

    /// The place whose bytes these are.
    pub(crate) fn decode(record: &[u8; RECORD_BYTES]) -> Self {
        let (mut name, mut numbers) = ([0; 32], [0; 3]);
        name.iter_mut().zip(record).for_each(|(to, from)| *to = *from);
        let rest = record.get(name.len()..).unwrap_or_default().as_chunks::<4>().0;
        numbers.iter_mut().zip(rest).for_each(|(to, from)| *to = u32::from_be_bytes(*from));
        let [group, offset, length] = numbers;
        Self { name: ChunkName(name), group, offset, length }
    }
}

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Counted through all packs of the index.
    pub(crate) pack: u32,
    /// Which position of the pack it is.
    pub(crate) position: u32,
    /// In the pack, in bytes.
    pub(crate) offset: u32,
    pub(crate) sealed: u32,
    pub(crate) shape: GroupShape,
}

impl Group {
    fn hit(&self, asked: u32, position: usize, length: u32, is_reliable: bool) -> Hit {
        let sealed = u64::from(length) * u64::from(self.sealed);
        let sealed = sealed.div_ceil(u64::from(self.shape.plain.max(1)));
        let sealed = u32::try_from(sealed + MEMBER_BYTES_MAX as u64).unwrap_or(u32::MAX);
        Hit { asked, pack: self.pack, sealed, position, is_reliable }
    }
}

/// A pack that the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pack {
    pub(crate) id: ObjectId,
    pub(crate) length: u64,
    /// No new point may rely on it: a prune wants it gone, or it is marked bad as a whole.
    pub(crate) leaving: bool,
}

/// Which chunks are known to be damaged, by pack; an empty set marks the whole pack.
pub(crate) type BadMarks = HashMap<ObjectId, HashSet<ChunkName>>;

/// One of the places of a chunk that many were asked for together with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Which of the names asked for.
    pub(crate) asked: u32,
    /// Its pack, counted as in [`ChunkIndex::pack`].
    pub(crate) pack: u32,
    /// Its share of the sealed group in bytes, rounded up, and of the pack's directory: a pack of which
    /// every chunk is used is used as a whole, however small they are.
    pub(crate) sealed: u32,
    /// Which of the index's chunks this is, below [`ChunkIndex::chunk_count`].
    pub(crate) position: usize,
    /// Whether a new point may rely on it.
    pub(crate) is_reliable: bool,
}

/// Finds chunks.
pub(crate) trait ChunkIndex: Send + Sync {
    /// Everywhere the chunk is.
    fn all(&self, name: &ChunkName) -> Result<Vec<Place>, RepositoryError>;

    /// A place where the chunk is and can be relied on, if that is known without looking far.
    fn nearby(&self, name: &ChunkName) -> Option<Place>;

    /// A pack (counted as in [`ChunkIndex::pack`]) by which a new point may refer to the chunk.
    fn reliable_pack(&self, name: &ChunkName) -> Result<Option<u32>, RepositoryError>;

    /// Every place of many chunks, whose names are sorted and differ: for each name in the order of
    /// [`ChunkIndex::all`]. Goes through the index once, which costs far less than as many look-ups.
    fn locate(&self, names: &[ChunkName]) -> Result<Vec<Hit>, RepositoryError>;

    /// Shows every group with its number, in order; those of one pack follow one another.
    fn each_group(&self, visit: &mut dyn FnMut(u32, &Group)) -> Result<(), RepositoryError>;

    /// Shows every place.
    fn each_place(&self, visit: &mut dyn FnMut(&Place)) -> Result<(), RepositoryError>;

    /// From now on nothing relies on what is marked.
    fn mark(&mut self, bad: &BadMarks);

    /// Whether a new point may rely on the chunk there.
    fn is_reliable(&self, place: &Place) -> Result<bool, RepositoryError>;

    /// How many chunks it knows, one that lies in several packs as often.
    fn chunk_count(&self) -> usize;

    /// The group of a place, and its pack.
    fn group(&self, place: &Place) -> Result<Option<(Group, Pack)>, RepositoryError>;

    /// How many packs it knows, one that is described twice as often.
    fn pack_count(&self) -> usize;

    /// A pack by its number, below [`ChunkIndex::pack_count`].
    fn pack(&self, number: u32) -> Result<Option<Pack>, RepositoryError>;

    /// Shows every pack with its number, in order.
    fn each_pack(&self, visit: &mut dyn FnMut(u32, &Pack)) -> Result<(), RepositoryError>;

    /// Everywhere the chunk is, the places it can be relied on at first.
    fn places(&self, name: &ChunkName) -> Result<Vec<Place>, RepositoryError> {
        let (mut good, mut others) = (Vec::new(), Vec::new());
        for place in self.all(name)? {
            if self.is_reliable(&place)? { good.push(place) } else { others.push(place) }
        }
        good.append(&mut others);
        Ok(good)
    }
}

/// All chunks of a repository, in memory.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<Pack>,
    groups: Vec<Group>,
    /// Sorted by name.
    places: Vec<Place>,
    prefixes: Prefixes,
    bad: HashSet<Place>,
}

impl ChunkIndex for Index {
    fn all(&self, name: &ChunkName) -> Result<Vec<Place>, RepositoryError> {
        Ok(self.slice(name).to_vec())
    }

    fn nearby(&self, name: &ChunkName) -> Option<Place> {
        self.slice(name).iter().find(|place| self.can_rely_on(place)).copied()
    }

    fn reliable_pack(&self, name: &ChunkName) -> Result<Option<u32>, RepositoryError> {
        let group = self.nearby(name).and_then(|place| self.groups.get(place.group as usize));
        Ok(group.map(|group| group.pack))
    }

    fn locate(&self, names: &[ChunkName]) -> Result<Vec<Hit>, RepositoryError> {
        let mut hits = Vec::new();
        for (asked, name) in (0..).zip(names) {
            let first = self.first(name);
            for (position, place) in (first..).zip(self.slice(name)) {
                let Some((group, _)) = self.find_group(place) else { continue };
                hits.push(group.hit(asked, position, place.length, self.can_rely_on(place)));
            }
        }
        Ok(hits)
    }

    fn each_group(&self, visit: &mut dyn FnMut(u32, &Group)) -> Result<(), RepositoryError> {
        (0..).zip(&self.groups).for_each(|(number, group)| visit(number, group));
        Ok(())
    }

    fn each_place(&self, visit: &mut dyn FnMut(&Place)) -> Result<(), RepositoryError> {
        self.places.iter().for_each(visit);
        Ok(())
    }

    fn mark(&mut self, bad: &BadMarks) {
        for pack in &mut self.packs {
            pack.leaving |= bad.get(&pack.id).is_some_and(HashSet::is_empty);
        }
        let named: HashSet<ChunkName> = bad.values().flatten().copied().collect();
        let mut marked: Vec<Place> = Vec::new();
        for name in named {
            let places = self.slice(&name).iter().filter(|place| {
                let pack = self.find_group(place).map(|(_, pack)| pack.id);
                pack.and_then(|pack| bad.get(&pack)).is_some_and(|names| names.contains(&name))
            });
            marked.extend(places);
        }
        self.bad.extend(marked);
    }

    fn is_reliable(&self, place: &Place) -> Result<bool, RepositoryError> {
        Ok(self.can_rely_on(place))
    }

    fn chunk_count(&self) -> usize {
        self.places.len()
    }

    fn group(&self, place: &Place) -> Result<Option<(Group, Pack)>, RepositoryError> {
        Ok(self.find_group(place))
    }

    fn pack_count(&self) -> usize {
        self.packs.len()
    }

    fn pack(&self, number: u32) -> Result<Option<Pack>, RepositoryError> {
        Ok(self.packs.get(number as usize).copied())
    }

    fn each_pack(&self, visit: &mut dyn FnMut(u32, &Pack)) -> Result<(), RepositoryError> {
        (0..).zip(&self.packs).for_each(|(number, pack)| visit(number, pack));
        Ok(())
    }
}

impl Index {
    fn find_group(&self, place: &Place) -> Option<(Group, Pack)> {
        let group = self.groups.get(place.group as usize)?;
        Some((*group, *self.packs.get(group.pack as usize)?))
    }

    /// Where the places of a chunk begin, or would.
    fn first(&self, name: &ChunkName) -> usize {
        let range = self.prefixes.range(name);
        let places = self.places.get(range.clone()).unwrap_or_default();
        range.start + places.partition_point(|place| place.name < *name)
    }

    fn slice(&self, name: &ChunkName) -> &[Place] {
        let rest = self.places.get(self.first(name)..).unwrap_or_default();
        let count = rest.iter().take_while(|place| place.name == *name).count();
        rest.get(..count).unwrap_or_default()
    }

    fn can_rely_on(&self, place: &Place) -> bool {
        !self.bad.contains(place) && self.find_group(place).is_some_and(|(_, pack)| !pack.leaving)
    }
}

/// Gathers packs into an [`Index`].
pub(crate) struct IndexBuilder<'l> {
    index: Index,
    /// The packs that stand, by the log; others are ignored.
    live: &'l BTreeSet<ObjectId>,
    known: HashSet<ObjectId>,
}

impl<'l> IndexBuilder<'l> {
    pub(crate) fn new(live: &'l BTreeSet<ObjectId>) -> Self {
        Self { index: Index::default(), live, known: HashSet::new() }
    }

    /// The packs so far.
    pub(crate) fn packs(&self) -> &[Pack] {
        &self.index.packs
    }

    /// Live packs that nothing added so far describes.
    pub(crate) fn missing(&self) -> Vec<ObjectId> {
        self.live.iter().filter(|pack| !self.known.contains(pack)).copied().collect()
    }

    /// Adds a pack by its directory; one that is known already adds nothing.
    pub(crate) fn add(&mut self, summary: &PackSummary) -> Result<(), RepositoryError> {
        let mut table = Table::default();
        let places = table.add(summary)?;
        self.add_table(&table, places).map_err(|malformed| malformed.in_object(summary.id))
    }

    /// Adds the packs of an index object and the places in them.
    pub(crate) fn add_table(&mut self, table: &Table, places: Vec<Place>) -> Result<(), Malformed> {
        let too_many = || Malformed::from("the repository has more groups than this version reads");
        // Which group of the index each group of the table becomes.
        let mut groups = Vec::with_capacity(table.group_count());
        for (pack, shapes) in &table.packs {
            let is_new = self.live.contains(&pack.id) && self.known.insert(pack.id);
            let number = u32::try_from(self.index.packs.len()).map_err(|_| too_many())?;
            if is_new {
                self.index.packs.push(*pack);
            }
            let mut offset = u32::try_from(HEADER_BYTES).map_err(|_| too_many())?;
            for (position, &(sealed, shape)) in (0..).zip(shapes) {
                let group = u32::try_from(self.index.groups.len()).map_err(|_| too_many())?;
                groups.push(is_new.then_some(group));
                if is_new {
                    self.index.groups.push(Group { pack: number, position, offset, sealed, shape });
                }
                offset = offset.checked_add(sealed).ok_or_else(too_many)?;
            }
        }
        for place in places {
            if let Some(&Some(group)) = groups.get(place.group as usize) {
                self.index.places.push(Place { group, ..place });
            }
        }
        Ok(())
    }

    /// The index, where no new point relies on packs that are `leaving`.
    pub(crate) fn finish(mut self, leaving: &BTreeSet<ObjectId>) -> Index {
        self.index.places.sort_unstable();
        self.index.places.shrink_to_fit();
        self.index.prefixes = Prefixes::of(&self.index.places);
        for pack in &mut self.index.packs {
            pack.leaving = leaving.contains(&pack.id);
        }
        self.index
    }
}

/// The packs of an index object with their groups, in order.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) packs: Vec<(Pack, Vec<(u32, GroupShape)>)>,
}

impl Table {
    /// Adds a pack; returns its places, whose groups count through this table.
    pub(crate) fn add(&mut self, summary: &PackSummary) -> Result<Vec<Place>, RepositoryError> {
        let first = length_u32(self.group_count())?;
        let mut places = Vec::new();
        let mut shapes = Vec::with_capacity(summary.directory.groups.len());
        for (group, entry) in (first..).zip(&summary.directory.groups) {
            let mut offset = 0_u32;
            for member in &entry.members {
                places.push(Place { name: member.name, group, offset, length: member.length });
                offset = offset.saturating_add(member.length);
            }
            shapes.push((entry.sealed, entry.shape()));
        }
        let pack = Pack { id: summary.id, length: summary.length, leaving: false };
        self.packs.push((pack, shapes));
        Ok(places)
    }

    pub(crate) fn group_count(&self) -> usize {
        self.packs.iter().map(|(_, groups)| groups.len()).sum()
    }

    /// The shape of a group counted through the table.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = GroupShape> + '_ {
        self.packs.iter().flat_map(|(_, groups)| groups.iter().map(|(_, shape)| *shape))
    }
}
