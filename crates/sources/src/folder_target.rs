//! A folder of this machine as the target of a restore.

mod placing;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use custody_entries::{
    Entry, EntryKind, FilePlace, Landing, Metadata, PlacedFiles, Target, TargetError, Warning,
    display_path,
};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, syncfs};
use rustix::io::{self, Errno};

use crate::dress::dress;
use crate::entering::{Entered, enter};
use crate::error::{ends_restore, reason, target_code};
use crate::folder::{Folder, OPEN_FOLDER, OpenFolders};
use crate::handle::Handle;
use crate::linking;
use crate::placed::PlacedBelow;
use crate::policy::{Overwrite, OwnerPolicy};
use crate::restoration::Restoration;
use crate::site::Site;
use crate::special;
use crate::status::Status;
use crate::temporary::{self, Remains};
use crate::unfinished::{self, Unfinished};

use placing::Place;

/// How a restore deals with what it finds and may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    /// What it may overwrite.
    pub overwrite: Overwrite,
    /// Whom files are given to.
    pub owner: OwnerPolicy,
    /// Whether the content of files that look right is compared before they are taken over.
    pub compare: bool,
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
    /// Whether the mark of an unfinished restore stands, of this one or of an earlier one.
    mark: Mark,
    root: Option<Metadata>,
}

/// Whether the top is marked as one whose restore is not complete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// By an earlier restore, of which nothing was known when it ended.
    Earlier,
    /// By this one.
    Own,
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

    fn over(descriptor: OwnedFd, mut options: TargetOptions) -> io::Result<Self> {
        let Remains { is_empty, has_large } = temporary::sweep(&descriptor)?;
        let earlier = Unfinished::of(&descriptor);
        let owns_top = (is_empty && earlier.is_none()) || earlier.is_some_and(|it| it.owns_top);
        // What a restore wrote before the machine went down may not be what it says it is.
        options.compare |= earlier.is_some_and(|earlier| earlier.is_of_earlier_boot);
        let folder = Folder::top(descriptor, None, &Arc::new(OpenFolders::default()))?;
        Ok(Self {
            restoration: Arc::new(Restoration::new(options, owns_top)),
            top: Arc::new(Site {
                folder,
                parent: None,
                metadata: None,
                is_fresh: is_empty && !has_large,
                has_remains: has_large,
            }),
            entered: Vec::new(),
            owns_top,
            mark: if earlier.is_some() { Mark::Earlier } else { Mark::None },
            root: None,
        })
    }

    /// Ends the restore once every folder was left and every file finished: gives the top itself
    /// the source's metadata, if it was made (or empty) for this restore. What stood before keeps
    /// its own: restoring into `/tmp` must not change `/tmp`.
    pub fn complete(&mut self) -> Vec<Warning> {
        if let Ok(open) = self.top.folder.descriptor() {
            if self.top.has_remains {
                temporary::sweep_large(&*open);
            }
            if self.mark != Mark::None {
                unfinished::unmark(&*open);
            }
            if let Some(root) = self.root.take() {
                let handle = Handle::open(&*open);
                let warnings = dress(&self.restoration, &handle, &root, false, &Vec::new);
                self.restoration.tally.keep(warnings);
            }
        }
        self.take_warnings()
    }

    /// Whether the content of files that look right is compared: it was asked for, or the machine
    /// went down during the restore that this one goes on with.
    pub fn compares(&self) -> bool {
        self.restoration.options.compare
    }

    /// Marks the top as one whose restore is not complete, before the first thing is made in it.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.mark, Mark::Own) != Mark::Own
            && let Ok(open) = self.top.folder.descriptor()
        {
            unfinished::mark(&*open, self.owns_top);
        }
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
}

impl Target for FolderTarget {
    fn root(&mut self, metadata: &Metadata) -> Result<(), TargetError> {
        if self.owns_top {
            self.root = Some(metadata.clone());
            self.begin();
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
            Entered::Folder { descriptor, place, is_fresh, has_remains } => {
                if is_fresh {
                    self.begin();
                }
                let folder_below = site.folder.child(folder.name.clone(), descriptor, place);
                self.entered.push(Arc::new(Site {
                    folder: folder_below,
                    parent: Some(site),
                    metadata: Some(folder.metadata.clone()),
                    is_fresh,
                    has_remains,
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

    fn file(&mut self, file: &Entry) -> Result<FilePlace, TargetError> {
        let site = self.site();
        let EntryKind::File { size } = file.kind else {
            return self.refuse(&site, file, Errno::INVAL).map(|_| FilePlace::Refused);
        };
        self.file_place(&site, file, size).or_else(|errno| {
            let landing = self.refuse(&site, file, errno)?;
            Ok(if landing == Landing::Kept { FilePlace::Kept } else { FilePlace::Refused })
        })
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
        self.begin();
        let link = || -> io::Result<Landing> {
            let is_same = |_: &OwnedFd, there: &Status| found.place == there.place();
            match self.place_for(&site, entry, is_same)? {
                Place::Same => Ok(Landing::Kept),
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
        self.begin();
        let make = || -> io::Result<Landing> {
            let is_strict = self.restoration.options.overwrite == Overwrite::Always;
            let is_same = |folder: &OwnedFd, there: &Status| {
                special::is_same(folder, entry, there)
                    && (!is_strict || special::has_same_metadata(entry, there))
            };
            match self.place_for(&site, entry, is_same)? {
                Place::Same => Ok(Landing::Kept),
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

    fn placed_files(&self) -> Option<Arc<dyn PlacedFiles>> {
        let top = self.top.folder.descriptor().ok()?;
        Some(Arc::new(PlacedBelow(top)))
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
