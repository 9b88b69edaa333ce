//! The stable codes of this crate and the errors and warnings that carry them.

use custody_entries::{SourceError, TargetError, Warning, display_path};
use rustix::io::Errno;

/// Codes of errors and warnings while reading (`docs/errors.md`).
pub mod source_code {
    /// A path to protect does not exist.
    pub const NOT_FOUND: &str = "SourceNotFound";
    /// A path to protect cannot be read at all.
    pub const UNREADABLE: &str = "SourceUnreadable";
    /// Two paths to protect have the same last name.
    pub const NAME_CLASH: &str = "SourceNameClash";
    /// An include or exclude pattern is malformed.
    pub const PATTERN_INVALID: &str = "SourcePatternInvalid";
    /// A path to protect is custody's own data, seal or repository.
    pub const IS_OWN: &str = "SourceIsOwn";
    /// A path to protect is a block device that is in use.
    pub const DEVICE_IN_USE: &str = "SourceDeviceInUse";
    /// A list of changed blocks breaks its form or is of another image.
    pub const HINTS_INVALID: &str = "SourceHintsInvalid";
    /// A stream ended before its end.
    pub const STREAM_BROKEN: &str = "SourceStreamBroken";
    /// An entry was left out because it cannot be read.
    pub const ENTRY_UNREADABLE: &str = "SourceEntryUnreadable";
    /// An entry was left out because it was removed or replaced meanwhile.
    pub const ENTRY_VANISHED: &str = "SourceEntryVanished";
    /// An entry is taken without some of its extended attributes.
    pub const XATTR_UNREADABLE: &str = "SourceXattrUnreadable";
}

/// Codes of errors and warnings while restoring (`docs/errors.md`).
pub mod target_code {
    /// The target has no room left (disk or quota).
    pub const FULL: &str = "TargetFull";
    /// The target cannot be written to.
    pub const REFUSED: &str = "TargetRefused";
    /// A target that is to be a block device is none, is in use, or is too small.
    pub const DEVICE_UNFIT: &str = "TargetDeviceUnfit";
    /// The target fails in another way (input/output error, too many open files).
    pub const FAILED: &str = "TargetFailed";
    /// A symbolic link stands where a folder is needed; it is never followed.
    pub const LINK_IN_THE_WAY: &str = "TargetLinkInTheWay";
    /// Something else stands there and the policy keeps it.
    pub const EXISTS: &str = "TargetExists";
    /// An entry could not be made.
    pub const ENTRY_REFUSED: &str = "TargetEntryRefused";
    /// A hard link could not be made.
    pub const LINK_NOT_MADE: &str = "TargetLinkNotMade";
    /// A device node could not be made: that takes a privilege.
    pub const DEVICE_NOT_MADE: &str = "TargetDeviceNotMade";
    /// Owner or group could not be set; setuid and setgid were dropped.
    pub const OWNER_NOT_SET: &str = "TargetOwnerNotSet";
    /// Permissions could not be set.
    pub const MODE_NOT_SET: &str = "TargetModeNotSet";
    /// An extended attribute or ACL could not be set.
    pub const XATTR_NOT_SET: &str = "TargetXattrNotSet";
    /// The time of the last modification could not be set.
    pub const TIME_NOT_SET: &str = "TargetTimeNotSet";
}

/// What the system said, in words and without a number.
pub(crate) fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

/// The code for an entry that could not be read.
pub(crate) fn entry_code(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE | Errno::NXIO | Errno::INVAL => {
            source_code::ENTRY_VANISHED
        }
        _ => source_code::ENTRY_UNREADABLE,
    }
}

/// What happened to an entry that could not be read.
pub(crate) fn entry_reason(errno: Errno) -> String {
    match entry_code(errno) {
        source_code::ENTRY_VANISHED => "it was removed or replaced meanwhile".to_owned(),
        _ => reason(errno),
    }
}

/// A warning about an entry that could not be read.
pub(crate) fn entry_warning(path: &[u8], errno: Errno) -> Warning {
    let message = format!("left out: {}", entry_reason(errno));
    Warning { code: entry_code(errno), path: path.to_vec(), message }
}

/// An error about a file that could not be opened or read.
pub(crate) fn entry_error(path: &[u8], errno: Errno) -> SourceError {
    let message = format!("cannot read {}: {}", display_path(path), entry_reason(errno));
    SourceError { code: entry_code(errno), message }
}

/// Whether an error while restoring ends the restore as a whole; any other concerns one entry.
pub(crate) fn ends_restore(errno: Errno, path: &[u8]) -> Result<(), TargetError> {
    let path = display_path(path);
    let (code, message) = match errno {
        Errno::NOSPC | Errno::DQUOT => {
            (target_code::FULL, format!("no room left for {path}: {}", reason(errno)))
        }
        Errno::ROFS => (target_code::REFUSED, format!("cannot write {path}: {}", reason(errno))),
        Errno::IO | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::FBIG => {
            (target_code::FAILED, format!("cannot write {path}: {}", reason(errno)))
        }
        _ => return Ok(()),
    };
    Err(TargetError { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_whole_target_ends_a_restore() {
        let check = |errno, expected| {
            let code = ends_restore(errno, b"a\nb").err().map(|error| error.code);
            assert_eq!(code, expected, "{errno:?}");
        };
        check(Errno::NOSPC, Some(target_code::FULL));
        check(Errno::DQUOT, Some(target_code::FULL));
        check(Errno::ROFS, Some(target_code::REFUSED));
        check(Errno::IO, Some(target_code::FAILED));
        check(Errno::MFILE, Some(target_code::FAILED));
        check(Errno::ACCESS, None);
        check(Errno::PERM, None);
        check(Errno::NAMETOOLONG, None);
        check(Errno::EXIST, None);
    }
}
