//! A running job, as its task sees it.

use std::sync::Arc;

use custody_backup_vaults::Vault;
use custody_names::{OperationId, ResourceId};
use custody_protection::Item;
use custody_resources::{Operation, Progress, Refusal};
use serde_json::Value;

use crate::Platform;
use crate::error::TaskError;
use crate::job_board::Board;
use crate::key_access::Cause;
use crate::tasks::follow_newest;
use crate::vault_session::VaultSession;

/// What a task sees of its own job.
pub(crate) struct Job<'p> {
    /// Where it runs.
    pub(crate) platform: &'p Arc<Platform>,
    /// The operation as it was begun.
    pub(crate) operation: Operation,
    board: Arc<Board>,
}

impl<'p> Job<'p> {
    pub(crate) fn new(platform: &'p Arc<Platform>, operation: Operation) -> Self {
        let board = Arc::new(Board::of(platform, &operation));
        Self { platform, operation, board }
    }

    pub(crate) fn id(&self) -> OperationId {
        self.operation.id
    }

    pub(crate) fn resource(&self) -> &ResourceId {
        &self.operation.resource
    }

    /// What ties requests to the key vault to this job.
    pub(crate) fn cause(&self) -> Cause {
        Cause { job: Some(self.operation.id), ..Cause::of(self.operation.correlation) }
    }

    /// The vault that the job works on: its resource, or the vault of the item that is.
    pub(crate) fn vault(&self) -> Result<Vault, Refusal> {
        self.platform.vault_of(self.resource())
    }

    /// The vault opened for this job, rewrapped first if its key has a newer version to follow.
    pub(crate) fn open_vault(&self) -> Result<(Vault, VaultSession), TaskError> {
        let vault = self.vault()?;
        vault.require_usable()?;
        let vault = follow_newest(self, vault)?;
        let session = self.open_session(&vault)?;
        Ok((vault, session))
    }

    /// The vault opened as it is. While its key vault is away the job pauses.
    pub(crate) fn open_session(&self, vault: &Vault) -> Result<VaultSession, Refusal> {
        let session = VaultSession::open(self.platform, vault, self.cause())?;
        for refused in &session.refused {
            let message = format!("it is not used: {}", refused.error);
            self.warn(refused.error.code(), refused.object().as_bytes(), &message);
        }
        Ok(session.pausing(&self.board))
    }

    /// The item that the job works on: its resource, or the item of the point that is.
    pub(crate) fn item(&self) -> Result<Item, Refusal> {
        self.platform.item_of(self.resource())
    }

    /// Whether somebody asked it to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.board.is_stopped()
    }

    /// Ends the task if somebody asked for it.
    pub(crate) fn check(&self) -> Result<(), TaskError> {
        if self.is_stopped() { Err(TaskError::Cancelled) } else { Ok(()) }
    }

    /// Names what is being done now.
    pub(crate) fn phase(&self, phase: &str) -> Result<(), TaskError> {
        self.board.begin_phase(phase)?;
        self.check()
    }

    /// Changes the progress; a new phase is stored at once, the rest a few times a second at most.
    pub(crate) fn report(&self, change: impl FnOnce(&mut Progress)) {
        self.board.report(change);
    }

    /// Keeps a warning for the job's record.
    pub(crate) fn warn(&self, code: &str, path: &[u8], message: &str) {
        self.board.warn(code, path, message);
    }

    /// Counts warnings that the engine counted but did not list.
    pub(crate) fn count_to(&self, total: u64) {
        self.board.count_to(total);
    }

    /// How many warnings there are.
    pub(crate) fn warning_count(&self) -> u64 {
        self.board.warning_count()
    }

    /// The progress as last reported.
    pub(crate) fn progress(&self) -> Progress {
        self.board.progress()
    }

    /// Adds warnings and log to what the task found.
    pub(crate) fn with_notes(&self, result: Value) -> Value {
        self.board.with_notes(result)
    }

    /// The warnings as the job shows them while its process lives.
    pub(crate) fn warnings(&self) -> Vec<Value> {
        self.board.warnings()
    }
}
