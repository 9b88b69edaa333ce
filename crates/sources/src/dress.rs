//! Dressing what was restored in its metadata.

use custody_entries::{Metadata, TimeSpec, Warning, Xattr};
use rustix::fs::{Gid, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::{self, Errno};

use crate::error::{reason, target_code};
use crate::handle::Handle;
use crate::policy::{OwnerPolicy, local_id, safe_mode};
use crate::restoration::Restoration;
use crate::status::Status;

/// Sets the metadata of one entry and gathers what could not be set. The order matters: the owner
/// first, because a change of owner takes setuid and capabilities away; then the mode, which an ACL
/// refines; the time last, because everything else is a change.
pub(crate) fn dress(
    restoration: &Restoration,
    handle: &Handle<'_>,
    metadata: &Metadata,
    is_link: bool,
    path: &dyn Fn() -> Vec<u8>,
) -> Vec<Warning> {
    let mut dressing = Dressing { restoration, handle, metadata, path, warnings: Vec::new() };
    dressing.set_owner();
    if !is_link {
        dressing.remove_foreign_xattrs();
        dressing.set_mode();
    }
    dressing.set_xattrs();
    dressing.set_time();
    dressing.warnings
}

/// Whether something wears the metadata already: its time is known to be right.
pub(crate) fn is_worn(
    restoration: &Restoration,
    metadata: &Metadata,
    found: &Status,
    xattrs: &[Xattr],
) -> bool {
    let wanted = wanted_owner(restoration, metadata);
    let is_owned =
        restoration.options.owner == OwnerPolicy::None || wanted == (found.uid, found.gid);
    is_owned && found.mode == metadata.mode & 0o7777 && xattrs == metadata.xattrs
}

/// Whom something is to belong to, as user and group.
fn wanted_owner(restoration: &Restoration, metadata: &Metadata) -> (u32, u32) {
    let (policy, accounts) = (restoration.options.owner, &restoration.accounts);
    (
        local_id(policy, &accounts.users, metadata.user.as_deref(), metadata.uid),
        local_id(policy, &accounts.groups, metadata.group.as_deref(), metadata.gid),
    )
}

struct Dressing<'a> {
    restoration: &'a Restoration,
    handle: &'a Handle<'a>,
    metadata: &'a Metadata,
    path: &'a dyn Fn() -> Vec<u8>,
    warnings: Vec<Warning>,
}

impl Dressing<'_> {
    fn set_owner(&mut self) {
        if self.restoration.options.owner == OwnerPolicy::None {
            return;
        }
        let (user, group) = self.wanted_owner();
        let outcome = match (id(user), id(group)) {
            (Some(user), Some(group)) => self.give(Uid::from_raw(user), Gid::from_raw(group)),
            _ => Err(Errno::INVAL),
        };
        if let Err(errno) = outcome {
            let message = format!("owner {user}:{group} was not set: {}", reason(errno));
            self.warn(target_code::OWNER_NOT_SET, message);
        }
    }

    /// Sets user and group; if that is refused, at least the group.
    fn give(&self, user: Uid, group: Gid) -> io::Result<()> {
        self.handle.set_owner(Some(user), Some(group)).inspect_err(|_| {
            let _ = self.handle.set_owner(None, Some(group));
        })
    }

    fn wanted_owner(&self) -> (u32, u32) {
        wanted_owner(self.restoration, self.metadata)
    }

    fn set_mode(&mut self) {
        let mode = self.metadata.mode & 0o7777;
        let outcome = self.mode_to_set(mode).and_then(|safe| {
            self.handle.set_mode(safe)?;
            Ok(safe)
        });
        let message = match outcome {
            Ok(safe) if safe == mode => return,
            Ok(safe) => format!("mode {mode:04o} became {safe:04o}: it belongs to someone else"),
            Err(errno) => format!("mode {mode:04o} was not set: {}", reason(errno)),
        };
        self.warn(target_code::MODE_NOT_SET, message);
    }

    fn mode_to_set(&self, mode: u32) -> io::Result<u32> {
        if mode & 0o6000 == 0 {
            return Ok(mode);
        }
        let status = self.handle.status()?;
        Ok(safe_mode(mode, self.wanted_owner(), (status.uid, status.gid)))
    }

    /// Removes ACLs inherited from the folder around and, from a folder that stood already,
    /// attributes that the recovery point has not.
    fn remove_foreign_xattrs(&mut self) {
        let Ok(names) = self.handle.xattr_names() else { return };
        for name in names.split(|byte| *byte == 0) {
            let is_ours = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
            let is_wanted = self.metadata.xattrs.iter().any(|xattr| xattr.name == name);
            if !is_ours || is_wanted {
                continue;
            }
            if let Err(errno) = self.handle.remove_xattr(name) {
                self.warn_xattr("removed", name, errno);
            }
        }
    }

    fn set_xattrs(&mut self) {
        for xattr in &self.metadata.xattrs {
            if let Err(errno) = self.handle.set_xattr(&xattr.name, &xattr.value) {
                self.warn_xattr("set", &xattr.name, errno);
            }
        }
    }

    fn set_time(&mut self) {
        if let Err(errno) = self.handle.set_times(&only_modified(self.metadata.modified)) {
            let message = format!("time was not set: {}", reason(errno));
            self.warn(target_code::TIME_NOT_SET, message);
        }
    }

    fn warn_xattr(&mut self, verb: &str, name: &[u8], errno: Errno) {
        let name = String::from_utf8_lossy(name);
        let message = format!("attribute {name:?} was not {verb}: {}", reason(errno));
        self.warn(target_code::XATTR_NOT_SET, message);
    }

    fn warn(&mut self, code: &'static str, message: String) {
        self.warnings.extend(self.restoration.tally.note(code, self.path, message));
    }
}

/// The time of the last modification, and no other.
pub(crate) fn only_modified(modified: TimeSpec) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: i64::from(modified.nanoseconds),
        },
    }
}

/// An id that can be set: the highest means "leave as it is" to the system.
fn id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}
