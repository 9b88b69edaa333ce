//! Folders and files of this machine as a source.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody_entries::{ChangedBlocks, EntryName, Flow, Sink, Source, SourceError, display_path};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::ahead::Ahead;
use crate::device::DeviceContent;
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
    /// What of the one path has changed, if it is an image or a block device and whoever gives it
    /// knows.
    pub changed: Option<ChangedBlocks>,
}

/// One or several paths of this machine; a block device is read as one file. With one path that is a folder, this folder is the top;
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

impl Rules {
    pub(crate) fn of(options: FolderOptions) -> Result<Self, SourceError> {
        let patterns = Patterns::parse(&options.exclude, &options.include)?;
        Ok(Self { patterns, options })
    }

    /// Whether it is one of custody's own files or folders.
    pub(crate) fn is_own(&self, status: &Status) -> bool {
        self.options.always_excluded.contains(&status.place())
    }

    /// Whether a folder's content is left out because it lies on another file system than the top.
    pub(crate) fn is_elsewhere(&self, device: u64, folder: &Status) -> bool {
        self.options.one_file_system && folder.identity.device != device
    }
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
        let rules = Rules::of(options)?;
        Ok(Self { tops, rules, summary: WalkSummary::default() })
    }

    /// A list of changed blocks is of the one image that is read.
    fn refuse_unfit_list(&self, tops: &[OpenTop<'_>]) -> Result<(), SourceError> {
        let Some(changed) = &self.rules.options.changed else { return Ok(()) };
        let size = match tops {
            [OpenTop::Other { top, parent, name }] => image_size(&top.path, parent, name).ok(),
            _ => None,
        };
        let message = match size {
            Some(size) if size == changed.size() => return Ok(()),
            Some(size) => format!(
                "the list of changed blocks is of an image of {} bytes, not of {size}",
                changed.size()
            ),
            None => "a list of changed blocks goes with one image or block device".to_owned(),
        };
        Err(SourceError { code: source_code::HINTS_INVALID, message })
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
        self.refuse_unfit_list(&tops)?;
        let (rules, ahead) = (&self.rules, Ahead::default());
        let (summary, outcome) = std::thread::scope(|scope| {
            let ending = ahead.ending();
            let looking = std::thread::Builder::new().name("look-ahead".to_owned());
            let is_looking = looking.spawn_scoped(scope, || ahead.run(rules)).is_ok();
            let mut walk = Walk::new(rules, sink, is_looking.then_some(&ahead));
            let outcome = walk_tops(tops, &mut walk, &open_folders);
            drop(ending);
            (walk.into_summary(), outcome)
        });
        self.summary = summary;
        outcome
    }
}

fn walk_tops(
    tops: Vec<OpenTop<'_>>,
    walk: &mut Walk<'_>,
    open_folders: &Arc<OpenFolders>,
) -> Result<(), SourceError> {
    let is_single = tops.len() == 1;
    for top in tops {
        if top.walk(walk, is_single, open_folders)? == Flow::Stop {
            break;
        }
    }
    Ok(())
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
            Self::Other { top, parent, name } if is_device(&parent, &name) => {
                let changed = walk.changed().cloned();
                let device = DeviceContent::look_at(&top.path, name.as_bytes(), changed);
                let (device, is_in_use) = device.map_err(|errno| refuse(&top.path, errno))?;
                let folder = Folder::top(parent, None, open_folders);
                let folder = folder.map_err(|errno| refuse(&top.path, errno))?;
                Ok(walk.device(&folder, name, device, is_in_use))
            }
            Self::Other { top, parent, name } => {
                let folder = Folder::top(parent, None, open_folders);
                let folder = folder.map_err(|errno| refuse(&top.path, errno))?;
                Ok(walk.single(&folder, &name))
            }
        }
    }
}

/// The length of what the operator named, if it is a regular file or a block device.
fn image_size(path: &Path, parent: &OwnedFd, name: &EntryName) -> rustix::io::Result<u64> {
    let status = Status::of(parent, name.as_bytes())?;
    match status.kind {
        FileType::RegularFile => Ok(status.size_bytes),
        FileType::BlockDevice => {
            let (device, _) = DeviceContent::look_at(path, name.as_bytes(), None)?;
            Ok(device.size_bytes())
        }
        _ => Err(Errno::INVAL),
    }
}

fn is_device(parent: &OwnedFd, name: &EntryName) -> bool {
    Status::of(parent, name.as_bytes()).is_ok_and(|status| status.kind == FileType::BlockDevice)
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
