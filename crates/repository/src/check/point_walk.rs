//! Following a point to every chunk that it needs.

use super::inspection::Inspection;
use super::keep_going;
use crate::RepositoryError;
use crate::content::Content;
use crate::index::ChunkIndex;
use crate::listing::{Body, Node};
use crate::needs::SeenFolders;
use crate::object::Family;
use crate::point::PointId;
use crate::read::ChunkReader;
use crate::restore::below;

/// Walks one point.
pub(super) struct PointWalk<'w, 'r, 'c> {
    pub(super) inspection: &'w mut Inspection<'c>,
    pub(super) reader: &'w ChunkReader<'r>,
    pub(super) index: &'w dyn ChunkIndex,
    pub(super) point: PointId,
}

impl PointWalk<'_, '_, '_> {
    /// Walks a point from its root, without recursion: a tree may be deeper than a stack. A
    /// listing known to be sound is not read again, whichever point it was met in.
    pub(super) fn run(
        &mut self,
        root: &Content,
        sound: &mut SeenFolders,
    ) -> Result<(), RepositoryError> {
        let mut stack: Vec<Level> = Vec::new();
        self.enter(root, Vec::new(), sound, &mut stack)?;
        while let Some(level) = stack.last_mut() {
            let Some(node) = level.nodes.next() else {
                if let Some(level) = stack.pop() {
                    if let Some(above) = stack.last_mut() {
                        above.whole &= level.whole;
                    }
                    if level.whole {
                        sound.insert(&level.listing, self.index)?;
                    }
                }
                continue;
            };
            let path = below(&level.path, &node.entry.name);
            match &node.body {
                Body::Folder(content) => self.enter(content, path, sound, &mut stack)?,
                Body::File { content, .. } => level.whole &= self.is_whole(content, &path)?,
                Body::None => {}
            }
        }
        Ok(())
    }

    /// Steps into a folder, unless it is known to be sound or its listing is lost.
    fn enter(
        &mut self,
        content: &Content,
        path: Vec<u8>,
        sound: &SeenFolders,
        stack: &mut Vec<Level>,
    ) -> Result<(), RepositoryError> {
        keep_going(self.inspection.repository, self.inspection.progress)?;
        if sound.hold(content, self.index)? {
            return Ok(());
        }
        let whole = self.is_whole(content, &path)?;
        let nodes = match self.reader.listing(content) {
            Ok(nodes) => nodes,
            Err(error) if error.is_local() => {
                if whole {
                    self.inspection.lost(&object_of(&error), &error, self.point, &path);
                }
                if let Some(above) = stack.last_mut() {
                    above.whole = false;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let listing = content.clone();
        stack.push(Level { listing, nodes: nodes.into_iter(), path, whole });
        Ok(())
    }

    /// Whether every chunk of a content can be relied on; if not, says what that costs.
    fn is_whole(&mut self, content: &Content, path: &[u8]) -> Result<bool, RepositoryError> {
        let mut missing = None;
        let outcome = self.reader.for_each_chunk(content, &mut |name| {
            let good = self.index.reliable_pack(name)?.is_some();
            missing = missing.or((!good).then_some(*name));
            Ok(good)
        });
        match outcome {
            Ok(true) => return Ok(true),
            Err(error) if !error.is_local() => return Err(error),
            Err(error) => self.inspection.lost(&object_of(&error), &error, self.point, path),
            Ok(false) => {
                let places = missing.map(|name| self.index.places(&name)).transpose()?;
                let place = places.unwrap_or_default().first().copied();
                let pack = place.map(|place| self.index.group(&place)).transpose()?.flatten();
                let object = match pack {
                    Some((_, pack)) => Family::Pack.name(pack.id)?.to_string(),
                    None => "a lost pack".to_owned(),
                };
                self.inspection.lost(&object, &"chunks in it are lost", self.point, path);
            }
        }
        Ok(false)
    }
}

struct Level {
    listing: Content,
    nodes: std::vec::IntoIter<Node>,
    path: Vec<u8>,
    whole: bool,
}

fn object_of(error: &RepositoryError) -> String {
    match error {
        RepositoryError::Damaged { object, .. } | RepositoryError::Unreadable { object, .. } => {
            object.clone()
        }
        _ => "an object of the repository".to_owned(),
    }
}
