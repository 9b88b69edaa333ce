//! What differs between two points, told while the listings of both are walked side by side.

mod pairs;

use std::vec::IntoIter;

use custody_entries::{Entry, EntryKind, Flow};

use crate::RepositoryError;
use crate::check::keep_going;
use crate::content::Content;
use crate::listing::{Body, Node};
use crate::point::{Point, PointId};
use crate::progress::Progress;
use crate::read::ChunkReader;
use crate::repository::{self, Repository};
use crate::restore::below;
use pairs::{Pair, compare, compare_metadata, pair_up};

/// Something that differs between two entries of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Aspect {
    /// What kind of entry it is.
    Kind,
    /// The bytes of a file, as its chunks tell.
    Content,
    /// Where a symbolic link points.
    Target,
    /// The number of a device node.
    Device,
    /// Permission bits.
    Mode,
    /// Owner or group, by number or name.
    Owner,
    /// The time of the last modification.
    Modified,
    /// Extended attributes, access control lists among them.
    Attributes,
    /// How many names a file has.
    Links,
}

impl Aspect {
    /// Its name on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Modified => "modified",
            Self::Attributes => "attributes",
            Self::Links => "links",
        }
    }

    /// Whether it is of what the entry holds, not of its metadata.
    pub fn is_of_content(self) -> bool {
        matches!(self, Self::Kind | Self::Content | Self::Target | Self::Device)
    }
}

