//! Open folders: reached by single names, bounded in number, reopened when needed.
//!
//! A tree may be deeper than a process may have files open and its paths longer than `PATH_MAX`.
//! So only the [`OPEN_FOLDERS_MAX`] folders opened last keep their descriptor; any other is opened
//! again, from its parent by its name or from a child by `..`, and must then prove by device and
//! inode to be the folder it was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use custody_entries::EntryName;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{self, Errno};

use crate::status::Status;

/// How many folders below the top one walk or restore keeps open at most.
const OPEN_FOLDERS_MAX: usize = 128;

/// How a folder is opened: never through a link, never anything else.
pub(crate) const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that was entered. It may be used from other threads, and after the walk left it.
pub(crate) struct Folder {
    parent: Option<Arc<Folder>>,
    name: Option<EntryName>,
    place: (u64, u64),
    descriptor: Mutex<Option<Arc<OwnedFd>>>,
    open_folders: Arc<OpenFolders>,
}

impl Folder {
    /// A top, whose descriptor is never closed. `name` is its part of the paths below it.
    pub(crate) fn top(
        descriptor: OwnedFd,
        name: Option<EntryName>,
        open_folders: &Arc<OpenFolders>,
    ) -> io::Result<Arc<Self>> {
        let place = Status::of_open(&descriptor)?.place();
        Ok(Arc::new(Self {
            parent: None,
            name,
            place,
            descriptor: Mutex::new(Some(Arc::new(descriptor))),
            open_folders: Arc::clone(open_folders),
        }))
    }

    /// A folder in this one that was just opened.
    pub(crate) fn child(
        self: &Arc<Self>,
        name: EntryName,
        descriptor: OwnedFd,
        place: (u64, u64),
    ) -> Arc<Self> {
        let child = Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name: Some(name),
            place,
            descriptor: Mutex::new(Some(Arc::new(descriptor))),
            open_folders: Arc::clone(&self.open_folders),
        });
        self.open_folders.opened(&child);
        child
    }

    /// Its descriptor, opened anew from the nearest open ancestor if it was closed meanwhile.
    pub(crate) fn descriptor(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        let mut closed = Vec::new();
        let mut at = self;
        let mut open = loop {
            if let Some(open) = at.slot().clone() {
                break open;
            }
            let (Some(name), Some(parent)) = (&at.name, &at.parent) else {
                return Err(Errno::BADF);
            };
            closed.push((name, at.place));
            at = parent;
        };
        if closed.is_empty() {
            return Ok(open);
        }
        for (name, place) in closed.into_iter().rev() {
            open = Arc::new(open_same(open.as_fd(), name.as_bytes(), place)?);
        }
        self.keep(Arc::clone(&open));
        Ok(open)
    }

    /// Opens the parent again from here if it was closed. It is one step up instead of many down;
    /// should the folder have been moved meanwhile, [`Folder::descriptor`] finds the long way.
    pub(crate) fn reopen_parent(&self) {
        let Some(parent) = &self.parent else { return };
        if parent.slot().is_some() {
            return;
        }
        let own = self.slot().clone();
        if let Some(open) = own.and_then(|own| open_same(own.as_fd(), b"..", parent.place).ok()) {
            parent.keep(Arc::new(open));
        }
    }

    /// Its path below the top, followed by `name`.
    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        self.joined(vec![name])
    }

    /// Its own path below the top.
    pub(crate) fn own_path(&self) -> Vec<u8> {
        self.joined(Vec::new())
    }

    fn joined<'a>(&'a self, mut names: Vec<&'a [u8]>) -> Vec<u8> {
        let mut at = Some(self);
        while let Some(folder) = at {
            names.extend(folder.name.as_ref().map(EntryName::as_bytes));
            at = folder.parent.as_deref();
        }
        names.reverse();
        names.join(&b'/')
    }

    fn keep(self: &Arc<Self>, descriptor: Arc<OwnedFd>) {
        *self.slot() = Some(descriptor);
        self.open_folders.opened(self);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.descriptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Folder {
    /// Lets go of the ancestors one by one: a tree may be deeper than the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut folder) = next.and_then(Arc::into_inner) {
            next = folder.parent.take();
        }
    }
}

/// The folders that have a descriptor, oldest first, and the bound on their number.
#[derive(Default)]
pub(crate) struct OpenFolders {
    oldest_first: Mutex<VecDeque<Weak<Folder>>>,
}

impl OpenFolders {
    fn opened(&self, folder: &Arc<Folder>) {
        let mut open = self.oldest_first.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(Arc::downgrade(folder));
        let oldest = if open.len() > OPEN_FOLDERS_MAX { open.pop_front() } else { None };
        drop(open);
        if let Some(folder) = oldest.and_then(|oldest| oldest.upgrade()) {
            *folder.slot() = None;
        }
    }
}

fn open_same(from: impl AsFd, name: &[u8], place: (u64, u64)) -> io::Result<OwnedFd> {
    let descriptor = openat(from, name, OPEN_FOLDER, Mode::empty())?;
    if Status::of_open(&descriptor)?.place() == place { Ok(descriptor) } else { Err(Errno::STALE) }
}
