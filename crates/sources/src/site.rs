//! A folder being restored, until everything in it stands.

use std::sync::Arc;

use custody_entries::{EntryName, Metadata};

use crate::dress::dress;
use crate::error::{reason, target_code};
use crate::folder::Folder;
use crate::handle::Handle;
use crate::restoration::Restoration;
use crate::temporary;

/// A folder being restored. Whoever still works in it holds it: the target until it is left, every
/// file being written in it, every folder in it. The last one to let go sets its metadata, so files
/// may be finished on other threads and after the folder was left.
pub(crate) struct Site {
    pub(crate) folder: Arc<Folder>,
    pub(crate) parent: Option<Arc<Site>>,
    /// What to set at the end; nothing for the top, which the target sets itself.
    pub(crate) metadata: Option<Metadata>,
    /// Whether it was made empty by this restore, so that nothing can stand in the way in it.
    pub(crate) is_fresh: bool,
    /// Whether a restore that was killed left large files in it, half written.
    pub(crate) has_remains: bool,
}

impl Site {
    /// The path below the top of an entry in it.
    pub(crate) fn path_of(&self, name: &EntryName) -> Vec<u8> {
        self.folder.path_of(name.as_bytes())
    }

    /// Lets go of a folder and, if nobody else works in it, completes it and those above.
    pub(crate) fn release(site: Arc<Self>, restoration: &Restoration) {
        let mut next = Some(site);
        while let Some(site) = next.and_then(Arc::into_inner) {
            site.complete(restoration);
            next = site.parent;
        }
    }

    fn complete(&self, restoration: &Restoration) {
        if self.has_remains
            && !restoration.is_suspended()
            && let Ok(open) = self.folder.descriptor()
        {
            temporary::sweep_large(&*open);
        }
        let Some(metadata) = &self.metadata else { return };
        let path = || self.folder.own_path();
        let warnings = match self.folder.descriptor() {
            Ok(open) => dress(restoration, &Handle::open(&*open), metadata, false, &path),
            Err(errno) => {
                let message = format!("its metadata were not set: {}", reason(errno));
                let code = target_code::MODE_NOT_SET;
                restoration.tally.note(code, path, message).into_iter().collect()
            }
        };
        restoration.tally.keep(warnings);
    }
}
