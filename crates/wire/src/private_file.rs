//! Files that only their owner may read, written as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Makes a file (0600) unless one stands there, which is left as it is. Returns whether it was
/// made.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let fresh = write_beside(path, bytes, 0o600)?;
    // A hard link refuses to replace: of several that begin at once, one wins.
    let linked = fs::hard_link(&fresh, path);
    fs::remove_file(&fresh)?;
    match linked {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts `bytes` in the place of what stands there: readers see the old or the new whole.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let fresh = write_beside(path, bytes, mode)?;
    fs::rename(&fresh, path)?;
    sync_folder(path)
}

/// Reads a file, provided that only its owner may.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |text: &str| io::Error::new(io::ErrorKind::PermissionDenied, text);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no regular file"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refused("others may read it; run `chmod 600` on it"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    // Two processes never share a number; a leftover of a crash is of a process that is gone.
    name.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    Ok(fresh)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
