//! How far a job is: bars on a terminal, JSON lines for scripts, both on stderr.

use std::io::Write;
use std::time::Duration;

use custody_client::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use crate::error::CliError;
use crate::surroundings::Surroundings;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgressMode {
    /// A bar if stderr is a terminal, else nothing.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// One JSON object a line.
    Json,
    /// Nothing.
    None,
}

/// Least time between two JSON status lines.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

/// Shows the progress of one job.
pub(crate) struct Reporter<'w> {
    world: &'w Surroundings,
    view: View,
    began: Duration,
}

enum View {
    Nothing,
    Bar(ProgressBar),
    Lines { last: Option<(Duration, String)> },
}

impl<'w> Reporter<'w> {
    /// A reporter in this mode; bars are drawn on terminals only.
    pub(crate) fn new(world: &'w Surroundings, mode: ProgressMode) -> Self {
        let view = match mode {
            ProgressMode::Json => View::Lines { last: None },
            ProgressMode::Auto | ProgressMode::Bar if world.terminals.stderr => View::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Bar | ProgressMode::None => View::Nothing,
        };
        Self { world, view, began: world.clock.since_boot() }
    }

    /// Shows how far the job is.
    pub(crate) fn update(&mut self, job: &Job) {
        let elapsed = self.world.clock.since_boot().saturating_sub(self.began);
        match &mut self.view {
            View::Nothing => {}
            View::Bar(bar) => draw(bar, job),
            View::Lines { last } => {
                let phase = step(job);
                let due = last.as_ref().is_none_or(|(then, last_phase)| {
                    last_phase != phase || elapsed.saturating_sub(*then) >= STATUS_INTERVAL
                });
                if due {
                    *last = Some((elapsed, phase.to_owned()));
                    print_line(self.world, &status_line(job, elapsed));
                }
            }
        }
    }

    /// Ends the display: takes the bar away, or prints the summary line of a job that is done.
    pub(crate) fn finish(&mut self, job: &Job) {
        match &mut self.view {
            View::Nothing => {}
            View::Bar(bar) => bar.finish_and_clear(),
            View::Lines { .. } => {
                for warning in &job.warnings {
                    print_line(self.world, &warning_line(warning));
                }
                print_line(self.world, &summary_line(job));
            }
        }
    }
}

/// Prints an error as the last JSON line.
pub(crate) fn print_error_line(world: &Surroundings, error: &CliError) {
    let mut line = message("error");
    if let Value::Object(fields) = error.to_json() {
        line.extend(fields);
    }
    print_line(world, &Value::Object(line));
}

fn status_line(job: &Job, elapsed: Duration) -> Value {
    let progress = &job.progress;
    let mut line = message("status");
    line.insert("phase".into(), step(job).into());
    if let Some(waiting) = &progress.waiting {
        line.insert("waiting".into(), serde_json::json!(waiting));
    }
    line.insert("seconds_elapsed".into(), elapsed.as_secs().into());
    if let Some(share) = share_done(job) {
        line.insert("percent_done".into(), share.into());
        if let Some(seconds) = seconds_remaining(elapsed, share) {
            line.insert("seconds_remaining".into(), seconds.into());
        }
    }
    let totals = [("total_files", progress.files_total), ("total_bytes", progress.bytes_total)];
    for (name, total) in totals {
        if let Some(total) = total {
            line.insert(name.into(), total.into());
        }
    }
    line.insert("files_done".into(), progress.files_done.into());
    line.insert("bytes_done".into(), progress.bytes_done.into());
    Value::Object(line)
}

fn warning_line(warning: &custody_client::JobWarning) -> Value {
    let mut line = message("warning");
    line.insert("code".into(), warning.code.as_str().into());
    line.insert("path".into(), warning.path.as_deref().into());
    line.insert("message".into(), warning.message.as_str().into());
    Value::Object(line)
}

fn summary_line(job: &Job) -> Value {
    let mut line = message("summary");
    line.insert("operation".into(), job.operation.as_str().into());
    line.insert("status".into(), job.status.as_str().into());
    line.insert("files_done".into(), job.progress.files_done.into());
    line.insert("bytes_done".into(), job.progress.bytes_done.into());
    line.insert("bytes_new".into(), job.progress.bytes_new.into());
    line.insert("warnings".into(), job.warning_count.into());
    line.insert("result".into(), job.result.clone());
    Value::Object(line)
}

fn message(message_type: &str) -> Map<String, Value> {
    Map::from_iter([("message_type".to_owned(), message_type.into())])
}

fn print_line(world: &Surroundings, line: &Value) {
    // A reader of progress that went away does not stop the job.
    let _ = writeln!(world.stderr.borrow_mut(), "{line}");
}

/// The share of the work that is done, 0 to 1, as restic's `percent_done` is.
#[expect(clippy::cast_precision_loss, reason = "a share for display")]
fn share_done(job: &Job) -> Option<f64> {
    let progress = &job.progress;
    let (done, total) = match (progress.bytes_total, progress.files_total) {
        (Some(total), _) if total > 0 => (progress.bytes_done, total),
        (_, Some(total)) if total > 0 => (progress.files_done, total),
        _ => return None,
    };
    Some((done as f64 / total as f64).min(1.0))
}

fn seconds_remaining(elapsed: Duration, share: f64) -> Option<u64> {
    let remaining = elapsed.as_secs_f64() * (1.0 - share) / share;
    Duration::try_from_secs_f64(remaining).ok().map(|remaining| remaining.as_secs())
}

/// The step it is at, or that it waits.
fn step(job: &Job) -> &str {
    if job.progress.waiting.is_some() { "wait" } else { &job.progress.phase }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::default_spinner());
    bar
}

fn draw(bar: &ProgressBar, job: &Job) {
    let progress = &job.progress;
    let template = match progress.bytes_total {
        Some(total) if total > 0 => {
            bar.set_length(total);
            "{msg:12} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"
        }
        _ => "{msg:12} {spinner} {bytes}  {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    let message = match &progress.waiting {
        Some(waiting) => format!("waits: {}", crate::terminal::line(&waiting.message)),
        None => format!("{} · {} files", crate::terminal::line(step(job)), progress.files_done),
    };
    bar.set_message(message);
    bar.set_position(progress.bytes_done);
    bar.tick();
}
