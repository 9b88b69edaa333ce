//! A file that only its owner may read: made and replaced as a whole, checked at each use.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use custody_envelope::SecretBytes;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};

/// Largest file that is read, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// The place of such a file.
pub(crate) struct PrivateFile {
    path: PathBuf,
}

impl PrivateFile {
    /// A file at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// A file at `path`, which must not lie in `data_folder`: who copies the data folder must not
    /// get the seal with it.
    pub(crate) fn outside(data_folder: &Path, path: &Path) -> Result<Self> {
        let file = Self::at(path);
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(file.refused("it names no file"));
        };
        let real = |folder: &Path| std::fs::canonicalize(folder).unwrap_or(folder.to_owned());
        if real(folder).starts_with(real(data_folder)) {
            return Err(file.refused("it lies in the data folder, beside what it protects"));
        }
        Ok(file)
    }

    /// The path, for messages.
    pub(crate) fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// The whole file, after its owner and mode have been checked.
    pub(crate) fn read(&self) -> Result<SecretBytes> {
        let file = self.open()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(4_096));
        let length = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
        let length = length.map_err(|error| self.failed(error))?;
        if length as u64 > BYTES_MAX {
            return Err(self.refused("it is too long to be a seal"));
        }
        Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
    }

    /// Makes the file; `false` if one stands there, which is left alone.
    pub(crate) fn create(&self, bytes: &[u8]) -> Result<bool> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let fresh = self.write_fresh(bytes)?;
        match renameat_with(CWD, &fresh, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => self.sync_folder().map(|()| true),
            Err(error) => {
                discard(&fresh).map_err(|error| self.failed(error))?;
                if error == Errno::EXIST { Ok(false) } else { Err(self.failed(error)) }
            }
        }
    }

    /// Puts `bytes` in the place of what stands there: readers see the old or the new whole. The
    /// old bytes are overwritten where the file system writes in place.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<()> {
        let old = self.open_with(OFlags::WRONLY)?;
        let fresh = self.write_fresh(bytes)?;
        std::fs::rename(&fresh, &self.path).map_err(|error| self.failed(error))?;
        self.sync_folder()?;
        zero(&old);
        Ok(())
    }

    fn open(&self) -> Result<File> {
        self.open_with(OFlags::RDONLY)
    }

    fn open_with(&self, access: OFlags) -> Result<File> {
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(KeyVaultError::SealMissing(self.place())),
            Err(Errno::LOOP) => return Err(self.refused("it is a symbolic link")),
            Err(error) => return Err(self.failed(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed(error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refused("it is no regular file"));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(self.refused("it belongs to another user; run custody as its owner"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(self.refused(&format!(
                "others may access it (mode {:o}); run `chmod 600` on it",
                stat.st_mode & 0o777
            )));
        }
        Ok(File::from(file))
    }

    /// A file beside this one that holds `bytes`, durably. What a crash left there goes first.
    fn write_fresh(&self, bytes: &[u8]) -> Result<PathBuf> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let fresh = PathBuf::from(name);
        if fresh.symlink_metadata().is_ok() {
            discard(&fresh).map_err(|error| self.failed(error))?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&fresh, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.failed(error))?;
        let mut file = File::from(file);
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| self.failed(error))?;
        Ok(fresh)
    }

    fn sync_folder(&self) -> Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failed(error))
    }

    fn refused(&self, reason: &str) -> KeyVaultError {
        KeyVaultError::SealRefused { place: self.place(), reason: reason.to_owned() }
    }

    fn failed(&self, error: impl ToString) -> KeyVaultError {
        KeyVaultError::storage(self.place(), error)
    }
}

/// Overwrites and removes a leftover, never through a symbolic link.
fn discard(path: &Path) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
        zero(&File::from(file));
    }
    std::fs::remove_file(path)
}

/// At best: file systems and devices that do not write in place keep the old bytes for a while.
fn zero(file: &File) {
    use std::os::unix::fs::FileExt;
    let length = file.metadata().map_or(0, |metadata| metadata.len().min(BYTES_MAX));
    let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
    let _ = file.write_all_at(&zeros, 0).and_then(|()| file.sync_all());
}
