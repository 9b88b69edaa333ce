//! Looking ahead: a second thread opens, lists and looks at the folders that the walk comes to next. It
//! finds what the walk itself would find a moment later, and the walk does without it whenever it has
//! not got so far, or cannot say.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use custody_entries::EntryName;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, openat};
use rustix::io;

use crate::folder::{Folder, OPEN_FOLDER};
use crate::folder_source::Rules;
use crate::listing::Listing;
use crate::status::Status;

/// Most entries of a folder that are looked at ahead.
const STATUSES_MAX: usize = 4_096;
/// A folder that says to be larger is left to the walk: what is found waits in memory. In bytes or in
/// entries, as file systems have it.
const FOLDER_SIZE_MAX: u64 = 1 << 20;

/// A folder that was opened and looked into.
pub(crate) struct Looked {
    pub(crate) descriptor: OwnedFd,
    pub(crate) status: Status,
    /// Empty if the walk does not go into it.
    pub(crate) listing: Listing,
    /// Whether the listing is all of it.
    pub(crate) outcome: io::Result<()>,
    /// Of the first of its names; none if nobody looked ahead.
    pub(crate) statuses: Vec<io::Result<Status>>,
}

impl Looked {
    /// Opens and lists `name`; `device` is that of the walk's top.
    pub(crate) fn into(
        at: &OwnedFd,
        name: &EntryName,
        device: u64,
        rules: &Rules,
    ) -> io::Result<Self> {
        let descriptor = openat(at, name.as_bytes(), OPEN_FOLDER, Mode::empty())?;
        let status = Status::of_open(&descriptor)?;
        Ok(Self::list(descriptor, status, device, rules))
    }

    fn list(descriptor: OwnedFd, status: Status, device: u64, rules: &Rules) -> Self {
        let (listing, outcome) = if rules.is_own(&status) || rules.is_elsewhere(device, &status) {
            (Listing::default(), Ok(()))
        } else {
            Listing::read(&descriptor)
        };
        Self { descriptor, status, listing, outcome, statuses: Vec::new() }
    }

    /// The same with what is in it; none if that is better left to the walk.
    fn ahead(wanted: &Wanted, rules: &Rules) -> Option<Self> {
        let at = wanted.parent.descriptor().ok()?;
        let opened = openat(&*at, wanted.name.as_bytes(), OPEN_FOLDER, Mode::empty()).ok()?;
        let status = Status::of_open(&opened).ok()?;
        if status.size_bytes > FOLDER_SIZE_MAX {
            return None;
        }
        let mut looked = Self::list(opened, status, wanted.device, rules);
        let names = looked.listing.iter().take(STATUSES_MAX);
        looked.statuses = names.map(|name| Status::of(&looked.descriptor, name)).collect();
        Some(looked)
    }
}

/// A folder that is wanted.
pub(crate) struct Wanted {
    pub(crate) parent: Arc<Folder>,
    pub(crate) name: EntryName,
    /// That of the walk's top.
    pub(crate) device: u64,
}

/// A folder that was asked for.
pub(crate) struct Asked {
    wanted: Wanted,
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting,
    Looking,
    Done(Option<Box<Looked>>),
    /// Nobody wants it any more.
    Settled,
}

impl Asked {
    /// What was found. None if it was not begun, or the walk is to look for itself.
    pub(crate) fn take(&self) -> Option<Looked> {
        let state = locked(&self.state);
        let is_looking = |state: &mut State| matches!(state, State::Looking);
        let waited = self.done.wait_while(state, is_looking);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Settled) {
            State::Done(found) => found.map(|found| *found),
            State::Waiting | State::Looking | State::Settled => None,
        }
    }

    /// It is not wanted, or not any more.
    pub(crate) fn give_up(&self) {
        let mut state = locked(&self.state);
        if matches!(*state, State::Waiting) {
            *state = State::Settled;
        }
    }

    fn look(&self, rules: &Rules) {
        {
            let mut state = locked(&self.state);
            if !matches!(*state, State::Waiting) {
                return;
            }
            *state = State::Looking;
        }
        let found = Looked::ahead(&self.wanted, rules);
        *locked(&self.state) = State::Done(found.map(Box::new));
        self.done.notify_all();
    }
}

/// What is asked for, the next thing last.
#[derive(Default)]
pub(crate) struct Ahead {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    asked: Vec<Arc<Asked>>,
    /// Whether the thread sleeps.
    is_idle: bool,
    is_over: bool,
}

