//! A folder of this machine as the target of a restore.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use custody_entries::{
    Entry, EntryKind, FileWriter, Landing, Metadata, Target, TargetError, Warning, display_path,
};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, syncfs};
use rustix::io::{self, Errno};

use crate::dress::dress;
use crate::entering::{Entered, enter};
use crate::error::{ends_restore, reason, target_code};
use crate::file_writer::RestoredFile;
use crate::folder::{Folder, OPEN_FOLDER, OpenFolders};
use crate::handle::Handle;
use crate::linking;
use crate::policy::{Decision, Overwrite, OwnerPolicy, decide, is_same_file};
use crate::restoration::Restoration;
use crate::site::Site;
use crate::special;
use crate::status::Status;
use crate::temporary;

/// How a restore deals with what it finds and may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    /// What it may overwrite.
    pub overwrite: Overwrite,
    /// Whom files are given to.
    pub owner: OwnerPolicy,
}

/// A folder that entries are restored into. After the last entry, [`FolderTarget::complete`] ends
/// the restore.
pub struct FolderTarget {
    restoration: Arc<Restoration>,
    top: Arc<Site>,
    /// The folders entered below the top, outermost first.
    entered: Vec<Arc<Site>>,
    /// Whether the top was made for this restore, so that it takes on the source's metadata.
    owns_top: bool,
    root: Option<Metadata>,
}

/// What became of the place of an entry: free to be taken, or settled already.
enum Place {
    Free { replace: bool },
    Settled(Landing),
}

