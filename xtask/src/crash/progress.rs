//! Following a command by the progress lines it prints, and killing it at a moment of a phase.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::crash::schedule::Shot;
use crate::failure::{Failure, Trying};
use crate::process::line;
use crate::stopwatch::Stopwatch;

/// The phase before the first progress line.
pub(crate) const START: &str = "start";

/// When each phase was first seen, and when the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    phases: Vec<(String, Duration)>,
    end: Duration,
}

impl Timeline {
    /// From what was seen, in order; a phase counts from its first line on.
    pub(crate) fn new(seen: &[(Duration, String)], end: Duration) -> Self {
        let mut phases = vec![(START.to_owned(), Duration::ZERO)];
        for (at, phase) in seen {
            if !phases.iter().any(|(known, _)| known == phase) {
                phases.push((phase.clone(), *at));
            }
        }
        Self { phases, end }
    }

    /// Each phase with the time until the next one began.
    pub(crate) fn spans(&self) -> Vec<(String, Duration)> {
        let ends = self.phases.iter().skip(1).map(|(_, at)| *at).chain([self.end]);
        let spans = self.phases.iter().zip(ends);
        spans.map(|((phase, at), end)| (phase.clone(), end.saturating_sub(*at))).collect()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, span) in self.spans() {
            write!(f, "{phase} {:.1} ms, ", span.as_secs_f64() * 1e3)?;
        }
        write!(f, "in all {:.1} ms", self.end.as_secs_f64() * 1e3)
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By our signal, in this phase.
    Killed { phase: String },
    /// By itself, and well.
    Finished { timeline: Timeline },
    /// By itself, with this last line on stderr.
    Failed { why: String },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { phase } => write!(f, "killed in {phase}"),
            Self::Finished { timeline } => write!(f, "finished: {timeline}"),
            Self::Failed { why } => write!(f, "FAILED: {why}"),
        }
    }
}

/// Runs the command, with a shot at it if there is one.
pub(crate) fn follow(mut command: Command, shot: Option<&Shot>) -> Result<Outcome, Failure> {
    let what = line(&command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let stopwatch = Stopwatch::start();
    let mut child = command.spawn().trying(&what)?;
    let stderr = child.stderr.take().ok_or_else(|| Failure::new("no stderr"))?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(stderr.take(u64::MAX)).lines().map_while(Result::ok) {
            if sender.send((stopwatch.elapsed(), text)).is_err() {
                return;
            }
        }
        sender.send((stopwatch.elapsed(), String::new())).ok(); // when it ended
    });
    let mut seen = Seen::default();
    if let Some(shot) = shot {
        seen.until(&lines, &shot.phase);
        fire(&mut child, shot.delay).trying(&what)?;
    }
    seen.rest(&lines);
    let status = child.wait().trying(&what)?;
    Ok(if status.signal() == Some(9) {
        let phase = seen.phases.pop().map_or_else(|| START.to_owned(), |(_, phase)| phase);
        Outcome::Killed { phase }
    } else if status.success() {
        Outcome::Finished { timeline: Timeline::new(&seen.phases, seen.end) }
    } else {
        Outcome::Failed { why: format!("{what}: {status}: {}", seen.last_words) }
    })
}

fn fire(child: &mut Child, delay: Duration) -> std::io::Result<()> {
    std::thread::sleep(delay);
    child.kill()
}

/// What the lines have told.
#[derive(Default)]
struct Seen {
    phases: Vec<(Duration, String)>,
    last_words: String,
    end: Duration,
}

impl Seen {
    /// Takes lines until this phase begins, or the command ends.
    fn until(&mut self, lines: &Receiver<(Duration, String)>, phase: &str) {
        let begun = |seen: &Self| seen.phases.last().is_some_and(|(_, last)| last == phase);
        while phase != START && !begun(self) {
            let Ok((at, text)) = lines.recv() else { return };
            self.take(at, text);
        }
    }

    /// Takes all lines that are left.
    fn rest(&mut self, lines: &Receiver<(Duration, String)>) {
        for (at, text) in lines {
            self.take(at, text);
        }
    }

    fn take(&mut self, at: Duration, text: String) {
        self.end = at;
        if let Some(phase) = phase(&text) {
            self.phases.push((at, phase));
        } else if !text.is_empty() {
            self.last_words = text;
        }
    }
}

/// The phase that a progress line names: `{"phase":"packing", …}`, or deeper in the object.
fn phase(text: &str) -> Option<String> {
    let line: Value = serde_json::from_str(text).ok()?;
    let progress = line.get("progress").unwrap_or(&line);
    let phase = progress.get("phase")?.as_str()?;
    (!phase.is_empty()).then(|| phase.to_owned()) // a job that waits has none yet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines_name_phases() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(phase(text).as_deref(), expected, "{text}");
        };
        check("{\"phase\":\"packing\",\"filesDone\":3}", Some("packing"));
        check("{\"progress\":{\"phase\":\"commit\"}}", Some("commit"));
        check("{\"phase\":\"\"}", None);
        check("{\"status\":\"Completed\"}", None);
        check("warning: {\"phase\":\"x\"}", None);
        check("", None);
    }

    #[test]
    fn timelines_count_from_the_first_line_of_a_phase() {
        let ms = Duration::from_millis;
        let seen: Vec<_> = [(10, "read"), (20, "pack"), (30, "read"), (50, "commit")]
            .map(|(at, phase)| (ms(at), phase.to_owned()))
            .to_vec();
        let spans = Timeline::new(&seen, ms(55)).spans();
        let spans: Vec<_> = spans.iter().map(|(phase, span)| (phase.as_str(), *span)).collect();
        assert_eq!(
            spans,
            [("start", ms(10)), ("read", ms(10)), ("pack", ms(30)), ("commit", ms(5))]
        );
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_is_followed_to_its_end() {
        let script = "echo '{\"phase\":\"a\"}' >&2; echo noise; echo '{\"phase\":\"b\"}' >&2";
        let Outcome::Finished { timeline } = follow(shell(script), None).unwrap() else {
            panic!("it did not finish");
        };
        let phases: Vec<_> = timeline.spans().into_iter().map(|(phase, _)| phase).collect();
        assert_eq!(phases, ["start", "a", "b"]);

        let failed = follow(shell("echo 'no room' >&2; exit 3"), None).unwrap();
        assert!(failed.to_string().ends_with("exit status: 3: no room"), "{failed}");
    }

    #[test]
    fn a_shot_hits_in_its_phase() {
        // `read` waits for input that never comes, so the script stays in phase b.
        let script =
            "echo '{\"phase\":\"a\"}' >&2; echo '{\"phase\":\"b\"}' >&2; exec tail -f /dev/null";
        let shot = |phase: &str| Shot {
            act: crate::crash::act::Act::Prune,
            phase: phase.to_owned(),
            delay: Duration::ZERO,
        };
        let hit = follow(shell(script), Some(&shot("b"))).unwrap();
        assert_eq!(hit, Outcome::Killed { phase: "b".to_owned() });
        let early = follow(shell("exec tail -f /dev/null"), Some(&shot(START))).unwrap();
        assert_eq!(early, Outcome::Killed { phase: START.to_owned() });
        let missed = follow(shell("true"), Some(&shot("b"))).unwrap();
        assert!(matches!(missed, Outcome::Finished { .. }));
    }
}
