//! The socket in the data folder by which this machine's users reach a running server.
//!
//! Its mode lets nobody in but the owner of the data folder (and root), who could open the seal
//! as well: whoever comes by it is the bootstrap administrator (DESIGN §8). A socket whose server
//! is gone refuses connections, so a stale one is told from a live one by asking.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use custody_client::LocalTransport;

/// The socket's name in the data folder.
const SOCKET: &str = "server.sock";

/// The server that runs on a data folder, if there is one.
pub(crate) fn find(data_folder: &Path) -> Option<LocalTransport> {
    let near = Near::of(data_folder).ok()?;
    // One that cannot be spoken to is as good as none: the data folder is open to all alike.
    LocalTransport::connect(&near.path(SOCKET)).ok().flatten()
}

/// A socket that is ours to serve; it is removed when this is dropped.
pub(crate) struct LocalSocket {
    place: PathBuf,
    identity: (u64, u64),
}

impl LocalSocket {
    /// Binds the socket of a data folder; none if another server listens there already.
    pub(crate) fn bind(data_folder: &Path) -> io::Result<Option<(Self, UnixListener)>> {
        let near = Near::of(data_folder)?;
        if UnixStream::connect(near.path(SOCKET)).is_ok() {
            return Ok(None);
        }
        // Bound under a name of its own and then renamed: nobody meets a socket half made, and a
        // stale one is replaced.
        let fresh = format!(".{SOCKET}.{}", std::process::id());
        match fs::remove_file(near.path(&fresh)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(near.path(&fresh))?;
        let place = data_folder.join(SOCKET);
        fs::rename(data_folder.join(&fresh), &place)?;
        let identity = identity(&place)?;
        Ok(Some((Self { place, identity }, listener)))
    }
}

/// The socket through which a running backup is given a stream; it is the data folder owner's, who
/// may run the server.
pub(crate) fn bind_stream(data_folder: &Path, id: &str) -> io::Result<(LocalSocket, UnixListener)> {
    let near = Near::of(data_folder)?;
    let name = format!("stream-{id}.sock");
    let listener = UnixListener::bind(near.path(&name))?;
    let place = data_folder.join(&name);
    let socket = LocalSocket { identity: identity(&place)?, place };
    let owner = fs::metadata(data_folder)?;
    let own = fs::symlink_metadata(&socket.place)?;
    if owner.uid() != own.uid() {
        std::os::unix::fs::lchown(&socket.place, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok((socket, listener))
}

impl LocalSocket {
    /// Connects to it, as others do.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let folder = self.place.parent().ok_or(io::ErrorKind::NotFound)?;
        let name = self.place.file_name().ok_or(io::ErrorKind::NotFound)?;
        UnixStream::connect(Near::of(folder)?.path(&name.to_string_lossy()))
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Another server may have put its own there meanwhile.
        if identity(&self.place).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.place);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A folder under a short name: a socket's path has at most 107 bytes, a data folder's more.
struct Near(File);

impl Near {
    fn of(folder: &Path) -> io::Result<Self> {
        File::open(folder).map(Self)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}
