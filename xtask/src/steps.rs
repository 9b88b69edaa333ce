//! Steps of a command, each named and timed. All are run, so that one run shows all problems.

use crate::failure::Failure;
use crate::stopwatch::Stopwatch;

/// A step's name and what it does.
pub(crate) type Step = (&'static str, fn() -> Result<(), Failure>);

/// Runs the steps in order and prints how long each took.
pub(crate) fn run(steps: &[Step]) -> Result<(), Failure> {
    let mut failed = Vec::new();
    let mut times = Vec::new();
    for (name, step) in steps {
        println!("== {name}");
        let stopwatch = Stopwatch::start();
        let outcome = step();
        let word = if outcome.is_ok() { "passed" } else { "FAILED" };
        times.push(format!("{name:<8} {word} {:>7.1} s", stopwatch.elapsed().as_secs_f64()));
        if let Err(failure) = outcome {
            eprintln!("{failure}");
            failed.push(format!("{name} failed"));
        }
    }
    println!("{}", times.join("\n"));
    Failure::unless_empty(failed)
}