/// How a path differs.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<'c> {
    /// Only the newer point has it.
    Added(&'c Entry),
    /// Only the older point has it.
    Removed(&'c Entry),
    /// Both have it, and it is not the same.
    Changed {
        /// As the older point has it.
        old: &'c Entry,
        /// As the newer point has it.
        new: &'c Entry,
        /// In what it differs.
        aspects: &'c [Aspect],
    },
    /// The same file or folder with the same content, under another name in the same folder.
    Renamed {
        /// The path that the older point has it under.
        from: &'c [u8],
        /// As the newer point has it.
        new: &'c Entry,
        /// In what else it differs.
        aspects: &'c [Aspect],
    },
    /// The top folder of the points has other metadata.
    Top(&'c [Aspect]),
    /// The listing of the folder is damaged in either point: what lies in it was not compared.
    Unreadable(&'c RepositoryError),
}

/// Entries of one sort and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of entries.
    pub entries: u64,
    /// Length of the files among them in bytes, holes included.
    pub bytes: u64,
}

/// What a comparison found, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffTotals {
    /// Only the newer point has these.
    pub added: Tally,
    /// Only the older point has these.
    pub removed: Tally,
    /// These hold something else; bytes as the newer point has them.
    pub changed: Tally,
    /// Of these, the metadata alone differ.
    pub metadata: Tally,
    /// These have another name.
    pub renamed: Tally,
    /// Folders that could not be compared.
    pub unreadable: u64,
}

impl Repository {
    /// Tells `visit` with its path every entry at or below `path` (everything, if it is empty) that
    /// `new` has otherwise than `old`, depth first and by name. Subtrees with one listing in both are
    /// not read. In memory are the listings of the folders from the top down to the place. The walk
    /// ends early where `visit` says so.
    ///
    /// What a backup notes but a restore does not give back (inode, time of change) is not compared,
    /// nor the modification time of a folder in which something differs. Entries that went from one
    /// folder to another are told as removed and added.
    ///
    /// # Errors
    /// [`RepositoryError::PointNotFound`]; [`RepositoryError::PathNotFound`] if neither point has the
    /// path; [`RepositoryError::Cancelled`].
    pub fn diff(
        &self,
        old: PointId,
        new: PointId,
        path: &[u8],
        progress: &dyn Progress,
        visit: &mut dyn FnMut(&[u8], Change<'_>) -> Flow,
    ) -> Result<DiffTotals, RepositoryError> {
        self.read_points(&[old, new], |points, reader| {
            let [old, new] = points else {
                return Err(RepositoryError::Bug("two points were asked for"));
            };
            let mut walk = Walk { reader, visit, totals: DiffTotals::default(), stack: Vec::new() };
            let mut flow = walk.begin(old, new, path)?;
            while flow == Flow::Continue && !walk.stack.is_empty() {
                keep_going(self, progress)?;
                flow = walk.step()?;
            }
            Ok(walk.totals)
        })
    }
}

/// A walk through both points at once, without recursion: a tree may be deeper than a stack.
struct Walk<'w, 'r> {
    reader: &'w ChunkReader<'r>,
    visit: &'w mut dyn FnMut(&[u8], Change<'_>) -> Flow,
    totals: DiffTotals,
    stack: Vec<Level>,
}

/// A folder on the way to the place, with what is left to compare in it.
struct Level {
    path: Vec<u8>,
    pairs: IntoIter<Pair>,
}

impl Walk<'_, '_> {
    fn begin(&mut self, old: &Point, new: &Point, path: &[u8]) -> Result<Flow, RepositoryError> {
        if path.iter().all(|byte| *byte == b'/') {
            return self.begin_at_top(old, new);
        }
        let find = |point| match repository::find(point, path, self.reader) {
            Err(RepositoryError::PathNotFound(_)) => Ok(None),
            found => found.map(Some),
        };
        let pair = Pair { old: find(old)?, new: find(new)? };
        if pair.old.is_none() && pair.new.is_none() {
            return Err(RepositoryError::PathNotFound(path.escape_ascii().to_string()));
        }
        let names: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let above = names.split_last().map(|(_, above)| above.join(&b'/')).unwrap_or_default();
        self.stack.push(Level { path: above, pairs: vec![pair].into_iter() });
        Ok(Flow::Continue)
    }

    fn begin_at_top(&mut self, old: &Point, new: &Point) -> Result<Flow, RepositoryError> {
        if let (Some(old_top), Some(new_top)) = (&old.top, &new.top) {
            let same_listing = old.root == new.root;
            let mut aspects = compare_metadata(old_top, new_top);
            aspects.retain(|aspect| *aspect != Aspect::Modified || same_listing);
            if !aspects.is_empty() && self.tell(&[], &Change::Top(&aspects)) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        self.enter(Vec::new(), Some(&old.root), Some(&new.root))
    }

    fn step(&mut self) -> Result<Flow, RepositoryError> {
        let Some(level) = self.stack.last_mut() else { return Ok(Flow::Stop) };
        let Some(pair) = level.pairs.next() else {
            self.stack.pop();
            return Ok(Flow::Continue);
        };
        let place = |node: &Node| below(&level.path, &node.entry.name);
        let (path, flow) = match (&pair.old, &pair.new) {
            (Some(old), Some(new)) => {
                let (from, path, aspects) = (place(old), place(new), compare(old, new));
                let (old, new, aspects) = (&old.entry, &new.entry, aspects.as_slice());
                if old.name != new.name {
                    let from = from.as_slice();
                    return Ok(self.tell(&path, &Change::Renamed { from, new, aspects }));
                }
                let flow = match aspects {
                    [] => Flow::Continue,
                    _ => self.tell(&path, &Change::Changed { old, new, aspects }),
                };
                (path, flow)
            }
            (Some(old), None) => {
                let path = place(old);
                let flow = self.tell(&path, &Change::Removed(&old.entry));
                (path, flow)
            }
            (None, Some(new)) => {
                let path = place(new);
                let flow = self.tell(&path, &Change::Added(&new.entry));
                (path, flow)
            }
            (None, None) => return Ok(Flow::Continue),
        };
        match flow {
            Flow::Continue => {
                self.enter(path, folder(pair.old.as_ref()), folder(pair.new.as_ref()))
            }
            Flow::Stop => Ok(Flow::Stop),
        }
    }

    /// Steps into what is a folder in either point, unless it has one listing in both.
    fn enter(
        &mut self,
        path: Vec<u8>,
        old: Option<&Content>,
        new: Option<&Content>,
    ) -> Result<Flow, RepositoryError> {
        if old == new {
            return Ok(Flow::Continue);
        }
        let read = |content: Option<&Content>| {
            content.map_or(Ok(Vec::new()), |content| self.reader.listing(content))
        };
        match read(old).and_then(|old| Ok((old, read(new)?))) {
            Ok((old, new)) => self.stack.push(Level { path, pairs: pair_up(old, new).into_iter() }),
            Err(error) if error.is_local() => {
                return Ok(self.tell(&path, &Change::Unreadable(&error)));
            }
            Err(error) => return Err(error),
        }
        Ok(Flow::Continue)
    }

    fn tell(&mut self, path: &[u8], change: &Change<'_>) -> Flow {
        let totals = &mut self.totals;
        match change {
            Change::Added(entry) => totals.added.count(entry),
            Change::Removed(entry) => totals.removed.count(entry),
            Change::Renamed { new, .. } => totals.renamed.count(new),
            Change::Changed { new, aspects, .. } => {
                let of_content = aspects.iter().any(|aspect| aspect.is_of_content());
                let sort = if of_content { &mut totals.changed } else { &mut totals.metadata };
                sort.count(new);
            }
            Change::Top(_) => totals.metadata.entries += 1,
            Change::Unreadable(_) => totals.unreadable += 1,
        }
        (self.visit)(path, change.clone())
    }
}

impl Tally {
    fn count(&mut self, entry: &Entry) {
        self.entries += 1;
        if let EntryKind::File { size } = entry.kind {
            self.bytes = self.bytes.saturating_add(size);
        }
    }
}

/// The listing of what is a folder.
fn folder(node: Option<&Node>) -> Option<&Content> {
    match &node?.body {
        Body::Folder(content) => Some(content),
        Body::File { .. } | Body::None => None,
    }
}
