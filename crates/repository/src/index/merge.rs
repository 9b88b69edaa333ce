//! Makes one run of many index objects and runs, in memory that does not grow with them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet, VecDeque};

use super::packs::half;
use super::run::Run;
use super::writer::RunWriter;
use super::{Group, Place};
use crate::RepositoryError;
use crate::index_object::Stream;
use crate::log::ObjectId;
use crate::sealed::length_u32;
use custody_envelope::HEADER_BYTES;

/// Sources that are merged at once: each holds a block of places.
pub(super) const SOURCES_MAX: usize = 64;
/// Packs of which it is known that they are taken over: 17 bytes each, in a table that they fill to the
/// brim. One that comes again when there are more is taken over twice, which costs its records.
const KNOWN_MAX: usize = 7 << 16;
/// Said when there is more than the format counts.
const TOO_MANY: &str = "the repository has more groups than this version reads";

/// What a run is made of.
pub(super) enum Source<'s> {
    Object(ObjectId, Box<Stream<'s>>),
    Run(&'s Run<'s>),
}

/// A source with what of it is known to be taken over.
struct Reading<'s> {
    source: Source<'s>,
    groups: Renumbering,
    next_block: u64,
    ready: VecDeque<Place>,
}

/// Writes a run of the live packs that these sources describe; what several describe is taken once.
pub(super) fn merge<'s>(
    sources: impl Iterator<Item = Result<Source<'s>, RepositoryError>>,
    is_live: &dyn Fn(&ObjectId) -> bool,
    mut writer: RunWriter<'_>,
) -> Result<(), RepositoryError> {
    let mut covered = BTreeSet::new();
    let mut known = HashSet::new();
    let mut readings = Vec::new();
    // One after the other: each gives its table away before the next is opened.
    for source in sources {
        let source = source?;
        match &source {
            Source::Object(id, _) => drop(covered.insert(*id)),
            Source::Run(run) => covered.extend(&run.covered),
        }
        let mut reading = Reading {
            source,
            groups: Renumbering::default(),
            next_block: 0,
            ready: VecDeque::new(),
        };
        let mut is_new = |id| {
            is_live(&id)
                && !known.contains(&half(&id))
                && (known.len() >= KNOWN_MAX || known.insert(half(&id)))
        };
        reading.take_groups(&mut is_new, &mut writer)?;
        readings.push(reading);
    }
    let mut heap = BinaryHeap::with_capacity(readings.len());
    for (number, reading) in readings.iter_mut().enumerate() {
        heap.extend(reading.next()?.map(|place| Reverse((place, number))));
    }
    while let Some(Reverse((place, number))) = heap.pop() {
        writer.place(&place)?;
        let next = readings.get_mut(number).map(Reading::next).transpose()?.flatten();
        heap.extend(next.map(|place| Reverse((place, number))));
    }
    writer.finish(&covered)
}

/// What becomes of the numbers of groups: ranges of groups of which all are taken over, or none.
#[derive(Default)]
struct Renumbering(Vec<(u32, Option<u32>)>);

impl Renumbering {
    /// From group `first` on, groups are counted from `new` on, or not taken over. Neighbours of which
    /// the same holds take no memory.
    fn add(&mut self, first: u32, new: Option<u32>) {
        let goes_on = self.0.last().is_some_and(|(before, begun)| match (begun, new) {
            (Some(begun), Some(new)) => first.checked_sub(*before) == new.checked_sub(*begun),
            (begun, new) => begun.is_none() && new.is_none(),
        });
        if !goes_on {
            self.0.push((first, new));
        }
    }

    fn find(&self, group: u32) -> Option<u32> {
        let at = self.0.partition_point(|(first, _)| *first <= group).checked_sub(1)?;
        let (first, new) = self.0.get(at)?;
        new.map(|new| group - first + new)
    }
}

impl Reading<'_> {
    /// Writes the groups of the packs that are `new`.
    fn take_groups(
        &mut self,
        is_new: &mut dyn FnMut(ObjectId) -> bool,
        writer: &mut RunWriter<'_>,
    ) -> Result<(), RepositoryError> {
        let mut taken = Taken { is_new, writer, groups: &mut self.groups, next: 0 };
        match &mut self.source {
            Source::Object(_, stream) => {
                for (pack, shapes) in std::mem::take(&mut stream.table.packs) {
                    let new = taken.pack(pack.id, pack.length)?;
                    let mut offset = length_u32(HEADER_BYTES)?;
                    for (position, &(sealed, shape)) in (0..).zip(&shapes) {
                        taken.group(new, Group { pack: 0, position, offset, sealed, shape })?;
                        offset =
                            offset.checked_add(sealed).ok_or(RepositoryError::Bug(TOO_MANY))?;
                    }
                }
                Ok(())
            }
            Source::Run(run) => taken.run(run),
        }
    }

    /// The next place that is taken over, its group counted through the new run.
    fn next(&mut self) -> Result<Option<Place>, RepositoryError> {
        loop {
            while let Some(place) = self.ready.pop_front() {
                if let Some(group) = self.groups.find(place.group) {
                    return Ok(Some(Place { group, ..place }));
                }
            }
            let block = match &mut self.source {
                Source::Object(_, stream) => stream.next_block()?,
                Source::Run(run) => run.place_block(self.next_block)?,
            };
            self.next_block += 1;
            let Some(block) = block else { return Ok(None) };
            self.ready = block.into();
        }
    }
}

/// The packs and groups of a source on their way into a run.
struct Taken<'t, 'w> {
    is_new: &'t mut dyn FnMut(ObjectId) -> bool,
    writer: &'t mut RunWriter<'w>,
    groups: &'t mut Renumbering,
    /// Number of the next group in the source.
    next: u32,
}

impl Taken<'_, '_> {
    /// The next pack: its number in the run if it is taken over.
    fn pack(&mut self, id: ObjectId, length: u64) -> Result<Option<u32>, RepositoryError> {
        (self.is_new)(id).then(|| self.writer.pack(id, length)).transpose()
    }

    /// The next group, of the pack of this number in the run.
    fn group(&mut self, pack: Option<u32>, group: Group) -> Result<(), RepositoryError> {
        let new = pack.map(|pack| self.writer.group(&Group { pack, ..group })).transpose()?;
        self.groups.add(self.next, new);
        self.next = self.next.checked_add(1).ok_or(RepositoryError::Bug(TOO_MANY))?;
        Ok(())
    }

    /// All packs and groups of a run, whose packs are in the order of their groups.
    fn run(&mut self, run: &Run<'_>) -> Result<(), RepositoryError> {
        // Packs that were asked for so far, and what became of the last of them.
        let (mut packs, mut new, mut block) = (0, None, 0);
        while let Some(groups) = run.group_block(block)? {
            block += 1;
            for group in groups {
                while packs <= u64::from(group.pack) {
                    new = self.pack_of(run, packs)?;
                    packs += 1;
                }
                if packs != u64::from(group.pack) + 1 {
                    return Err(RepositoryError::damaged("the index cache", "groups out of order"));
                }
                self.group(new, group)?;
            }
        }
        while packs < run.pack_sum.count {
            self.pack_of(run, packs)?;
            packs += 1;
        }
        Ok(())
    }

    fn pack_of(&mut self, run: &Run<'_>, number: u64) -> Result<Option<u32>, RepositoryError> {
        let pack = run.pack(number)?;
        let no_pack = || RepositoryError::damaged("the index cache", "a group without a pack");
        let (id, length) = pack.ok_or_else(no_pack)?;
        self.pack(id, length)
    }
}
