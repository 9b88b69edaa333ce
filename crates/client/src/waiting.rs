//! Waiting for what a server goes on with.

use std::time::Duration;

use custody_names::ResourceId;
use serde_json::Value;

use crate::error::{OPERATION_FAILED, OPERATION_TIMED_OUT};
use crate::{Accepted, Client, ClientError, Job};

/// How long one request waits for a job to change, in seconds; also how soon a wish to cancel is
/// passed on at the latest.
pub const WAIT_SECONDS: u32 = 1;
/// The pause between two looks at an operation or at a job that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// Most looks at one operation before the client gives up: about an hour.
pub const OPERATION_POLLS_MAX: u32 = 36_000;

/// What the one who waits for a job wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Continue,
    /// Stop it; the wait goes on until it has stopped.
    Cancel,
}

impl Client {
    /// Waits until job `id` of `vault` has ended and tells `seen` each time it changed.
    pub fn wait_for_job(
        &self,
        vault: &ResourceId,
        id: &str,
        seen: &mut dyn FnMut(&Job) -> Wish,
    ) -> Result<Job, ClientError> {
        let path = format!("{vault}/backupJobs/{id}");
        let mut query = String::new();
        let mut cancelled = false;
        loop {
            let job = Job::from_resource(&self.get(&format!("{path}{query}"))?)?;
            let wish = seen(&job);
            if job.has_ended() {
                return Ok(job);
            }
            if wish == Wish::Cancel && !cancelled {
                self.post(&format!("{path}/cancel"), &Value::Object(serde_json::Map::new()))?;
                cancelled = true;
            }
            match job.revision {
                Some(revision) => query = format!("?wait={WAIT_SECONDS}&after={revision}"),
                None => self.clock.sleep(PAUSE),
            }
        }
    }

    /// Waits until an operation has ended and brings its status resource.
    pub fn wait_for_operation(&self, accepted: &Accepted) -> Result<Value, ClientError> {
        for _look in 0..OPERATION_POLLS_MAX {
            let status = self.get(&accepted.status_uri)?;
            let word = status.get("status").and_then(Value::as_str).unwrap_or_default();
            if word.eq_ignore_ascii_case("Succeeded") {
                return Ok(status);
            }
            if word.eq_ignore_ascii_case("Failed") || word.eq_ignore_ascii_case("Canceled") {
                let error = status.get("error").and_then(ClientError::from_value);
                return Err(error.unwrap_or_else(|| {
                    let message = format!("the operation ended as {word} without a reason");
                    ClientError::new(OPERATION_FAILED, message)
                }));
            }
            self.clock.sleep(PAUSE);
        }
        let message = "the operation goes on, but this command stops waiting for it";
        Err(ClientError::new(OPERATION_TIMED_OUT, message))
    }
}
