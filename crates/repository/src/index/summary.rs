//! What an index says of whole packs, found by going through it: a pack's chunks lie all over it.

use std::collections::HashMap;

use super::ChunkIndex;
use crate::RepositoryError;
use crate::pack::{Directory, DirectoryGroup, GroupShape, Member, PackSummary};

/// What two descriptions of a pack that agree have in common. The sum over all its groups and chunks of
/// a hash of each: in which order they come does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackDigest(u128);

impl PackDigest {
    /// The digest of a directory.
    pub(crate) fn of(directory: &Directory) -> Self {
        let mut digest = Self::default();
        for (position, group) in (0..).zip(&directory.groups) {
            digest.add_group(position, group.sealed, group.shape());
            let mut offset = 0_u32;
            for member in &group.members {
                digest.add_member(position, offset, member);
                offset = offset.saturating_add(member.length);
            }
        }
        digest
    }

    fn add_group(&mut self, position: u32, sealed: u32, shape: GroupShape) {
        let GroupShape { plain, compression } = shape;
        let numbers = [position, sealed, plain, u32::from(compression.number())];
        self.add(&[], numbers);
    }

    fn add_member(&mut self, position: u32, offset: u32, member: &Member) {
        self.add(&member.name.0, [position, offset, member.length, 0]);
    }

    fn add(&mut self, name: &[u8], numbers: [u32; 4]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(name);
        hasher.update(numbers.map(u32::to_be_bytes).as_flattened());
        let hash = hasher.finalize();
        let part = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        self.0 = self.0.wrapping_add(u128::from_be_bytes(part));
    }
}

/// Where the groups of packs begin in an index: a group's pack and which of the pack's groups it is.
struct Firsts(Vec<(u32, u32)>);

impl Firsts {
    fn find(&self, group: u32) -> Option<(u32, u32)> {
        let at = self.0.partition_point(|(first, _)| *first <= group).checked_sub(1)?;
        let (first, pack) = self.0.get(at)?;
        Some((*pack, group - first))
    }
}

/// The digest of every pack of the index, in the order of its packs: 16 bytes and 8 for each pack.
pub(crate) fn digests(index: &dyn ChunkIndex) -> Result<Vec<PackDigest>, RepositoryError> {
    let mut digests = vec![PackDigest::default(); index.pack_count()];
    let mut firsts = Firsts(Vec::new());
    index.each_group(&mut |number, group| {
        if firsts.0.last().is_none_or(|(_, pack)| *pack != group.pack) {
            firsts.0.push((number, group.pack));
        }
        if let Some(digest) = digests.get_mut(group.pack as usize) {
            digest.add_group(group.position, group.sealed, group.shape);
        }
    })?;
    index.each_place(&mut |place| {
        let Some((pack, position)) = firsts.find(place.group) else { return };
        if let Some(digest) = digests.get_mut(pack as usize) {
            let member = Member { name: place.name, length: place.length };
            digest.add_member(position, place.offset, &member);
        }
    })?;
    Ok(digests)
}

/// What these packs hold as far as the index knows: 36 bytes a chunk, so only a few should be asked for.
pub(crate) fn summaries(
    index: &dyn ChunkIndex,
    packs: &[u32],
) -> Result<Vec<PackSummary>, RepositoryError> {
    let mut summaries: HashMap<u32, PackSummary> = HashMap::new();
    for number in packs {
        let pack = index
            .pack(*number)?
            .ok_or(RepositoryError::Bug("a pack that the index does not know"))?;
        let directory = Directory { groups: Vec::new() };
        let summary = PackSummary { id: pack.id, length: pack.length, directory };
        summaries.insert(*number, summary);
    }
    // The members of each group that is asked for, with where they lie in it.
    let mut members: HashMap<u32, Vec<(u32, Member)>> = HashMap::new();
    index.each_group(&mut |number, group| {
        if summaries.contains_key(&group.pack) {
            members.insert(number, Vec::new());
        }
    })?;
    index.each_place(&mut |place| {
        if let Some(members) = members.get_mut(&place.group) {
            members.push((place.offset, Member { name: place.name, length: place.length }));
        }
    })?;
    index.each_group(&mut |number, group| {
        let Some(summary) = summaries.get_mut(&group.pack) else { return };
        let mut members = members.remove(&number).unwrap_or_default();
        members.sort_unstable_by_key(|(offset, _)| *offset);
        let members = members.into_iter().map(|(_, member)| member).collect();
        let GroupShape { plain, compression } = group.shape;
        let group = DirectoryGroup { sealed: group.sealed, plain, compression, members };
        summary.directory.groups.push(group);
    })?;
    Ok(packs.iter().filter_map(|number| summaries.remove(number)).collect())
}
