//! Opening the index: in memory while it is small, else on disk; from index objects, or from the packs
//! themselves where those are lost; and what is marked bad in it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use custody_envelope::ObjectType;
use minicbor::Decoder;

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::index::cache::Cache;
use crate::index::capped::CappedIndex;
use crate::index::{BadMarks, ChunkIndex, IndexBuilder};
use crate::index_object;
use crate::log::{History, ObjectId};
use crate::object::{self, Family};
use crate::pack::{PackSummary, read_directory};
use crate::repository::Repository;

impl Repository {
    /// The index of every live pack, on disk if it is large. Packs whose index object is lost are
    /// read themselves; packs that are lost as well are missing from it. New points do not rely on
    /// `leaving`, nor on what is marked bad.
    pub(crate) fn open_index<'r>(
        &'r self,
        history: &Arc<History>,
        leaving: &BTreeSet<ObjectId>,
    ) -> Result<Box<dyn ChunkIndex + 'r>, RepositoryError> {
        self.open_index_with(history, leaving, &self.bad_marks()?)
    }

    /// The same by other marks than those that are stored.
    pub(crate) fn open_index_with<'r>(
        &'r self,
        history: &Arc<History>,
        leaving: &BTreeSet<ObjectId>,
        bad: &BadMarks,
    ) -> Result<Box<dyn ChunkIndex + 'r>, RepositoryError> {
        match self.open_capped(history, leaving, bad) {
            Ok(Some(index)) => return Ok(Box::new(index)),
            // A cache that cannot be kept must not keep anyone from his data. If it is the vault's own
            // store that fails, it says so once more.
            Ok(None) | Err(RepositoryError::Store(_)) => {}
            Err(error) => return Err(error),
        }
        let objects: Vec<ObjectId> = history.indexes().keys().copied().collect();
        let builder = self.fill(IndexBuilder::new(history.packs()), &objects)?;
        let missing = builder.missing();
        let builder = self.fill_from_packs(builder, &missing)?;
        let mut index = builder.finish(leaving);
        index.mark(bad);
        Ok(Box::new(index))
    }

    /// The index on disk; nothing if it is small or nothing is kept on disk here.
    fn open_capped(
        &self,
        history: &Arc<History>,
        leaving: &BTreeSet<ObjectId>,
        bad: &BadMarks,
    ) -> Result<Option<CappedIndex<'_>>, RepositoryError> {
        if self.parts.cache.is_none() {
            return Ok(None);
        }
        let objects = self.index_objects(history)?;
        let bytes: u64 = objects.iter().map(|(_, bytes)| bytes).sum();
        if bytes <= self.parts.index_limits.memory_bytes {
            return Ok(None);
        }
        let Some(cache) = self.cache()? else { return Ok(None) };
        let (mut index, uncovered) = CappedIndex::open(cache, &objects, history, leaving)?;
        let builder = self.fill(IndexBuilder::new(history.packs()), &uncovered)?;
        let missing = index.undescribed(builder.packs())?;
        let builder = self.fill_from_packs(builder, &missing)?;
        index.add_rest(builder.finish(leaving));
        index.mark(bad);
        Ok(Some(index))
    }

    /// Where runs are kept, opened when it is first needed; nothing if nothing is kept on disk here.
    pub(crate) fn cache(&self) -> Result<Option<Cache<'_>>, RepositoryError> {
        let Some(open) = &self.parts.cache else { return Ok(None) };
        let runs = if let Some(runs) = self.runs.get() {
            runs
        } else {
            let opened = open()?;
            self.runs.get_or_init(|| opened)
        };
        let (store, clock) = (&*self.parts.store, &*self.parts.clock);
        let limits = self.parts.index_limits;
        Ok(Some(Cache { runs: &**runs, store, keys: self.keys(), clock, limits }))
    }

    /// The index objects that the log names, each with its size in bytes as far as a listing knows it
    /// already.
    fn index_objects(&self, history: &History) -> Result<Vec<(ObjectId, u64)>, RepositoryError> {
        let mut sizes: BTreeMap<ObjectId, u64> =
            history.indexes().keys().map(|id| (*id, 0)).collect();
        self.parts.store.list(Family::Index.prefix(), &mut |name, length| {
            if let Some(size) = Family::Index.id_in(&name).and_then(|id| sizes.get_mut(&id)) {
                *size = length;
            }
        })?;
        Ok(sizes.into_iter().collect())
    }

    /// Adds what these index objects say.
    fn fill<'h>(
        &self,
        mut builder: IndexBuilder<'h>,
        objects: &[ObjectId],
    ) -> Result<IndexBuilder<'h>, RepositoryError> {
        for id in objects {
            let name = Family::Index.name(*id)?;
            let opened = object::get(&*self.parts.store, Family::Index, *id)
                .and_then(|bytes| index_object::open(&bytes, self.keys(), &name));
            match opened {
                Ok((table, places)) => builder
                    .add_table(&table, places)
                    .map_err(|malformed| malformed.in_object(name))?,
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(builder)
    }

    /// Adds what these packs, which nothing describes, say themselves.
    fn fill_from_packs<'h>(
        &self,
        mut builder: IndexBuilder<'h>,
        packs: &[ObjectId],
    ) -> Result<IndexBuilder<'h>, RepositoryError> {
        for id in packs {
            match self.read_pack_summary(*id) {
                Ok(summary) => builder.add(&summary)?,
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(builder)
    }

    /// What a pack says about itself.
    pub(crate) fn read_pack_summary(&self, id: ObjectId) -> Result<PackSummary, RepositoryError> {
        let bytes = object::get(&*self.parts.store, Family::Pack, id)?;
        let directory = read_directory(&bytes, self.keys(), &Family::Pack.name(id)?)?;
        Ok(PackSummary { id, length: bytes.len() as u64, directory })
    }

    /// Everything that is marked bad. A lagging listing only puts healing off.
    pub(crate) fn bad_marks(&self) -> Result<BadMarks, RepositoryError> {
        let mut names = Vec::new();
        self.parts.store.list(Family::Bad.prefix(), &mut |name, _| names.push(name))?;
        let mut marks = BadMarks::new();
        for id in names.iter().filter_map(|name| Family::Bad.id_in(name)) {
            let name = Family::Bad.name(id)?;
            let opened = object::get(&*self.parts.store, Family::Bad, id)
                .and_then(|bytes| self.keys().open(ObjectType::Index, BAD, &bytes, &name))
                .and_then(|plain| {
                    decode_bad(&plain, &mut marks).map_err(|malformed| malformed.in_object(&name))
                });
            match opened {
                Err(error) if !error.is_local() => return Err(error),
                _ => {}
            }
        }
        Ok(marks)
    }
}

/// Associated data that tells bad marks from index objects.
pub(crate) const BAD: &[u8] = b"bad";

fn decode_bad(plain: &[u8], marks: &mut BadMarks) -> Result<(), Malformed> {
    let mut cbor = Decoder::new(plain);
    for _ in 0..length_of_array(&mut cbor)? {
        array_of(&mut cbor, 2)?;
        let pack = ObjectId::from_bytes(array32(&mut cbor)?);
        let mut chunks = HashSet::new();
        for _ in 0..length_of_array(&mut cbor)? {
            chunks.insert(ChunkName(array32(&mut cbor)?));
        }
        // An empty set marks the whole pack and stays so whatever else is marked in it.
        let whole = chunks.is_empty() || marks.get(&pack).is_some_and(HashSet::is_empty);
        let marked = marks.entry(pack).or_default();
        if whole {
            marked.clear();
        } else {
            marked.extend(chunks);
        }
    }
    end(&cbor)
}
