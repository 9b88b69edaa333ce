//! What a decided request comes to.

use custody_names::ResourceId;
use serde_json::Value;

use crate::{ActivityEvent, Operation, Record};

/// One change to what is stored. All writes of an answer are applied in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Stores the record, its references and its claim in place of what stood there. Refused as
    /// conflict if the stored revision is not the record's revision minus one.
    Put(Box<Record>),
    /// Removes the record and everything below it, with references and claims.
    Remove(ResourceId),
    /// Stores a new operation.
    Operation(Box<Operation>),
    /// Adds an event to the activity log.
    Activity(ActivityEvent),
    /// Raises the counter that holders of key leases watch: something changed that may revoke
    /// access to a key (DESIGN §5).
    RaiseRevocation,
}

/// The answer to a request, free of HTTP but with its status codes, since the documents and the
/// clients are strict about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: Option<Value>,
    /// The operation to poll, if one was begun.
    pub operation: Option<custody_names::OperationId>,
}

/// A decided request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What to answer.
    pub answer: Answer,
    /// What to apply first.
    pub writes: Vec<Write>,
}
