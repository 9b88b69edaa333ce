//! How far a job is: bars on a terminal, JSON lines for scripts, both on stderr.

use std::io::Write;
use std::time::Duration;

use custody_client::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use crate::error::CliError;
use crate::surroundings::Surroundings;
use crate::{human, terminal};

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
    /// The step it is at, and when that began.
    step: (String, Duration),
    /// When the last JSON line was printed.
    told: Option<Duration>,
}

enum View {
    Nothing,
    Bar(ProgressBar),
    Lines,
}

impl<'w> Reporter<'w> {
    /// A reporter in this mode; bars are drawn on terminals only.
    pub(crate) fn new(world: &'w Surroundings, mode: ProgressMode) -> Self {
        let view = match mode {
            ProgressMode::Json => View::Lines,
            ProgressMode::Auto | ProgressMode::Bar if world.terminals.stderr => View::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Bar | ProgressMode::None => View::Nothing,
        };
        let began = world.clock.since_boot();
        Self { world, view, began, step: (String::new(), Duration::ZERO), told: None }
    }

    /// Shows how far the job is.
    pub(crate) fn update(&mut self, job: &Job) {
        let elapsed = self.world.clock.since_boot().saturating_sub(self.began);
        let is_new = self.step.0 != step(job);
        if is_new {
            self.step = (step(job).to_owned(), elapsed);
        }
        let pace = Pace { elapsed, in_step: elapsed.saturating_sub(self.step.1) };
        match &self.view {
            View::Nothing => {}
            View::Bar(bar) => {
                bar.set_message(line(job, pace));
                bar.tick();
            }
            View::Lines => {
                let due =
                    self.told.is_none_or(|then| elapsed.saturating_sub(then) >= STATUS_INTERVAL);
                if is_new || due {
                    self.told = Some(elapsed);
                    print_line(self.world, &status_line(job, pace));
                }
            }
        }
    }

    /// Ends the display: takes the bar away, or prints the summary line of a job that is done.
    pub(crate) fn finish(&mut self, job: &Job) {
        match &self.view {
            View::Nothing => {}
            View::Bar(bar) => bar.finish_and_clear(),
            View::Lines => {
                let elapsed = self.world.clock.since_boot().saturating_sub(self.began);
                for warning in &job.warnings {
                    print_line(self.world, &warning_line(warning));
                }
                print_line(self.world, &summary_line(job, elapsed));
            }
        }
    }
}

/// How long a job and its step have run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    elapsed: Duration,
    in_step: Duration,
}

/// Prints an error as the last JSON line.
pub(crate) fn print_error_line(world: &Surroundings, error: &CliError) {
    let mut line = message("error");
    if let Value::Object(fields) = error.to_json() {
        line.extend(fields);
    }
    print_line(world, &Value::Object(line));
}

/// What a terminal is shown of a job: step, share, bytes, files, speed, and what is left.
fn line(job: &Job, pace: Pace) -> String {
    let progress = &job.progress;
    if let Some(waiting) = &progress.waiting {
        return format!("waits: {}", terminal::line(&waiting.message));
    }
    let mut parts = vec![terminal::line(step(job))];
    let share = share_done(job);
    // What is only about so much is marked.
    let about = if progress.total_is_estimate { "~" } else { "" };
    if let Some(share) = share {
        parts.push(format!("{about}{} %", percent(share)));
    }
    let noun = noun(&progress.phase);
    let totals = [progress.bytes_total, progress.files_total];
    let [bytes, files] = totals.map(|total| total.filter(|total| *total > 0 && share.is_some()));
    let done = human::size(progress.bytes_done);
    match bytes {
        Some(total) => parts.push(format!("{done} of {about}{}", human::size(total))),
        None if progress.bytes_done > 0 || noun == "file" => parts.push(done),
        None => {}
    }
    let done = progress.files_done;
    parts.push(match files {
        Some(total) => format!("{} of {about}{}", human::grouped(done), human::count(total, noun)),
        None => human::count(done, noun),
    });
    if progress.bytes_new > 0 {
        parts.push(format!("{} new", human::size(progress.bytes_new)));
    }
    if let Some(rate) = bytes_per_second(job, pace).filter(|rate| *rate > 0 || noun == "file") {
        parts.push(format!("{}/s", human::size(rate)));
    }
    if let Some(left) = share.and_then(|share| seconds_remaining(pace.in_step, share)) {
        parts.push(format!("{about}{} left", human::duration(Duration::from_secs(left))));
    }
    parts.join(" · ")
}

