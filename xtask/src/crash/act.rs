//! What is killed.

/// The item that is protected.
pub(crate) const ITEM: &str = "crash";

/// The folder, where it runs, that is restored into and shot at.
pub(crate) const TARGET: &str = "target";

/// How many points `forget` leaves.
pub(crate) const KEPT_POINTS: usize = 3;

/// A command that changes the data folder, or writes what is in it somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Protect,
    Rotate,
    Rewrap,
    Forget,
    Prune,
    /// Into a folder that is not there yet.
    Restore,
    /// Over what an earlier point left there.
    RestoreOver,
}

impl Act {
    pub(crate) const ALL: [Self; 7] = [
        Self::Protect,
        Self::Rotate,
        Self::Rewrap,
        Self::Forget,
        Self::Prune,
        Self::Restore,
        Self::RestoreOver,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::Rotate => "rotate",
            Self::Rewrap => "rewrap",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Restore => "restore",
            Self::RestoreOver => "restore over an older tree",
        }
    }

    /// Its words on the command line. The source is the folder `source` where it runs.
    pub(crate) fn arguments(self, key_vault: &str) -> Vec<String> {
        let kept = KEPT_POINTS.to_string();
        let words: &[&str] = match self {
            Self::Protect => &["protect", "source", "--item", ITEM],
            Self::Rotate => {
                &["keyvault", "key", "rotate", "--vault-name", key_vault, "--name", "backup"]
            }
            // The first job after a rotation wraps the data keys under the new version.
            Self::Rewrap => &["verify"],
            Self::Forget => &["forget", ITEM, "--keep-last", &kept, "--yes"],
            Self::Prune => &["prune"],
            Self::Restore => &["restore", ITEM, "--to", TARGET],
            Self::RestoreOver => &["restore", ITEM, "--to", TARGET, "--overwrite", "always"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether it writes the newest point into [`TARGET`].
    pub(crate) fn restores(self) -> bool {
        matches!(self, Self::Restore | Self::RestoreOver)
    }
}
