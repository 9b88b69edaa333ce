//! Which points hold what: the listings of several points walked side by side.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;

use custody_entries::{Entry, EntryKind, EntryName, Flow};

use crate::RepositoryError;
use crate::check::keep_going;
use crate::content::Content;
use crate::listing::{Body, Node};
use crate::point::PointId;
use crate::progress::Progress;
use crate::read::ChunkReader;
use crate::repository::Repository;
use crate::restore::below;

/// What is looked for, and where.
pub struct Search<'s> {
    /// The points to look into, oldest first.
    pub points: &'s [PointId],
    /// Whether an entry at this path is meant. Folders that are not are looked into as well.
    pub matches: &'s dyn Fn(&[u8], &EntryKind) -> bool,
    /// Whether only the newest version of each path is wanted.
    pub newest: bool,
}

/// Points that follow each other in [`Search::points`], by their places there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The oldest.
    pub first: usize,
    /// The newest.
    pub last: usize,
}

/// What a search comes upon.
#[derive(Clone, Debug, PartialEq)]
pub enum Lead<'l> {
    /// An entry that is meant.
    Found(&'l Entry),
    /// The listing of the folder is damaged: what lies in it was not looked at.
    Unreadable(&'l RepositoryError),
}

/// Where in the points something is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'f> {
    /// Its path.
    pub path: &'f [u8],
    /// What it is.
    pub lead: Lead<'f>,
    /// The points in which it is so, oldest first.
    pub spans: &'f [Span],
}

/// What a search found, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindTotals {
    /// Paths that are meant.
    pub paths: u64,
    /// Versions of them: with another kind, size or modification time.
    pub versions: u64,
    /// Folder listings that could not be read.
    pub unreadable: u64,
}

impl Repository {
    /// Tells `visit` every version of every entry that is meant, depth first and by name, the newest
    /// version first. A folder's listing is read once for all points that have it so. In memory is,
    /// of each folder from the top down to the place, what is meant in it and its folders. The walk
    /// ends early where `visit` says so.
    ///
    /// # Errors
    /// [`RepositoryError::PointNotFound`], [`RepositoryError::Cancelled`].
    pub fn find(
        &self,
        search: &Search<'_>,
        progress: &dyn Progress,
        visit: &mut dyn FnMut(&Found<'_>) -> Flow,
    ) -> Result<FindTotals, RepositoryError> {
        self.read_points(search.points, |points, reader| {
            let mut roots = Variants::default();
            for (at, point) in points.iter().enumerate() {
                roots.add(&point.root, &[Span { first: at, last: at }]);
            }
            let totals = FindTotals::default();
            let mut walk = Walk { search, reader, visit, totals, stack: Vec::new() };
            let mut flow = walk.enter(Vec::new(), &roots)?;
            while flow == Flow::Continue && !walk.stack.is_empty() {
                keep_going(self, progress)?;
                flow = walk.step()?;
            }
            Ok(walk.totals)
        })
    }
}

/// A walk through all points at once, without recursion: a tree may be deeper than a stack.
struct Walk<'w, 'r> {
    search: &'w Search<'w>,
    reader: &'w ChunkReader<'r>,
    visit: &'w mut dyn FnMut(&Found<'_>) -> Flow,
    totals: FindTotals,
    stack: Vec<Level>,
}

/// A folder on the way to the place, with what is left in it.
struct Level {
    path: Vec<u8>,
    names: IntoIter<EntryName, Name>,
}

/// What the points have under one name.
#[derive(Default)]
struct Name {
    /// What is meant, in its versions.
    versions: Vec<(Entry, Vec<Span>)>,
    /// The listings of what is a folder.
    listings: Variants,
}

/// Listings with the points that have them.
#[derive(Default)]
struct Variants(Vec<(Content, Vec<Span>)>);

impl Walk<'_, '_> {
    fn step(&mut self) -> Result<Flow, RepositoryError> {
        let Some(level) = self.stack.last_mut() else { return Ok(Flow::Stop) };
        let Some((name, found)) = level.names.next() else {
            self.stack.pop();
            return Ok(Flow::Continue);
        };
        let path = below(&level.path, &name);
        match self.tell_versions(&path, found.versions) {
            Flow::Continue => self.enter(path, &found.listings),
            Flow::Stop => Ok(Flow::Stop),
        }
    }