impl FolderTarget {
    /// Opens the folder at `path`, made if missing. The operator named it, so links in `path` are
    /// followed; from there on none is. What a killed restore left half-written in it is removed.
    ///
    /// # Errors
    /// `TargetRefused` if it is no folder, cannot be made or cannot be written to; `TargetFull`.
    pub fn open(path: &Path, options: TargetOptions) -> Result<Self, TargetError> {
        let open = || -> io::Result<Self> {
            make_top(path)?;
            let descriptor =
                openat(CWD, path, OPEN_FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
            accessat(&descriptor, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
            Self::over(descriptor, options)
        };
        open().map_err(|errno| {
            let path = path.as_os_str().as_bytes();
            let message = format!("cannot restore to {}: {}", display_path(path), reason(errno));
            let refused = TargetError { code: target_code::REFUSED, message };
            ends_restore(errno, path).err().unwrap_or(refused)
        })
    }

    fn over(descriptor: OwnedFd, options: TargetOptions) -> io::Result<Self> {
        let is_empty = temporary::sweep(&descriptor)?;
        let owns_top = is_empty || temporary::is_unfinished(&descriptor);
        let folder = Folder::top(descriptor, None, &Arc::new(OpenFolders::default()))?;
        Ok(Self {
            restoration: Arc::new(Restoration::new(options)),
            top: Arc::new(Site { folder, parent: None, metadata: None, is_fresh: is_empty }),
            entered: Vec::new(),
            owns_top,
            root: None,
        })
    }

    /// Ends the restore once every folder was left and every file finished: gives the top itself
    /// the source's metadata, if it was made (or empty) for this restore. What stood before keeps
    /// its own: restoring into `/tmp` must not change `/tmp`.
    pub fn complete(&mut self) -> Vec<Warning> {
        if let (Some(root), Ok(open)) = (self.root.take(), self.top.folder.descriptor()) {
            temporary::mark_finished(&*open);
            let handle = Handle::open(&*open);
            self.restoration.tally.keep(dress(&self.restoration, &handle, &root, false, &Vec::new));
        }
        self.take_warnings()
    }

    /// Waits until everything restored is on the disk.
    ///
    /// # Errors
    /// `TargetFull` or `TargetFailed` if the disk did not take it.
    pub fn sync(&self) -> Result<(), TargetError> {
        self.top.folder.descriptor().and_then(syncfs_of).map_err(|errno| {
            let message = format!("the restored files may not be on disk: {}", reason(errno));
            let failed = TargetError { code: target_code::FAILED, message };
            ends_restore(errno, b".").err().unwrap_or(failed)
        })
    }

    /// How often each warning was given, those beyond the first thousand of a code included.
    pub fn warning_counts(&self) -> BTreeMap<&'static str, u64> {
        self.restoration.tally.counts()
    }

    fn site(&self) -> Arc<Site> {
        Arc::clone(self.entered.last().unwrap_or(&self.top))
    }

    /// Keeps a warning about an entry.
    fn warn(&self, site: &Site, entry: &Entry, code: &'static str, message: String) -> Landing {
        let path = || site.path_of(&entry.name);
        self.restoration.tally.keep(self.restoration.tally.note(code, path, message));
        Landing::Skipped
    }

    /// Ends the restore, or skips the entry with a warning.
    fn refuse(&self, site: &Site, entry: &Entry, errno: Errno) -> Result<Landing, TargetError> {
        ends_restore(errno, &site.path_of(&entry.name))?;
        let (code, message) = match (errno, &entry.kind) {
            (Errno::EXIST | Errno::ISDIR | Errno::NOTDIR, _) => return Ok(self.keep(site, entry)),
            (Errno::PERM, EntryKind::BlockDevice(_) | EntryKind::CharDevice(_)) => {
                (target_code::DEVICE_NOT_MADE, "device nodes take a privilege".to_owned())
            }
            _ => (target_code::ENTRY_REFUSED, format!("it was not restored: {}", reason(errno))),
        };
        Ok(self.warn(site, entry, code, message))
    }

    fn keep(&self, site: &Site, entry: &Entry) -> Landing {
        let message = "something else stands there and was kept".to_owned();
        self.warn(site, entry, target_code::EXISTS, message);
        Landing::Kept
    }

    /// Looks at what stands where an entry belongs and decides by the policy.
    fn place_for(
        &self,
        site: &Site,
        entry: &Entry,
        is_same: impl FnOnce(&OwnedFd, &Status) -> bool,
    ) -> io::Result<Place> {
        let overwrite = self.restoration.options.overwrite;
        if site.is_fresh {
            return Ok(Place::Free { replace: false });
        }
        let folder = site.folder.descriptor()?;
        let existing = match Status::of(&*folder, entry.name.as_bytes()) {
            Ok(existing) => existing,
            Err(Errno::NOENT) => return Ok(Place::Free { replace: false }),
            Err(errno) => return Err(errno),
        };
        let is_same = is_same(&folder, &existing);
        Ok(match decide(overwrite, &existing, entry.metadata.modified, is_same) {
            Decision::Replace => Place::Free { replace: true },
            Decision::Keep => Place::Settled(Landing::Kept),
            Decision::KeepDifferent => Place::Settled(self.keep(site, entry)),
        })
    }
}

impl Target for FolderTarget {
    fn root(&mut self, metadata: &Metadata) -> Result<(), TargetError> {
        if self.owns_top {
            self.root = Some(metadata.clone());
            if let Ok(open) = self.top.folder.descriptor() {
                temporary::mark_unfinished(&*open);
            }
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Entry) -> Result<Landing, TargetError> {
        let site = self.site();
        let may_replace = self.restoration.options.overwrite == Overwrite::Always;
        let entered = match enter(&site, folder, may_replace) {
            Ok(entered) => entered,
            Err(errno) => return self.refuse(&site, folder, errno).map(|_| Landing::Skipped),
        };
        match entered {
            Entered::Folder { descriptor, place, is_fresh } => {
                let folder_below = site.folder.child(folder.name.clone(), descriptor, place);
                self.entered.push(Arc::new(Site {
                    folder: folder_below,
                    parent: Some(site),
                    metadata: Some(folder.metadata.clone()),
                    is_fresh,
                }));
                Ok(if is_fresh { Landing::Made } else { Landing::Kept })
            }
            Entered::Link => {
                let message =
                    "a symbolic link stands where a folder is needed; it was not followed";
                Ok(self.warn(&site, folder, target_code::LINK_IN_THE_WAY, message.to_owned()))
            }
            Entered::Other => {
                let message = "something else stands where a folder is needed and was kept";
                Ok(self.warn(&site, folder, target_code::EXISTS, message.to_owned()))
            }
        }
    }

    fn leave(&mut self) -> Result<(), TargetError> {
        if let Some(site) = self.entered.pop() {
            site.folder.reopen_parent();
            Site::release(site, &self.restoration);
        }
        Ok(())
    }

    fn file(&mut self, file: &Entry) -> Result<Option<Box<dyn FileWriter>>, TargetError> {
        let site = self.site();
        let EntryKind::File { size } = file.kind else {
            return self.refuse(&site, file, Errno::INVAL).map(|_| None);
        };
        let begin = || -> io::Result<Option<RestoredFile>> {
            let is_same =
                |_: &OwnedFd, there: &Status| is_same_file(there, &file.kind, &file.metadata);
            match self.place_for(&site, file, is_same)? {
                Place::Settled(_) => Ok(None),
                Place::Free { replace } => {
                    RestoredFile::begin(&self.restoration, &site, file, size, replace).map(Some)
                }
            }
        };
        match begin() {
            Ok(Some(writer)) => Ok(Some(Box::new(writer))),
            Ok(None) => Ok(None),
            Err(errno) => self.refuse(&site, file, errno).map(|_| None),
        }
    }

    fn hard_link(&mut self, entry: &Entry, earlier: &[u8]) -> Result<Landing, TargetError> {
        let site = self.site();
        let found = match linking::find(&self.top.folder, earlier, entry) {
            Ok(found) => found,
            Err(why) => {
                let message = format!("no hard link to {}: {why}", display_path(earlier));
                return Ok(self.warn(&site, entry, target_code::LINK_NOT_MADE, message));
            }
        };
        let link = || -> io::Result<Landing> {
            let is_same = |_: &OwnedFd, there: &Status| found.place == there.place();
            match self.place_for(&site, entry, is_same)? {
                Place::Settled(landing) => Ok(landing),
                Place::Free { replace } => {
                    found.link(&self.restoration, &*site.folder.descriptor()?, entry, replace)?;
                    Ok(Landing::Made)
                }
            }
        };
        link().or_else(|errno| self.refuse(&site, entry, errno))
    }

    fn other(&mut self, entry: &Entry) -> Result<Landing, TargetError> {
        let site = self.site();
        let make = || -> io::Result<Landing> {
            let is_same = |folder: &OwnedFd, there: &Status| special::is_same(folder, entry, there);
            match self.place_for(&site, entry, is_same)? {
                Place::Settled(landing) => Ok(landing),
                Place::Free { replace } => {
                    let warnings = special::make(&self.restoration, &site, entry, replace)?;
                    self.restoration.tally.keep(warnings);
                    Ok(Landing::Made)
                }
            }
        };
        make().or_else(|errno| self.refuse(&site, entry, errno))
    }

    fn take_warnings(&mut self) -> Vec<Warning> {
        self.restoration.tally.take()
    }
}

impl Drop for FolderTarget {
    /// Lets go of the folders innermost first: a tree may be deeper than the stack. Those that were
    /// not left keep the restoring user's permissions; a resumed restore completes them.
    fn drop(&mut self) {
        while self.entered.pop().is_some() {}
    }
}

/// Makes the top, readable to the restoring user alone until the restore is complete.
fn make_top(path: &Path) -> io::Result<()> {
    let make = || -> std::io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(path)
    };
    make().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn syncfs_of(descriptor: Arc<OwnedFd>) -> io::Result<()> {
    syncfs(&*descriptor)
}
