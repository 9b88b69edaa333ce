//! Carrying out a job: starting it, showing its progress, cancelling it on Ctrl-C.

use std::time::Duration;

use custody_client::{Accepted, Job, Wish};
use custody_names::ResourceId;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::progress::Reporter;
use crate::{human, terminal};

/// Most warnings that are printed one by one.
const WARNINGS_SHOWN_MAX: usize = 10;

/// A job that has ended well.
pub(crate) struct Done {
    /// The job.
    pub job: Job,
    /// Its id.
    pub id: String,
}

impl Done {
    /// How the process ends after this job.
    pub(crate) fn exit(&self) -> ExitCode {
        if self.job.status == "CompletedWithWarnings" {
            ExitCode::CompletedWithWarnings
        } else {
            ExitCode::Success
        }
    }

    /// How long it took, in words.
    pub(crate) fn took(&self) -> String {
        let time = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
        let took = match (time(&self.job.start_time), time(&self.job.end_time)) {
            (Some(start), Some(end)) => end.duration_since(start).unsigned_abs(),
            _ => Duration::ZERO,
        };
        human::duration(took)
    }

    /// What scripts are told of every job: its id, status and result, with `more` in between.
    pub(crate) fn to_json(&self, more: Value) -> Value {
        let mut all = json!({ "job": self.id, "status": self.job.status });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
            all.insert("warningCount".to_owned(), self.job.warning_count.into());
            all.insert("warnings".to_owned(), json!(self.job.warnings));
        }
        all
    }
}

/// Starts an action of `vault` or of something in it, and waits for its job.
pub(crate) fn run(
    context: &Context<'_>,
    vault: &ResourceId,
    action: &str,
    body: &Value,
) -> Result<Done, CliError> {
    let accepted = context.client()?.start(action, body)?;
    wait(context, vault, &accepted)
}

fn wait(context: &Context<'_>, vault: &ResourceId, accepted: &Accepted) -> Result<Done, CliError> {
    let world = context.world;
    let mut reporter = Reporter::new(world, context.progress());
    let mut told = false;
    let mut seen = |job: &Job| {
        reporter.update(job);
        if (world.interrupts)() == 0 {
            return Wish::Continue;
        }
        if !std::mem::replace(&mut told, true) {
            context.say("stopping; press Ctrl-C again to leave at once");
        }
        Wish::Cancel
    };
    let job = context.client()?.wait_for_job(vault, &accepted.operation, &mut seen)?;
    reporter.finish(&job);
    show_warnings(context, &job);
    job.outcome()?;
    Ok(Done { job, id: accepted.operation.clone() })
}

fn show_warnings(context: &Context<'_>, job: &Job) {
    for warning in job.warnings.iter().take(WARNINGS_SHOWN_MAX) {
        let path = warning.path.as_deref().filter(|path| !path.is_empty());
        let path = path.map(|path| format!("{}: ", terminal::line(path))).unwrap_or_default();
        let (message, code) = (terminal::line(&warning.message), terminal::line(&warning.code));
        context.warn(&format!("warning: {path}{message} ({code})"));
    }
    let shown = job.warnings.len().min(WARNINGS_SHOWN_MAX) as u64;
    if job.warning_count > shown {
        let more = human::count(job.warning_count - shown, "warning");
        context.warn(&format!("… and {more} more"));
    }
}
