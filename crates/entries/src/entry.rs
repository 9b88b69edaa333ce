//! One file system entry and its metadata.

use custody_names::InvalidName;

/// The name of an entry in its folder: 1–255 bytes, no `/`, no NUL, neither `.` nor `..`.
/// Anything else a file system or an attacker may come up with is refused when parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Vec<u8>);

impl EntryName {
    /// Longest name, in bytes (`NAME_MAX` on Linux).
    pub const BYTES_MAX: usize = 255;

    /// Parses a name.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidName> {
        let bytes = bytes.into();
        let reason = match bytes.as_slice() {
            b"" => "it is empty",
            b"." | b".." => "a dot name leads elsewhere",
            name if name.len() > Self::BYTES_MAX => "it is too long",
            name if name.contains(&b'/') || name.contains(&0) => "it holds a slash or NUL",
            _ => return Ok(Self(bytes)),
        };
        Err(InvalidName {
            kind: "entry name",
            text: String::from_utf8_lossy(&bytes).chars().take(200).collect(),
            reason,
        })
    }

    /// The name's bytes; they need not be UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A point in time to the nanosecond, as `stat` gives it (seconds since 1970, may be negative).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpec {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds after that, below 1 000 000 000.
    pub nanoseconds: u32,
}

/// The number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// An extended attribute; POSIX ACLs are the ones named `system.posix_acl_*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its name with the namespace (`user.comment`).
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Length in bytes, holes included.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points, byte for byte.
        target: Vec<u8>,
    },
    /// A named pipe; recorded, never opened.
    Fifo,
    /// A socket; recorded, never opened.
    Socket,
    /// A block device node; recorded, never opened.
    BlockDevice(DeviceNumber),
    /// A character device node; recorded, never opened.
    CharDevice(DeviceNumber),
}

/// Which file this is on the machine it was read from: tells hard links and unchanged files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Device the file lies on.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of hard links when read.
    pub links: u64,
    /// Time of the last change of content or metadata; cannot be set, so it betrays a file whose
    /// modification time was put back.
    pub changed: TimeSpec,
}

/// Everything about an entry that is not its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, setuid, setgid and sticky (the low 12 bits of `st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name where the source knew it.
    pub user: Option<Vec<u8>>,
    /// The group's name where the source knew it.
    pub group: Option<Vec<u8>>,
    /// Last modification of the content.
    pub modified: TimeSpec,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Which file it was.
    pub identity: FileIdentity,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name there.
    pub name: EntryName,
    /// What it is.
    pub kind: EntryKind,
    /// Everything else but the content.
    pub metadata: Metadata,
}

impl Entry {
    /// Whether a file is so surely the same as `earlier` that it need not be read again: kind,
    /// size, both times, device and inode agree.
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        matches!(self.kind, EntryKind::File { .. })
            && self.kind == earlier.kind
            && self.metadata.modified == earlier.metadata.modified
            && self.metadata.identity.device == earlier.metadata.identity.device
            && self.metadata.identity.inode == earlier.metadata.identity.inode
            && self.metadata.identity.changed == earlier.metadata.identity.changed
    }
}
