//! The ARM resource engine: one mechanism for every kind of resource; no IO.
//!
//! A request goes through [`Engine::answer`]: the kind is looked up in the [`Registry`], the
//! caller's permission is asked of an [`Authorize`], the kind's pure `plan` says what the request
//! means, and the result is an [`Answer`] with the [`Write`]s that make it true. A store applies
//! all writes of one answer in one transaction. Whoever plans sees other records only through the
//! [`World`]; what the world has not loaded yet stops the plan with [`Stop::Needs`], the store
//! loads it and asks again (DESIGN §4).

mod activity;
mod admission;
mod answer;
mod engine;
mod erased;
mod error;
mod events;
mod flag;
mod hosts;
mod identity;
mod kind;
mod moving;
mod number;
mod operation;
mod place;
mod record;
mod reference;
mod request;
mod soft_delete;
mod world;

pub use activity::{ActivityEvent, ActivityStatus};
pub use admission::Admission;
pub use answer::{Answer, Decided, Write};
pub use engine::{Authorize, Engine, not_found};
pub use erased::{Erased, Registry};
pub use error::{Refusal, Stop};
pub use flag::flag;
pub use hosts::Hosts;
pub use identity::{Identity, IdentityKind, UserAssigned};
pub use kind::{Act, Action, Answers, Change, Kind, Place, Plan, Removal, Stored};
pub use moving::{Move, carried_along, renamed};
pub use number::number;
pub use operation::{Operation, OperationState, Progress, Task, Waiting};
pub use record::{CreatedByType, ProvisioningState, Record, SystemData};
pub use reference::{Reference, Target};
pub use request::{Caller, CallerKind, Precondition, Request, Verb};
pub use soft_delete::{SoftlyDeleted, being_purged, days_after, deleted_id};
pub use world::{Query, World};
