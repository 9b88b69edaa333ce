//! Where records live: applies the engine's writes in one transaction; operations and the queue.
//!
//! [`RecordStore`] is the contract, [`suite`] its tests, [`SqliteRecords`] the implementation over
//! one SQLite file that several processes may use at once (`docs/formats/records.md`).
//!
//! A plan never reads by itself. It looks at a [`World`] and stops with [`Stop::Needs`] until that
//! holds what it must see; the store loads it in the very transaction that will take the plan's
//! writes, so no plan decides on records that change under it (DESIGN §4).

mod error;
mod operations;
mod sqlite;
pub mod suite;

use std::time::Duration;

use custody_names::{OperationId, ResourceId};
use custody_resources::{ActivityEvent, Operation, Stop, World, Write};
use serde_json::Value;

pub use error::{ApplyError, StoreError};
pub use operations::{OperationFilter, TrackedOperation};
pub use sqlite::SqliteRecords;

/// How long a writer waits for another process's transaction.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most questions a plan may ask of its world.
pub const ROUNDS_MAX: usize = 1_000;
/// Most events of the activity log that are kept.
pub const EVENTS_MAX: u32 = 200_000;
/// Most ended operations that are kept.
pub const ENDED_OPERATIONS_MAX: u32 = 20_000;

/// A plan that changes records.
pub type Decide<'a> = dyn FnMut(&World) -> Result<Vec<Write>, Stop> + 'a;
/// A plan that only looks.
pub type Look<'a> = dyn FnMut(&World) -> Result<(), Stop> + 'a;
/// A change of an operation, with what it made of the records.
pub type Advance<'a> = dyn FnMut(&World, &mut Operation) -> Result<Vec<Write>, Stop> + 'a;
/// A change of a setting: what it was to what it becomes; `None` is an absent setting.
pub type ChangeSetting<'a> = dyn FnMut(Option<Value>) -> Option<Value> + 'a;

/// The store of all records of one installation.
///
/// All closures may be called several times, each time with a world that knows more, and must not
/// call the store themselves.
pub trait RecordStore: Send + Sync {
    /// Asks `decide` until it knows enough, and applies its writes: all of them, durably, or none.
    /// A refusal's own writes are applied under the same lock before it is returned.
    fn apply(&self, decide: &mut Decide<'_>) -> Result<(), ApplyError>;

    /// Shows `look` one consistent state.
    fn view(&self, look: &mut Look<'_>) -> Result<(), ApplyError>;

    /// A number that is another one after every change of a record, by whichever process. What was concluded
    /// from a view holds as long as the number read before that view stands still. Cheap: asked for
    /// with every request, and no reader or writer keeps it waiting.
    fn state(&self) -> Result<u64, StoreError>;

    /// One operation.
    fn operation(&self, id: OperationId) -> Result<Option<TrackedOperation>, StoreError>;

    /// The newest operations that pass the filter, newest first.
    fn operations(
        &self,
        filter: &OperationFilter,
        limit: usize,
    ) -> Result<Vec<TrackedOperation>, StoreError>;

    /// Changes an operation that `owner` carries out, together with the records it is about, so
    /// that the end of an operation and what it achieved are stored as one.
    ///
    /// # Errors
    /// [`StoreError::OperationTakenOver`] if another process carries it out by now, and
    /// [`StoreError::OperationEnded`] if it had ended before: nothing is stored then.
    fn update_operation(
        &self,
        id: OperationId,
        owner: &str,
        advance: &mut Advance<'_>,
    ) -> Result<TrackedOperation, ApplyError>;

    /// Begins an operation that nobody has begun: exactly one caller gets it. Who gets a queued one
    /// finds it `InProgress`; one that was cancelled before stays `Cancelling`, to be wound up.
    fn claim(&self, id: OperationId, owner: &str) -> Result<Option<TrackedOperation>, StoreError>;

    /// Hands an operation that has not ended from `old_owner`, who is gone, to `new_owner`.
    /// Exactly one of several who try gets it.
    fn take_over(
        &self,
        id: OperationId,
        old_owner: &str,
        new_owner: &str,
    ) -> Result<bool, StoreError>;

    /// Asks the operation to stop, and returns it as it is then; one that has ended stays as it is.
    fn request_cancel(&self, id: OperationId) -> Result<Option<TrackedOperation>, StoreError>;

    /// How often something changed that may end access to a key (DESIGN §5). Cheap: holders of key
    /// leases read it several times a second, and no writer keeps them waiting.
    fn revocation_counter(&self) -> Result<u64, StoreError>;

    /// The newest events about `within` and what lies below it, or about everything, newest first.
    fn activity(
        &self,
        within: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ActivityEvent>, StoreError>;

    /// A fact about the installation.
    fn setting(&self, name: &str) -> Result<Option<Value>, StoreError>;

    /// The names of the facts that begin with `prefix`, in order.
    fn settings(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Changes a fact about the installation, as one step among all processes.
    fn change_setting(&self, name: &str, change: &mut ChangeSetting<'_>) -> Result<(), StoreError>;

    /// Stores a fact about the installation.
    fn set_setting(&self, name: &str, value: &Value) -> Result<(), StoreError> {
        self.change_setting(name, &mut |_| Some(value.clone()))
    }
}
