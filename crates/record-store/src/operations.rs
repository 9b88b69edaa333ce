//! Operations as the store keeps them.

use custody_names::ResourceId;
use custody_resources::Operation;

/// An operation and how often it was changed.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedOperation {
    /// The operation.
    pub operation: Operation,
    /// Raised by every change of it, so that a waiter can tell whether something is new.
    pub revision: u64,
}

/// Which operations are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationFilter {
    /// Every one.
    All,
    /// Those that have not ended.
    Unfinished,
    /// Those on this resource or on anything below it.
    Within(ResourceId),
}
