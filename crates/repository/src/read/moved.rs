//! Chunks that a prune moves while somebody reads: the log is read again, and what it says now counts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::{ChunkBytes, ChunkReader, locked};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index::ChunkIndex;
use crate::log::History;
use crate::repository::Repository;

/// How often a chunk is looked for anew because a prune went on once more.
const RENEWALS_MAX: u32 = 3;

/// Knows of chunks that are not where an index says.
pub(super) trait Elsewhere: Sync {
    /// The chunk, if it was moved.
    fn chunk(
        &self,
        name: &ChunkName,
        reader: &ChunkReader<'_>,
    ) -> Result<Option<ChunkBytes>, RepositoryError>;
}

/// What is known of a repository since reading began.
pub(super) struct Moved<'r> {
    repository: &'r Repository,
    newest: Mutex<Newest<'r>>,
}

struct Newest<'r> {
    history: Arc<History>,
    /// None as long as it is the index that reading began with.
    index: Option<Arc<dyn ChunkIndex + 'r>>,
}

impl<'r> Moved<'r> {
    /// Reading began with this history.
    pub(super) fn since(repository: &'r Repository, history: Arc<History>) -> Self {
        Self { repository, newest: Mutex::new(Newest { history, index: None }) }
    }

    /// The newest index, if it is another than reading began with, and whether it was not known.
    fn renewed(&self) -> Result<(Option<Arc<dyn ChunkIndex + 'r>>, bool), RepositoryError> {
        let mut newest = locked(&self.newest);
        let now = self.repository.history()?;
        let is_new = !now.keeps_all_of(&newest.history);
        if is_new {
            newest.index = Some(Arc::from(self.repository.open_index(&now, &BTreeSet::new())?));
            newest.history = now;
        }
        Ok((newest.index.clone(), is_new))
    }
}

impl Elsewhere for Moved<'_> {
    fn chunk(
        &self,
        name: &ChunkName,
        reader: &ChunkReader<'_>,
    ) -> Result<Option<ChunkBytes>, RepositoryError> {
        let mut tried = false;
        for _ in 0..RENEWALS_MAX {
            let (index, is_new) = self.renewed()?;
            let Some(index) = index.filter(|_| is_new || !tried) else { break };
            let later = ChunkReader::new(reader.store, reader.keys, reader.knife, &*index);
            match later.stored_chunk(name) {
                Err(error) if error.is_local() => tried = true,
                chunk => return chunk.map(Some),
            }
        }
        Ok(None)
    }
}
