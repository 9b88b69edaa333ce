//! The pause of a job whose key vault is away (DESIGN §5): at the end of its lease the keys are zeroed
//! and whatever needs them waits here, until the next unwrap brings them back, a refusal ends them, or
//! it has waited in vain for too long. Unreachable is not revoked; refused is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_envelope::{EnvelopeError, Lease, LeaseEnd, Renewal};

use crate::job_board::Board;
use crate::key_watch::{Patience, REVOCATION_LOOK_EVERY, Renewed, Renewer};

/// How long a job waits for its key vault before it fails as retryable. A key vault with the usual
/// promise of 99.99 % is away for 53 minutes in a whole year; and a job that pauses holds its place in
/// the queue, keeps a prune from deleting, and may not outlast the next run of its schedule.
pub(crate) const PAUSE_MAX: Duration = Duration::from_hours(1);

/// The pause of one job.
pub(crate) struct Pause {
    board: Arc<Board>,
    renewer: Arc<Renewer>,
    /// One thread of the job asks; the others wait for what it finds.
    turn: Mutex<()>,
}

impl Pause {
    pub(crate) fn of(board: &Arc<Board>, renewer: &Arc<Renewer>) -> Self {
        let (board, renewer) = (Arc::clone(board), Arc::clone(renewer));
        Self { board, renewer, turn: Mutex::new(()) }
    }

    fn wait(&self, lease: &Lease) {
        let (begun, mut patience) = (self.renewer.since_boot(), Patience::fresh());
        let mut seen = self.renewer.counters();
        while lease.ended().is_some() && lease.may_go_on() {
            if let Some(reason) = self.board.why_to_stop() {
                return lease.end(reason);
            }
            let (now, changes) = (self.renewer.since_boot(), self.renewer.counters());
            if !patience.is_over(now) && changes == seen {
                self.renewer.platform.clock.sleep(patience.left(now).min(REVOCATION_LOOK_EVERY));
                continue;
            }
            seen = changes;
            let Renewed::Unanswered(reason) = self.renewer.renew(lease) else { return };
            let now = self.renewer.since_boot();
            let waited = now.saturating_sub(begun);
            if waited >= PAUSE_MAX {
                let message = format!(
                    "the job paused for {} minutes, and its key vault still gives no answer: {}",
                    waited.as_secs() / 60,
                    reason.message
                );
                return lease.end(LeaseEnd { message, ..reason });
            }
            self.board.pauses(&reason);
            patience.grow(now);
        }
    }
}

impl Renewal for Pause {
    fn renew(&self, lease: &Lease) -> Result<(), EnvelopeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait(lease);
        match lease.ended() {
            None => {
                self.board.goes_on();
                Ok(())
            }
            // It ran out again already: the next who needs it waits again.
            Some(_) if lease.may_go_on() => Ok(()),
            Some(reason) => Err(EnvelopeError::LeaseEnded { reason }),
        }
    }
}
