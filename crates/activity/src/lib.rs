//! The hash-chained ledger of every use of a key, its verification, and where its records are sent.
//!
//! [`Ledger::append`] returns when the record is on the device, chained to all records before it;
//! what cannot be recorded must not be done. Several processes append at once. [`verify`] finds
//! the first line that was changed, removed or moved, and says what it cannot find: see
//! `docs/formats/ledger.md` for the bytes and the threat model.
//!
//! A record is any JSON object. The ledger does not look into it: whoever makes one keeps secrets
//! out of it.

mod audit_destination;
mod diagnostic_setting;
mod disk;
mod error;
mod event_subscription;
mod head;
mod ledger;
mod line;
mod queue;
mod read;
mod reserve;
mod segment;
mod tail;
mod verify;
mod web_address;

pub use audit_destination::{
    AuditDestination, AuditDestinationSpec, DestinationType, SyslogAddress,
};
pub use diagnostic_setting::{
    AUDIT_EVENT, AUDIT_GROUPS, DiagnosticSetting, DiagnosticSettingSpec, LogSetting, senders_to,
};
pub use error::LedgerError;
pub use event_subscription::{
    DeliverySchema, EventDestination, EventFilter, EventSubscription, EventSubscriptionSpec,
    RetryPolicy, Webhook,
};
pub use head::{HeadFile, Signer};
pub use ledger::{Importance, Ledger};
pub use line::{Content, Entry, Fault, LineHash, Note, Position};
pub use read::{Entries, Order, read, read_from};
pub use verify::{Bad, Report, verify};