fn status_line(job: &Job, pace: Pace) -> Value {
    let progress = &job.progress;
    let mut line = message("status");
    line.insert("phase".into(), step(job).into());
    if let Some(waiting) = &progress.waiting {
        line.insert("waiting".into(), serde_json::json!(waiting));
    }
    line.insert("seconds_elapsed".into(), pace.elapsed.as_secs().into());
    if let Some(share) = share_done(job) {
        line.insert("percent_done".into(), share.into());
        if let Some(seconds) = seconds_remaining(pace.in_step, share) {
            line.insert("seconds_remaining".into(), seconds.into());
        }
    }
    let totals = [("total_files", progress.files_total), ("total_bytes", progress.bytes_total)];
    for (name, total) in totals {
        if let Some(total) = total.filter(|total| *total > 0) {
            line.insert(name.into(), total.into());
        }
    }
    if progress.total_is_estimate {
        line.insert("total_is_estimate".into(), true.into());
    }
    line.insert("files_done".into(), progress.files_done.into());
    line.insert("bytes_done".into(), progress.bytes_done.into());
    line.insert("bytes_new".into(), progress.bytes_new.into());
    if let Some(rate) = bytes_per_second(job, pace) {
        line.insert("bytes_per_second".into(), rate.into());
    }
    Value::Object(line)
}

fn warning_line(warning: &custody_client::JobWarning) -> Value {
    let mut line = message("warning");
    line.insert("code".into(), warning.code.as_str().into());
    line.insert("path".into(), warning.path.as_deref().into());
    line.insert("message".into(), warning.message.as_str().into());
    Value::Object(line)
}

fn summary_line(job: &Job, elapsed: Duration) -> Value {
    let mut line = message("summary");
    line.insert("operation".into(), job.operation.as_str().into());
    line.insert("status".into(), job.status.as_str().into());
    line.insert("files_done".into(), job.progress.files_done.into());
    line.insert("bytes_done".into(), job.progress.bytes_done.into());
    line.insert("bytes_new".into(), job.progress.bytes_new.into());
    line.insert("warnings".into(), job.warning_count.into());
    line.insert("seconds_elapsed".into(), elapsed.as_secs().into());
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

/// The share of the step that is done, 0 to 1, as restic's `percent_done` is; nothing once there is more
/// than was estimated.
#[expect(clippy::cast_precision_loss, reason = "a share for display")]
fn share_done(job: &Job) -> Option<f64> {
    let progress = &job.progress;
    let (done, total) = match (progress.bytes_total, progress.files_total) {
        (Some(total), _) if total > 0 => (progress.bytes_done, total),
        (_, Some(total)) if total > 0 => (progress.files_done, total),
        _ => return None,
    };
    let is_refuted = progress.total_is_estimate && done > total;
    (!is_refuted).then(|| (done as f64 / total as f64).min(1.0))
}

/// What is left at the pace of this step; nothing before there is one.
fn seconds_remaining(in_step: Duration, share: f64) -> Option<u64> {
    let remaining = in_step.as_secs_f64() * (1.0 - share) / share;
    Duration::try_from_secs_f64(remaining).ok().map(|remaining| remaining.as_secs())
}

/// The pace of this step, once it has run for a second.
fn bytes_per_second(job: &Job, pace: Pace) -> Option<u64> {
    let millis = u64::try_from(pace.in_step.as_millis()).ok().filter(|millis| *millis >= 1_000)?;
    Some(job.progress.bytes_done.saturating_mul(1_000) / millis)
}

/// A share in whole percent, 100 only when all is done.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn percent(share: f64) -> u8 {
    (share * 100.0).floor().clamp(0.0, 100.0) as u8
}

/// What a step counts as its files.
fn noun(phase: &str) -> &'static str {
    match phase {
        "check" | "index" => "object",
        "follow" | "plan" => "folder",
        "repack" | "delete" => "pack",
        _ => "file",
    }
}

