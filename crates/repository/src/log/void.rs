//! Entries that stand in the log and count for nothing.

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It counts.
    Applied,
    /// It stands in the log and counts for nothing.
    Void(VoidReason),
}

/// Why an entry counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoidReason {
    /// Such an entry must be made with the vault's key.
    #[error("such an entry must be made with the vault's key")]
    NeedsKey,
    /// Entry 1 is the genesis, and no other is.
    #[error("the genesis stands first, and only there")]
    GenesisMisplaced,
    /// A session of this id is living.
    #[error("the session has begun already")]
    SessionLiving,
    /// The session ended, or never began.
    #[error("the session was ended, by its writer or by an observer who found it dead")]
    SessionEnded,
    /// The point exists or was forgotten.
    #[error("the point is known already")]
    PointKnown,
    /// The point does not exist.
    #[error("there is no such point")]
    PointUnknown,
    /// It needs a pack that is doomed by an intent older than its session.
    #[error("it uses a pack that was about to be deleted when the session began")]
    PackDoomed,
    /// It needs a pack that was deleted.
    #[error("it uses a pack that was deleted")]
    PackRemoved,
    /// An intent is open.
    #[error("an earlier prune is not finished")]
    IntentOpen,
    /// The intent was computed before the newest commit.
    #[error("a point was committed since the prune was computed")]
    IntentStale,
    /// Entries made without the key wait for confirmation.
    #[error("entries made without the key are not yet confirmed")]
    Unconfirmed,
    /// No such intent is open.
    #[error("no such prune is open")]
    IntentUnknown,
    /// A session that began before the intent is living.
    #[error("a session that began before the prune is still running")]
    EarlierSessionLiving,
    /// The sets of removed and spared packs are not those that follow from the log.
    #[error("the removed and spared packs are not those that follow from the log")]
    OutcomeWrong,
    /// A ring of this number or a higher one is in force.
    #[error("a keyring of this or a higher number is in force")]
    KeyringOlder,
    /// What it confirms does not lie before it.
    #[error("it confirms what does not lie before it")]
    ConfirmsFuture,
    /// The state it gives is not the one that follows from the log.
    #[error("the state it gives is not the one that follows from the log")]
    CheckpointWrong,
}

impl VoidReason {
    /// A code that stays the same in every version.
    pub fn code(self) -> &'static str {
        match self {
            Self::NeedsKey => "RepositoryEntryNeedsKey",
            Self::GenesisMisplaced => "RepositoryGenesisMisplaced",
            Self::SessionLiving => "RepositorySessionLiving",
            Self::SessionEnded => "RepositorySessionEnded",
            Self::PointKnown => "RepositoryPointKnown",
            Self::PointUnknown => "RepositoryPointUnknown",
            Self::PackDoomed => "RepositoryPackDoomed",
            Self::PackRemoved => "RepositoryPackRemoved",
            Self::IntentOpen => "RepositoryPruneOpen",
            Self::IntentStale => "RepositoryPruneStale",
            Self::Unconfirmed => "RepositoryUnconfirmed",
            Self::IntentUnknown => "RepositoryPruneUnknown",
            Self::EarlierSessionLiving => "RepositorySessionsRunning",
            Self::OutcomeWrong => "RepositoryPruneOutcomeWrong",
            Self::KeyringOlder => "RepositoryKeyringOlder",
            Self::ConfirmsFuture => "RepositoryConfirmsFuture",
            Self::CheckpointWrong => "RepositoryCheckpointWrong",
        }
    }
}