impl Ahead {
    /// Asks for folders, the one that is wanted first at the front.
    pub(crate) fn ask(&self, wanted: Vec<Wanted>) -> Vec<Arc<Asked>> {
        let asked: Vec<Arc<Asked>> = wanted
            .into_iter()
            .map(|wanted| {
                let (state, done) = (Mutex::new(State::Waiting), Condvar::new());
                Arc::new(Asked { wanted, state, done })
            })
            .collect();
        let mut queue = locked(&self.queue);
        queue.asked.extend(asked.iter().rev().cloned());
        if queue.is_idle {
            self.more.notify_one();
        }
        asked
    }

    /// Looks until it is over.
    pub(crate) fn run(&self, rules: &Rules) {
        while let Some(asked) = self.next() {
            asked.look(rules);
        }
    }

    fn next(&self) -> Option<Arc<Asked>> {
        let mut queue = locked(&self.queue);
        loop {
            if queue.is_over {
                return None;
            }
            if let Some(asked) = queue.asked.pop() {
                queue.is_idle = false;
                return Some(asked);
            }
            queue.is_idle = true;
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the thread when it is dropped.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }
}

/// Whoever lets the thread run holds this as long as it is to.
pub(crate) struct Ending<'a>(&'a Ahead);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        locked(&self.0.queue).is_over = true;
        self.0.more.notify_one();
    }
}

/// A lock is held by code that does not panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, OFlags};

    use super::*;
    use crate::folder::OpenFolders;
    use crate::folder_source::FolderOptions;

    #[test]
    fn what_is_found_is_what_stands_there_and_nothing_else_is_said() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        fs::create_dir_all(path.join("folder/below")).unwrap();
        fs::create_dir(path.join("own")).unwrap();
        fs::write(path.join("folder/file"), "four").unwrap();
        fs::write(path.join("file"), "").unwrap();
        symlink("folder", path.join("link")).unwrap();
        let top = openat(CWD, path, OPEN_FOLDER.union(OFlags::CLOEXEC), Mode::empty()).unwrap();
        let own = Status::of(&top, b"own").unwrap().place();
        let device = Status::of_open(&top).unwrap().identity.device;
        let options = FolderOptions { always_excluded: vec![own], ..FolderOptions::default() };
        let rules = Rules::of(options).unwrap();
        let parent = Folder::top(top, None, &Arc::new(OpenFolders::default())).unwrap();
        let (ahead, names) = (Ahead::default(), ["folder", "own", "file", "link", "none"]);
        let wanted = names.map(|name| {
            let (parent, name) = (Arc::clone(&parent), EntryName::new(name).unwrap());
            Wanted { parent, name, device }
        });
        let asked = ahead.ask(wanted.into());
        for asked in &asked {
            asked.look(&rules);
        }
        let mut found = asked.iter().map(|asked| asked.take());
        let folder = found.next().unwrap().unwrap();
        assert_eq!(folder.listing.iter().collect::<Vec<_>>(), [b"below".as_slice(), b"file"]);
        let kinds = folder.statuses.iter().map(|status| status.unwrap().kind);
        assert_eq!(kinds.collect::<Vec<_>>(), [FileType::Directory, FileType::RegularFile]);
        assert_eq!(found.next().unwrap().unwrap().listing.len(), 0, "it is custody's own");
        assert!(found.all(|found| found.is_none()), "those are no folders");
    }

    #[test]
    fn what_is_not_wanted_any_more_is_not_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join("folder")).unwrap();
        let top = openat(CWD, temporary.path(), OPEN_FOLDER, Mode::empty()).unwrap();
        let parent = Folder::top(top, None, &Arc::new(OpenFolders::default())).unwrap();
        let rules = Rules::of(FolderOptions::default()).unwrap();
        let ahead = Ahead::default();
        let wanted = || {
            let (parent, name) = (Arc::clone(&parent), EntryName::new("folder").unwrap());
            vec![Wanted { parent, name, device: 0 }]
        };
        let [taken, given_up, looked_at] = [(); 3].map(|()| ahead.ask(wanted()).remove(0));
        assert!(taken.take().is_none(), "nobody has looked");
        given_up.give_up();
        for asked in [&taken, &given_up, &looked_at] {
            asked.look(&rules);
        }
        assert!(taken.take().is_none() && given_up.take().is_none());
        assert!(looked_at.take().is_some() && looked_at.take().is_none());
    }
}
