//! The file system of this machine.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
    ResolveFlags, Stat,
};
use rustix::io::Errno;

use super::files::{Files, Found, FoundKind, Place};

/// Who may enter the store's folders: its owner alone.
pub(super) const FOLDER_MODE: Mode = Mode::RWXU;

/// Asks the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

/// What a folder holds, read from the kernel bit by bit.
pub struct Names(Dir);

impl Iterator for Names {
    type Item = Result<String, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Err(errno) => return Some(Err(errno)),
                Ok(entry) => {
                    if let Ok(name) = entry.file_name().to_str() {
                        return Some(Ok(name.to_owned()));
                    }
                }
            }
        }
    }
}

impl Files for Kernel {
    type Folder = OwnedFd;
    type File = OwnedFd;
    type Names = Names;

    fn reopen(&self, folder: &OwnedFd) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(folder, 0)
    }

    fn open_folder(&self, parent: &OwnedFd, leaf: &str) -> Result<OwnedFd, Errno> {
        open_beneath(parent, leaf, OFlags::DIRECTORY | OFlags::RDONLY)
    }

    fn open_file(&self, parent: &OwnedFd, leaf: &str) -> Result<OwnedFd, Errno> {
        // NONBLOCK: a pipe planted under the name must not stop the reader.
        open_beneath(parent, leaf, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    fn open_file_beneath(&self, folder: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolved = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(folder, path, flags, Mode::empty(), resolved)
    }

    fn create_file(&self, parent: &OwnedFd, leaf: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::openat(parent, leaf, flags, Mode::RUSR | Mode::WUSR)
    }

    fn make_folder(&self, parent: &OwnedFd, leaf: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(parent, leaf, FOLDER_MODE)
    }

    fn look(&self, parent: &OwnedFd, leaf: &str) -> Result<Found, Errno> {
        Ok(found(&rustix::fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn look_at(&self, file: &OwnedFd) -> Result<Found, Errno> {
        Ok(found(&rustix::fs::fstat(file)?))
    }

    fn read(&self, file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        rustix::io::pread(file, buffer, offset)
    }

    fn write(&self, file: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(file, bytes)
    }

    fn reserve(&self, file: &OwnedFd, length: u64) -> Result<(), Errno> {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)
    }

    fn sync_file(&self, file: &OwnedFd) -> Result<(), Errno> {
        rustix::fs::fsync(file)
    }

    fn sync_folder(&self, folder: &OwnedFd) -> Result<(), Errno> {
        rustix::fs::fsync(folder)
    }

    fn rename_new(&self, from: Place<'_, OwnedFd>, to: Place<'_, OwnedFd>) -> Result<(), Errno> {
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(from.folder, from.leaf, to.folder, to.leaf, flags)
    }

    fn rename_over(&self, from: Place<'_, OwnedFd>, to: Place<'_, OwnedFd>) -> Result<(), Errno> {
        rustix::fs::renameat(from.folder, from.leaf, to.folder, to.leaf)
    }

    fn link(&self, from: Place<'_, OwnedFd>, to: Place<'_, OwnedFd>) -> Result<(), Errno> {
        rustix::fs::linkat(from.folder, from.leaf, to.folder, to.leaf, AtFlags::empty())
    }

    fn unlink(&self, parent: &OwnedFd, leaf: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(parent, leaf, AtFlags::empty())
    }

    fn lock(&self, file: &OwnedFd) -> Result<(), Errno> {
        rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
    }

    fn names(&self, folder: &OwnedFd) -> Result<Names, Errno> {
        Dir::read_from(folder).map(Names)
    }
}

/// Opens what `leaf` names in `parent` itself, never where a link leads.
fn open_beneath(parent: &OwnedFd, leaf: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, leaf, flags, Mode::empty())
}

fn found(stat: &Stat) -> Found {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FoundKind::File,
        FileType::Directory => FoundKind::Folder,
        _ => FoundKind::Other,
    };
    let length = u64::try_from(stat.st_size).unwrap_or_default();
    Found { kind, length, links: widened(stat.st_nlink) }
}

/// Narrower on some machines.
fn widened(number: impl Into<u64>) -> u64 {
    number.into()
}
