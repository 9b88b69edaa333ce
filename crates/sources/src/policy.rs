//! What a restore may overwrite and whom it gives files to.

use custody_entries::{EntryKind, Metadata, TimeSpec};

use crate::accounts::Names;
use crate::status::Status;

/// What becomes of a file that already stands in the target, unless it is the one restored (by size,
/// time and permissions): that one stays, whatever the policy. Folders are always entered and get
/// the metadata of the recovery point; a folder is never removed for something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It is kept, and a warning says so.
    #[default]
    Never,
    /// It is replaced if its last modification is earlier than the recovery point's.
    Older,
    /// It is replaced. Of a file that differs in its permissions, owner or attributes alone these
    /// are set.
    Always,
}

/// Whom restored files belong to. An unprivileged user can give files to nobody else; what could
/// not be given is warned about and never setuid or setgid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerPolicy {
    /// The stored user and group ids.
    #[default]
    Numeric,
    /// This machine's ids for the stored names; where a name is unknown here, the stored id.
    Name,
    /// Whoever restores.
    None,
}

/// What becomes of something that stands where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Replace,
    /// It is what would be restored.
    Same,
    /// Keep it: it is newer.
    Keep,
    /// Keep it and warn: the policy forbids to replace it.
    KeepDifferent,
}

/// Decides what becomes of what stands in the place of a file, link or special file. `is_same`
/// says that it is what would be restored.
pub(crate) fn decide(
    overwrite: Overwrite,
    existing: &Status,
    modified: TimeSpec,
    is_same: bool,
) -> Decision {
    if existing.kind.is_dir() {
        return Decision::KeepDifferent;
    }
    match overwrite {
        _ if is_same => Decision::Same,
        Overwrite::Always => Decision::Replace,
        Overwrite::Never => Decision::KeepDifferent,
        Overwrite::Older if existing.modified < modified => Decision::Replace,
        Overwrite::Older => Decision::Keep,
    }
}

/// Whether a file in place looks like the one restored: an earlier restore made it, or it never
/// changed. Setuid and setgid are not compared: an unprivileged restore drops them. Other
/// permissions are no hindrance where they may be set without touching what another name shows.
pub(crate) fn is_same_file(
    overwrite: Overwrite,
    existing: &Status,
    kind: &EntryKind,
    metadata: &Metadata,
) -> bool {
    let has_same_mode = existing.mode & 0o1777 == metadata.mode & 0o1777;
    existing.kind.is_file()
        && *kind == EntryKind::File { size: existing.size_bytes }
        && existing.modified == metadata.modified
        && (has_same_mode || (overwrite == Overwrite::Always && existing.identity.links == 1))
}

/// The id on this machine that a stored owner stands for.
pub(crate) fn local_id(policy: OwnerPolicy, names: &Names, name: Option<&[u8]>, id: u32) -> u32 {
    match policy {
        OwnerPolicy::Name => name.and_then(|name| names.id(name)).unwrap_or(id),
        OwnerPolicy::Numeric | OwnerPolicy::None => id,
    }
}

/// The mode that may be set on a file that belongs to `actual` (user, group) and should belong to
/// `wanted`: a program must not run as somebody it was never meant to run as.
pub(crate) fn safe_mode(mode: u32, wanted: (u32, u32), actual: (u32, u32)) -> u32 {
    let mut mode = mode & 0o7777;
    if wanted.0 != actual.0 {
        mode &= !0o4000;
    }
    if wanted.1 != actual.1 {
        mode &= !0o2000;
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setuid_and_setgid_survive_only_under_the_right_owner() {
        let check = |mode, wanted, actual, expected| {
            assert_eq!(safe_mode(mode, wanted, actual), expected, "{mode:o}");
        };
        check(0o4755, (0, 0), (0, 0), 0o4755);
        check(0o4755, (0, 0), (1000, 0), 0o755);
        check(0o6755, (0, 0), (1000, 0), 0o2755);
        check(0o6755, (0, 0), (0, 1000), 0o4755);
        check(0o7777, (5, 6), (1000, 1000), 0o1777);
        check(0o10_0644, (0, 0), (0, 0), 0o644);
        check(0o640, (0, 0), (1000, 1000), 0o640);
    }

    #[test]
    fn names_lead_to_this_machines_ids() {
        let names = Names::parse(b"ada:x:1000:\n");
        let check = |policy, name: Option<&[u8]>, expected| {
            assert_eq!(local_id(policy, &names, name, 501), expected);
        };
        check(OwnerPolicy::Name, Some(b"ada"), 1000);
        check(OwnerPolicy::Name, Some(b"bob"), 501);
        check(OwnerPolicy::Name, None, 501);
        check(OwnerPolicy::Numeric, Some(b"ada"), 501);
        check(OwnerPolicy::None, Some(b"ada"), 501);
    }
}
