//! Running one step and taking its measure.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Trying};
use crate::stopwatch::Stopwatch;

/// What one run of a step cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) wall_s: f64,
    /// User and system time together.
    pub(crate) cpu_s: f64,
    /// The process's largest resident memory.
    pub(crate) memory_bytes: u64,
}

/// Runs the command under GNU time. The inner error says why the command itself failed.
pub(crate) fn measure(command: Command, scratch: &Path) -> Result<Result<Sample, String>, Failure> {
    let (figures, log) = (scratch.join("time"), scratch.join("log"));
    let mut timed = Command::new("time");
    timed.args(["--quiet", "--format", "%U %S %M", "--output"]).arg(&figures);
    timed.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    for (variable, value) in command.get_envs() {
        if let Some(value) = value {
            timed.env(variable, value);
        }
    }
    let output = File::create(&log).trying(log.display())?;
    timed.stdin(Stdio::null()).stdout(output.try_clone().trying("log")?).stderr(output);

    let stopwatch = Stopwatch::start();
    let status = timed.status().trying("time")?;
    let wall_s = stopwatch.elapsed().as_secs_f64();
    if !status.success() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        return Ok(Err(format!("{status}: {last}")));
    }
    let text = fs::read_to_string(&figures).trying(figures.display())?;
    Ok(sample(wall_s, &text).ok_or_else(|| format!("GNU time said {text:?}")))
}

/// Reads what GNU time wrote: user and system seconds, KiB.
fn sample(wall_s: f64, text: &str) -> Option<Sample> {
    let mut words = text.lines().last()?.split_whitespace();
    let user_s: f64 = words.next()?.parse().ok()?;
    let system_s: f64 = words.next()?.parse().ok()?;
    let memory_kib: u64 = words.next()?.parse().ok()?;
    Some(Sample { wall_s, cpu_s: user_s + system_s, memory_bytes: memory_kib << 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_time_is_read() {
        let expected = Sample { wall_s: 2.0, cpu_s: 1.75, memory_bytes: 3 << 20 };
        assert_eq!(sample(2.0, "1.50 0.25 3072\n"), Some(expected));
        assert_eq!(sample(2.0, "time: no such program"), None);
        assert_eq!(sample(2.0, ""), None);
    }
}
