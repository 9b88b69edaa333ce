//! What an entry says.

use std::collections::BTreeSet;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::identifiers::{EntryHash, ItemGuid, ObjectId, SessionId};

/// The kinds of entry (docs/formats/repository-log.md, "Kinds").
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Body {
    /// Entry 1 and no other.
    #[n(0)]
    Genesis(#[n(0)] Genesis),
    /// A writer begins.
    #[n(1)]
    SessionBegun(#[n(0)] SessionBegun),
    /// A point exists.
    #[n(2)]
    PointCommitted(#[n(0)] PointCommitted),
    /// Nothing of this session counts from here on.
    #[n(3)]
    SessionEnded(#[n(0)] SessionEnded),
    /// The tombstone of a point.
    #[n(4)]
    PointForgotten(#[n(0)] PointForgotten),
    /// Packs are going to be deleted.
    #[n(5)]
    PruneIntent(#[n(0)] PruneIntent),
    /// They are.
    #[n(6)]
    PruneFinished(#[n(0)] PruneFinished),
    /// The keyring in force.
    #[n(7)]
    KeyringHead(#[n(0)] KeyringHead),
    /// A key holder has looked at the entries that were made without the key.
    #[n(8)]
    Confirmed(#[n(0)] Confirmed),
    /// A place to start reading.
    #[n(9)]
    Checkpoint(#[n(0)] Checkpoint),
}

impl Body {
    /// Whether a server without the key may make such an entry (DESIGN §5: forgetting a point or
    /// deleting an item needs no key).
    pub fn may_be_signed(&self) -> bool {
        matches!(self, Self::SessionEnded(_) | Self::PointForgotten(_))
    }

    /// The kind's name, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::SessionBegun(_) => "session begun",
            Self::PointCommitted(_) => "point committed",
            Self::SessionEnded(_) => "session ended",
            Self::PointForgotten(_) => "point forgotten",
            Self::PruneIntent(_) => "prune intent",
            Self::PruneFinished(_) => "prune finished",
            Self::KeyringHead(_) => "keyring head",
            Self::Confirmed(_) => "confirmed",
            Self::Checkpoint(_) => "checkpoint",
        }
    }
}

/// The beginning of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Genesis {
    /// Hash of the first keyring: the repository's fingerprint (DESIGN §5).
    #[n(0)]
    pub fingerprint: EntryHash,
    /// Numbers of the chunkers that may occur (repository.md).
    #[n(1)]
    pub chunkers: Vec<u8>,
}

/// A writer begins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionBegun {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Where it runs.
    #[n(1)]
    pub host: HostFacts,
}

/// What tells a process from every other, for an observer on the same host.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HostFacts {
    /// Random, drawn by the kernel at each start of the machine.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub boot_id: [u8; 16],
    /// Number of the process.
    #[n(1)]
    pub process_id: u32,
    /// When it started, in clock ticks since boot: tells a reused number.
    #[n(2)]
    pub process_start_ticks: u64,
    /// The process name space: in another one the number means nothing.
    #[n(3)]
    pub process_name_space: u64,
}

/// A point exists. Its receipt time is the time of the entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PointCommitted {
    /// The session that made it.
    #[n(0)]
    pub session: SessionId,
    /// The item it is a point of.
    #[n(1)]
    pub item: ItemGuid,
    /// The point's object; its name is the point's id.
    #[n(2)]
    pub point: ObjectId,
    /// Index objects that the session added.
    #[n(3)]
    pub indexes: BTreeSet<ObjectId>,
    /// Packs that the session added.
    #[n(4)]
    pub packs: BTreeSet<ObjectId>,
    /// Packs doomed by the open intent that the point uses all the same.
    #[n(5)]
    pub relies_on: BTreeSet<ObjectId>,
}

/// A session is over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionEnded {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Who says so.
    #[n(1)]
    pub why: EndReason,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EndReason {
    /// Its writer is done.
    #[n(0)]
    Finished,
    /// An observer holds it for dead.
    #[n(1)]
    Fenced,
}

/// A point is no more; its data goes with the next prune.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PointForgotten {
    /// The point.
    #[n(0)]
    pub point: ObjectId,
    /// Why.
    #[n(1)]
    pub why: ForgetReason,
}

/// Why a point was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ForgetReason {
    /// No retention rule keeps it.
    #[n(0)]
    Expired,
    /// Someone asked for it.
    #[n(1)]
    Requested,
    /// Its item was deleted.
    #[n(2)]
    ItemDeleted,
}

/// Packs are going to be deleted. What was still needed of them lies in the added packs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PruneIntent {
    /// The session that computed it.
    #[n(0)]
    pub session: SessionId,
    /// Number of the head it was computed with; a commit after it makes the intent void.
    #[n(1)]
    pub based_on: u64,
    /// Packs to delete.
    #[n(2)]
    pub doomed: BTreeSet<ObjectId>,
    /// Packs that took over what is still needed.
    #[n(3)]
    pub packs: BTreeSet<ObjectId>,
    /// Index objects of those, and new ones in place of the replaced.
    #[n(4)]
    pub indexes: BTreeSet<ObjectId>,
    /// Index objects that are of no use once the doomed packs are gone.
    #[n(5)]
    pub replaced_indexes: BTreeSet<ObjectId>,
}

/// The doomed packs are gone, but for those that were spared.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PruneFinished {
    /// Number of the intent.
    #[n(0)]
    pub intent: u64,
    /// Packs that were deleted.
    #[n(1)]
    pub removed: BTreeSet<ObjectId>,
    /// Packs that a commit came to rely on.
    #[n(2)]
    pub spared: BTreeSet<ObjectId>,
}

/// The keyring in force.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyringHead {
    /// The ring's number.
    #[n(0)]
    pub number: u64,
    /// Its hash.
    #[n(1)]
    pub hash: EntryHash,
}

/// A key holder has looked at the signed entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Confirmed {
    /// Number of the last entry that was looked at.
    #[n(0)]
    pub up_to: u64,
    /// Numbers of entries that the key holder does not stand by.
    #[n(1)]
    pub rejected: BTreeSet<u64>,
}

/// The state after the entry before this one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Checkpoint {
    /// The state, encoded.
    #[n(0)]
    pub state: ByteVec,
}
