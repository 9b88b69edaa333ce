//! The calls that a store in a folder makes of its file system, as a port: tests put one behind it
//! that forgets what was not synced, or that fails.

use std::fmt::Debug;

use rustix::io::Errno;

/// What a store in a folder needs of a file system. Each method is one system call and is not
/// repeated by the port: whoever calls decides what an error means.
///
/// Leaves are single names in an open folder; links are never followed.
pub trait Files: Send + Sync {
    /// An open folder.
    type Folder: Send + Sync + Debug;
    /// An open file. Closing it gives up its lock.
    type File: Send + Sync + Debug;
    /// What a folder holds.
    type Names: Iterator<Item = Result<String, Errno>>;

    /// The same folder, open once more.
    fn reopen(&self, folder: &Self::Folder) -> Result<Self::Folder, Errno>;

    /// Opens the folder `leaf`.
    fn open_folder(&self, parent: &Self::Folder, leaf: &str) -> Result<Self::Folder, Errno>;

    /// Opens the file `leaf` to be read, without waiting for it.
    fn open_file(&self, parent: &Self::Folder, leaf: &str) -> Result<Self::File, Errno>;

    /// Opens the file at a path of several names beneath a folder to be read, where one call can do that
    /// and refuse links in every name. [`Errno::NOSYS`] elsewhere: then each folder is opened for itself.
    fn open_file_beneath(&self, _folder: &Self::Folder, _path: &str) -> Result<Self::File, Errno> {
        Err(Errno::NOSYS)
    }

    /// Makes the file `leaf`, which must not be there, for its owner alone.
    fn create_file(&self, parent: &Self::Folder, leaf: &str) -> Result<Self::File, Errno>;

    /// Makes the folder `leaf`, which must not be there, for its owner alone.
    fn make_folder(&self, parent: &Self::Folder, leaf: &str) -> Result<(), Errno>;

    /// What stands under `leaf`.
    fn look(&self, parent: &Self::Folder, leaf: &str) -> Result<Found, Errno>;

    /// What an open file is now.
    fn look_at(&self, file: &Self::File) -> Result<Found, Errno>;

    /// Reads into `buffer` from `offset`; how many bytes, 0 at the end of the file.
    fn read(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Writes after what was written last; how many bytes of them.
    fn write(&self, file: &Self::File, bytes: &[u8]) -> Result<usize, Errno>;

    /// Keeps room for so many bytes of a file, whose length stays as it is.
    fn reserve(&self, file: &Self::File, length: u64) -> Result<(), Errno>;

    /// Waits until the bytes of a file outlive a crash.
    fn sync_file(&self, file: &Self::File) -> Result<(), Errno>;

    /// Waits until the names in a folder outlive a crash.
    fn sync_folder(&self, folder: &Self::Folder) -> Result<(), Errno>;

    /// Moves a file to a name under which nothing stands.
    fn rename_new(
        &self,
        from: Place<'_, Self::Folder>,
        to: Place<'_, Self::Folder>,
    ) -> Result<(), Errno>;

    /// Moves a file to a name, over whatever stands there.
    fn rename_over(
        &self,
        from: Place<'_, Self::Folder>,
        to: Place<'_, Self::Folder>,
    ) -> Result<(), Errno>;

    /// Gives a file a second name, under which nothing stands.
    fn link(&self, from: Place<'_, Self::Folder>, to: Place<'_, Self::Folder>)
    -> Result<(), Errno>;

    /// Takes a file's name away.
    fn unlink(&self, parent: &Self::Folder, leaf: &str) -> Result<(), Errno>;

    /// Locks a file for this opener alone, without waiting.
    fn lock(&self, file: &Self::File) -> Result<(), Errno>;

    /// The names in a folder, in any order, those that are no text left out.
    fn names(&self, folder: &Self::Folder) -> Result<Self::Names, Errno>;
}

/// A name in a folder.
#[derive(Debug)]
pub struct Place<'p, Folder> {
    /// The folder.
    pub folder: &'p Folder,
    /// The name.
    pub leaf: &'p str,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its type.
    pub kind: FoundKind,
    /// A file's length in bytes.
    pub length: u64,
    /// How many names it has.
    pub links: u64,
}

/// A type of what stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe, a device.
    Other,
}

/// How often a call that a signal interrupts is made again; a system that interrupts more often than
/// that is out of order.
const INTERRUPTIONS_MAX: u32 = 100;

/// Makes a call again that was interrupted before it did anything. Never for a sync: what became of
/// the bytes of one that was interrupted nobody knows.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..INTERRUPTIONS_MAX {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::INTR)
}
