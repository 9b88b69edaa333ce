//! Makes one run of many index objects and runs, in memory that does not grow with them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet, VecDeque};

use super::filter::Filter;
use super::run::{Run, RunWriter};
use super::{Group, Place};
use crate::RepositoryError;
use crate::index_object::Stream;
use crate::log::ObjectId;
use crate::sealed::length_u32;
use custody_envelope::HEADER_BYTES;

/// Sources that are merged at once: each holds a block of places.
pub(super) const SOURCES_MAX: usize = 64;
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
    /// First group of each pack in the source, and in the new run if the pack is taken over.
    groups: Vec<(u32, Option<u32>)>,
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
        let mut reading =
            Reading { source, groups: Vec::new(), next_block: 0, ready: VecDeque::new() };
        reading.take_groups(&mut |id| is_live(&id) && known.insert(id), &mut writer)?;
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

impl Reading<'_> {
    /// Writes the groups of the packs that are `new`.
    fn take_groups(
        &mut self,
        is_new: &mut dyn FnMut(ObjectId) -> bool,
        writer: &mut RunWriter<'_>,
    ) -> Result<(), RepositoryError> {
        match &mut self.source {
            Source::Object(_, stream) => {
                let mut first = 0_u32;
                for (pack, shapes) in std::mem::take(&mut stream.table.packs) {
                    let pack_number =
                        is_new(pack.id).then(|| writer.pack(pack.id, pack.length)).transpose()?;
                    let mut new_first = None;
                    let mut offset = length_u32(HEADER_BYTES)?;
                    for (position, &(sealed, shape)) in (0..).zip(&shapes) {
                        if let Some(pack) = pack_number {
                            let group = Group { pack, position, offset, sealed, shape };
                            let number = writer.group(&group)?;
                            new_first = new_first.or(Some(number));
                        }
                        offset =
                            offset.checked_add(sealed).ok_or(RepositoryError::Bug(TOO_MANY))?;
                    }
                    self.groups.push((first, new_first));
                    let count = length_u32(shapes.len())?;
                    first = first.checked_add(count).ok_or(RepositoryError::Bug(TOO_MANY))?;
                }
            }
            Source::Run(run) => {
                let packs: Result<Vec<Option<u32>>, RepositoryError> = run
                    .packs
                    .iter()
                    .map(|(id, length)| is_new(*id).then(|| writer.pack(*id, *length)).transpose())
                    .collect();
                let packs = packs?;
                let (mut number, mut block, mut before) = (0_u32, 0, None);
                while let Some(groups) = run.group_block(block)? {
                    block += 1;
                    for group in groups {
                        let pack = packs.get(group.pack as usize).copied().flatten();
                        let new =
                            pack.map(|pack| writer.group(&Group { pack, ..group })).transpose()?;
                        if before != Some(group.pack) {
                            self.groups.push((number, new));
                            before = Some(group.pack);
                        }
                        number = number.checked_add(1).ok_or(RepositoryError::Bug(TOO_MANY))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The next place that is taken over, its group counted through the new run.
    fn next(&mut self) -> Result<Option<Place>, RepositoryError> {
        loop {
            while let Some(place) = self.ready.pop_front() {
                let at = self.groups.partition_point(|(first, _)| *first <= place.group);
                let pack = at.checked_sub(1).and_then(|at| self.groups.get(at));
                if let Some((first, Some(new_first))) = pack {
                    return Ok(Some(Place { group: place.group - first + new_first, ..place }));
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

/// The filter of a run of so many chunks of a repository of `all`, within its share of memory.
pub(super) fn filter_for(chunks: u64, all: u64, bytes_max: usize) -> Filter {
    let share = bytes_max as u64 * chunks / all.max(chunks).max(1);
    let names = usize::try_from(chunks).unwrap_or(usize::MAX);
    Filter::for_names(names, usize::try_from(share).unwrap_or(bytes_max))
}
