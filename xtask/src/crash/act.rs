//! What is killed.

/// The item that is protected.
pub(crate) const ITEM: &str = "crash";

/// How many points `forget` leaves.
pub(crate) const KEPT_POINTS: usize = 3;

/// A command that changes the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Protect,
    Rotate,
    Rewrap,
    Forget,
    Prune,
}

impl Act {
    pub(crate) const ALL: [Self; 5] =
        [Self::Protect, Self::Rotate, Self::Rewrap, Self::Forget, Self::Prune];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::Rotate => "rotate",
            Self::Rewrap => "rewrap",
            Self::Forget => "forget",
            Self::Prune => "prune",
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
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