    fn tell_versions(&mut self, path: &[u8], mut versions: Vec<(Entry, Vec<Span>)>) -> Flow {
        versions.sort_by_key(|(_, spans)| std::cmp::Reverse(spans.last().map(|span| span.last)));
        if self.search.newest {
            versions.truncate(1);
        }
        self.totals.paths += u64::from(!versions.is_empty());
        for (entry, spans) in &versions {
            self.totals.versions += 1;
            let found = Found { path, lead: Lead::Found(entry), spans };
            if (self.visit)(&found) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    /// Looks into a folder in all the forms that it has in the points.
    fn enter(&mut self, path: Vec<u8>, listings: &Variants) -> Result<Flow, RepositoryError> {
        let mut names: BTreeMap<EntryName, Name> = BTreeMap::new();
        for (content, spans) in &listings.0 {
            match self.reader.listing(content) {
                Ok(nodes) => {
                    for node in nodes {
                        self.sort_in(&mut names, &path, node, spans);
                    }
                }
                Err(error) if error.is_local() => {
                    self.totals.unreadable += 1;
                    let found = Found { path: &path, lead: Lead::Unreadable(&error), spans };
                    if (self.visit)(&found) == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.stack.push(Level { path, names: names.into_iter() });
        Ok(Flow::Continue)
    }

    /// Keeps of an entry what is needed of it: nothing, if it is neither meant nor a folder.
    fn sort_in(
        &self,
        names: &mut BTreeMap<EntryName, Name>,
        folder: &[u8],
        node: Node,
        spans: &[Span],
    ) {
        let entry = node.entry;
        let is_meant = (self.search.matches)(&below(folder, &entry.name), &entry.kind);
        let listing = match node.body {
            Body::Folder(content) => Some(content),
            Body::File { .. } | Body::None => None,
        };
        if !is_meant && listing.is_none() {
            return;
        }
        let name = names.entry(entry.name.clone()).or_default();
        if let Some(content) = &listing {
            name.listings.add(content, spans);
        }
        if !is_meant {
            return;
        }
        let known = name.versions.iter_mut().find(|(known, _)| is_one_version(known, &entry));
        match known {
            Some((_, known)) => join(known, spans),
            None => name.versions.push((entry, spans.to_vec())),
        }
    }
}

impl Variants {
    /// Adds the points that have this listing. The one before is the likeliest to be the same.
    fn add(&mut self, content: &Content, spans: &[Span]) {
        match self.0.iter_mut().rev().find(|(known, _)| known == content) {
            Some((_, known)) => join(known, spans),
            None => self.0.push((content.clone(), spans.to_vec())),
        }
    }
}

fn is_one_version(one: &Entry, other: &Entry) -> bool {
    one.kind == other.kind && one.metadata.modified == other.metadata.modified
}

/// Adds spans that overlap with none of those known; neighbours become one.
fn join(known: &mut Vec<Span>, more: &[Span]) {
    known.extend_from_slice(more);
    known.sort_unstable_by_key(|span| span.first);
    known.dedup_by(|next, before| {
        let adjoins = before.last + 1 == next.first;
        if adjoins {
            before.last = next.last;
        }
        adjoins
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_span() {
        let check = |known: &[(usize, usize)], more: &[(usize, usize)], all: &[(usize, usize)]| {
            let spans = |pairs: &[(usize, usize)]| -> Vec<Span> {
                pairs.iter().map(|&(first, last)| Span { first, last }).collect()
            };
            let mut known = spans(known);
            join(&mut known, &spans(more));
            assert_eq!(known, spans(all));
        };
        check(&[], &[(3, 4)], &[(3, 4)]);
        check(&[(0, 2)], &[(3, 3)], &[(0, 3)]);
        check(&[(0, 2)], &[(4, 4)], &[(0, 2), (4, 4)]);
        check(&[(0, 0), (2, 2)], &[(1, 1), (5, 6)], &[(0, 2), (5, 6)]);
        check(&[(7, 9)], &[(0, 1), (6, 6)], &[(0, 1), (6, 9)]);
    }
}