/// The step it is at, or that it waits.
fn step(job: &Job) -> &str {
    if job.progress.waiting.is_some() { "wait" } else { &job.progress.phase }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn job(progress: Value) -> Job {
        let job = json!({ "operation": "Restore", "status": "InProgress", "progress": progress });
        serde_json::from_value(job).unwrap()
    }

    fn pace(elapsed: u32, in_step: u32) -> Pace {
        Pace { elapsed: SECOND * elapsed, in_step: SECOND * in_step }
    }

    #[test]
    fn a_line_says_what_is_known() {
        let check = |progress: Value, in_step: u32, expected: &str| {
            assert_eq!(line(&job(progress), pace(in_step + 2, in_step)), expected);
        };
        let read = json!({
            "phase": "read", "filesDone": 1_203, "bytesDone": 1_288_490_189_u64,
            "bytesNew": 125_829_120,
        });
        check(read.clone(), 0, "read · 1.20 GiB · 1,203 files · 120 MiB new");
        check(read, 30, "read · 1.20 GiB · 1,203 files · 120 MiB new · 41.0 MiB/s");
        let restore = |done: u64| {
            json!({
                "phase": "restore", "filesDone": 1, "filesTotal": 2_000,
                "bytesDone": done, "bytesTotal": 1_000_000_000,
            })
        };
        check(restore(0), 0, "restore · 0 % · 0 B of 954 MiB · 1 of 2,000 files");
        check(
            restore(250_000_000),
            10,
            "restore · 25 % · 238 MiB of 954 MiB · 1 of 2,000 files · 23.8 MiB/s · 30.0 s left",
        );
        check(
            restore(999_999_999),
            3_600,
            "restore · 99 % · 954 MiB of 954 MiB · 1 of 2,000 files · 271 KiB/s · 0.0 s left",
        );
        // A total that was too small is no reason to say more than all.
        check(
            restore(2_000_000_000),
            0,
            "restore · 100 % · 1.86 GiB of 954 MiB · 1 of 2,000 files · 0.0 s left",
        );
        let waits = json!({
            "phase": "read",
            "waiting": { "since": "2026-11-22T06:00:00Z", "code": "X", "message": "no\u{1b}answer" },
        });
        check(waits, 5, "waits: no\\x1banswer");
        check(json!({ "phase": "unlock" }), 1, "unlock · 0 B · 0 files · 0 B/s");
        let second = |done: u64| {
            json!({
                "phase": "read", "filesDone": 3, "filesTotal": 1_000, "bytesDone": done,
                "bytesTotal": 1_000_000_000, "totalIsEstimate": true, "bytesNew": 2_097_152,
            })
        };
        check(
            second(430_000_000),
            10,
            "read · ~43 % · 410 MiB of ~954 MiB · 3 of ~1,000 files · 2.00 MiB new · 41.0 MiB/s · \
             ~13.0 s left",
        );
        // There is more than the last time: nobody knows how much.
        check(second(1_000_000_001), 10, "read · 954 MiB · 3 files · 2.00 MiB new · 95.4 MiB/s");
        let phase = |phase: &str, more: Value| {
            let mut progress = json!({ "phase": phase, "filesDone": 30 });
            progress.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            progress
        };
        let all = json!({ "filesTotal": 40, "bytesDone": 250_000, "bytesTotal": 1_000_000 });
        check(
            phase("check", all),
            0,
            "check · 25 % · 244 KiB of 977 KiB · 30 of 40 objects · 0.0 s left",
        );
        check(phase("follow", json!({})), 5, "follow · 30 folders");
        let some = json!({ "filesTotal": 40 });
        check(phase("index", some.clone()), 3, "index · 75 % · 30 of 40 objects · 1.0 s left");
        check(phase("delete", some), 3, "delete · 75 % · 30 of 40 packs · 1.0 s left");
    }

    /// The same in JSON, a line each.
    #[test]
    fn a_status_line_says_the_same() {
        let progress = json!({
            "phase": "restore", "filesDone": 1, "filesTotal": 2_000, "bytesDone": 250_000_000,
            "bytesTotal": 1_000_000_000, "bytesNew": 5,
        });
        let expected = json!({
            "message_type": "status", "phase": "restore", "seconds_elapsed": 12,
            "percent_done": 0.25, "seconds_remaining": 30, "total_files": 2_000,
            "total_bytes": 1_000_000_000, "files_done": 1, "bytes_done": 250_000_000, "bytes_new": 5,
            "bytes_per_second": 25_000_000,
        });
        assert_eq!(status_line(&job(progress), pace(12, 10)), expected);

        let second = |done: u64| {
            let progress = json!({
                "phase": "read", "bytesDone": done, "bytesTotal": 100, "totalIsEstimate": true,
            });
            status_line(&job(progress), pace(12, 10))
        };
        let check = |done: u64, share: Value, left: Value| {
            let line = second(done);
            let found = ["percent_done", "seconds_remaining"].map(|name| line[name].clone());
            assert_eq!(found, [share, left], "{line}");
            assert_eq!(
                (&line["total_bytes"], &line["total_is_estimate"]),
                (&json!(100), &json!(true))
            );
        };
        check(50, json!(0.5), json!(10));
        check(101, Value::Null, Value::Null);
    }
}
