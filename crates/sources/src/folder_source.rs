//! Folders and files of this machine as a source.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody_entries::{EntryName, Flow, Sink, Source, SourceError, display_path};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::error::{reason, source_code};
use crate::folder::{Folder, OPEN_FOLDER, OpenFolders};
use crate::marker::Marker;
use crate::patterns::Patterns;
use crate::status::Status;
use crate::summary::WalkSummary;
use crate::walk::Walk;

/// What to leave out of a walk.
#[derive(Clone, Debug, Default)]
pub struct FolderOptions {
    /// Patterns of entries to leave out, in gitignore syntax, relative to the top.
    pub exclude: Vec<String>,
    /// Exceptions to `exclude`, in the same syntax. As in gitignore, what lies in a folder that is
    /// left out stays out.
    pub include: Vec<String>,
    /// Leave out the content of folders on another file system than their path's top.
    pub one_file_system: bool,
    /// Leave out the content of folders tagged as caches (`CACHEDIR.TAG`).
    pub exclude_caches: bool,
    /// Custody's own files and folders by device and inode (`st_dev`, `st_ino`), always left out.
    pub always_excluded: Vec<(u64, u64)>,
    /// What marks a folder as custody's own (a repository, a data folder), always left out.
    pub own_markers: Vec<Marker>,
}

/// One or several paths of this machine. With one path that is a folder, this folder is the top;
/// otherwise the paths lie in a made-up top under their last names.
pub struct FolderSource {
    tops: Vec<Top>,
    rules: Rules,
    summary: WalkSummary,
}

struct Top {
    path: PathBuf,
    /// Its last name; a path like `/` or `..` has none and can only be protected alone.
    name: Option<EntryName>,
}

/// The options in the form the walk uses.
pub(crate) struct Rules {
    pub(crate) patterns: Patterns,
    pub(crate) options: FolderOptions,
}

impl FolderSource {
    /// A source of these paths. They are looked at only by [`Source::walk`].
    ///
    /// # Errors
    /// `SourcePatternInvalid`, `SourceNameClash` if two paths have the same last name,
    /// `SourceNotFound` if there is no path at all or one of several has no last name.
    pub fn new(paths: &[PathBuf], options: FolderOptions) -> Result<Self, SourceError> {
        let mut tops = Vec::new();
        for path in paths {
            let name = path.file_name().map(OsStrExt::as_bytes).map(EntryName::new);
            tops.push(Top { path: path.clone(), name: name.and_then(Result::ok) });
        }
        refuse_unclear_names(&tops)?;
        tops.sort_by(|a, b| a.name.cmp(&b.name));
        let patterns = Patterns::parse(&options.exclude, &options.include)?;
        let rules = Rules { patterns, options };
        Ok(Self { tops, rules, summary: WalkSummary::default() })
    }

    /// What the last walk took and left out.
    pub fn summary(&self) -> &WalkSummary {
        &self.summary
    }
}

impl Source for FolderSource {
    fn walk(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let open_folders = Arc::new(OpenFolders::default());
        // Everything is opened before anything is told, so that a missing path costs nothing.
        let tops: Vec<OpenTop> =
            self.tops.iter().map(OpenTop::open).collect::<Result<_, SourceError>>()?;
        let is_single = tops.len() == 1;
        let mut walk = Walk::new(&self.rules, sink);
        let mut outcome = Ok(());
        for top in tops {
            match top.walk(&mut walk, is_single, &open_folders) {
                Ok(Flow::Continue) => {}
                Ok(Flow::Stop) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.summary = walk.into_summary();
        outcome
    }
}

fn refuse_unclear_names(tops: &[Top]) -> Result<(), SourceError> {
    let error = |code, message| Err(SourceError { code, message });
    if tops.is_empty() {
        return error(source_code::NOT_FOUND, "no path to protect was given".to_owned());
    }
    for (position, top) in tops.iter().enumerate().skip(1) {
        let Some(earlier) = tops.iter().take(position).find(|one| one.name == top.name) else {
            continue;
        };
        let (one, other) = (shown(&earlier.path), shown(&top.path));
        let advice = "protect them as two items, or protect the folder above them";
        let message = format!("{one} and {other} would lie under the same name: {advice}");
        return error(source_code::NAME_CLASH, message);
    }
    match tops.iter().find(|top| tops.len() > 1 && top.name.is_none()) {
        None => Ok(()),
        Some(top) => {
            let path = shown(&top.path);
            let message = format!("{path} has no name of its own: give its full path");
            error(source_code::NOT_FOUND, message)
        }
    }
}

/// A path to protect, opened. The operator named it, so links in it are followed.
enum OpenTop<'a> {
    Folder { top: &'a Top, descriptor: OwnedFd },
    Other { top: &'a Top, parent: OwnedFd, name: EntryName },
}

impl<'a> OpenTop<'a> {
    fn open(top: &'a Top) -> Result<Self, SourceError> {
        let follow = OPEN_FOLDER.difference(OFlags::NOFOLLOW);
        match openat(CWD, &top.path, follow, Mode::empty()) {
            Ok(descriptor) => Ok(Self::Folder { top, descriptor }),
            Err(Errno::NOTDIR) => Self::open_other(top).map_err(|errno| refuse(&top.path, errno)),
            Err(errno) => Err(refuse(&top.path, errno)),
        }
    }

    fn open_other(top: &'a Top) -> rustix::io::Result<Self> {
        let name = top.name.clone().ok_or(Errno::NOTDIR)?;
        let parent = top.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let follow = OPEN_FOLDER.difference(OFlags::NOFOLLOW);
        let parent = openat(CWD, parent, follow, Mode::empty())?;
        Status::of(&parent, name.as_bytes())?;
        Ok(Self::Other { top, parent, name })
    }

    fn walk(
        self,
        walk: &mut Walk<'_>,
        is_single: bool,
        open_folders: &Arc<OpenFolders>,
    ) -> Result<Flow, SourceError> {
        match self {
            Self::Folder { top, descriptor } => {
                let name = if is_single { None } else { top.name.clone() };
                let folder = Folder::top(descriptor, name.clone(), open_folders);
                folder
                    .map_err(|errno| refuse(&top.path, errno))
                    .and_then(|folder| walk.top(folder, name).map_err(|why| why.error(&top.path)))
            }
            Self::Other { top, parent, name } => {
                let folder = Folder::top(parent, None, open_folders);
                let folder = folder.map_err(|errno| refuse(&top.path, errno))?;
                Ok(walk.single(&folder, &name))
            }
        }
    }
}

/// Why the walk of a path could not begin.
pub(crate) enum TopRefused {
    /// The system said no.
    System(Errno),
    /// It is custody's own.
    Own,
}

impl TopRefused {
    fn error(self, path: &Path) -> SourceError {
        match self {
            Self::System(errno) => refuse(path, errno),
            Self::Own => SourceError {
                code: source_code::IS_OWN,
                message: format!("{} is custody's own and cannot be protected", shown(path)),
            },
        }
    }
}

fn refuse(path: &Path, errno: Errno) -> SourceError {
    let path = shown(path);
    match errno {
        Errno::NOENT => {
            SourceError { code: source_code::NOT_FOUND, message: format!("{path} does not exist") }
        }
        _ => SourceError {
            code: source_code::UNREADABLE,
            message: format!("cannot read {path}: {}", reason(errno)),
        },
    }
}

fn shown(path: &Path) -> String {
    display_path(path.as_os_str().as_bytes())
}
