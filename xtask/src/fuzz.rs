//! `fuzz`: builds the programs below `fuzz/` with coverage counters and runs each of them for a
//! while.
//!
//! The programs are libFuzzer's, by the crate `libfuzzer-sys`. The compiler flags are those of
//! cargo-fuzz without a sanitizer, which stable Rust has not: the code is free of `unsafe`, so what
//! is looked for are panics, assertions, hangs and memory without end. What a program finds is
//! put into `fuzz/corpus`, where the tests of `fuzz-targets` send it through its target from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{command, output, root, run as run_command};
use crate::stopwatch::Stopwatch;

/// What puts coverage counters into code, and traces comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     --cfg fuzzing";
/// Longest input that is made, in bytes.
const INPUT_BYTES_MAX: usize = 4_096;
/// Seconds after which one input counts as a hang.
const INPUT_SECONDS_MAX: u32 = 20;
/// Memory beyond which a program counts as leaking, in MiB.
const MEMORY_MIB_MAX: u32 = 2_048;

/// Where everything is.
struct Places {
    programs: PathBuf,
    corpus: PathBuf,
    work: PathBuf,
}

/// Runs all targets, or those that are named, and fails if one finds something.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["seconds", "targets"])?;
    let seconds: u32 = options.value("seconds", 60)?;
    let all = targets()?;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let places = build()?;
    let mut problems = Vec::new();
    println!("| target | executions | seconds |\n|---|---:|---:|");
    for target in options.list("targets", &all) {
        match fuzz(&places, target, seconds) {
            Ok(line) => println!("{line}"),
            Err(failure) => problems.push(failure.to_string()),
        }
    }
    Failure::unless_empty(problems)
}

/// The names of the programs below `fuzz/targets`.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join("fuzz/targets");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).trying(folder.display())? {
        let path = file.trying(folder.display())?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<Places, Failure> {
    let version = output(&mut command("rustc", &["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let work = target_folder()?.join("fuzz");
    let words =
        ["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", host];
    run_command(command("cargo", &words).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &work))?;
    let programs = work.join(host).join("release");
    Ok(Places { programs, corpus: root().join("fuzz/corpus"), work })
}

/// Runs one target, and makes the corpus that it left smaller.
fn fuzz(places: &Places, target: &str, seconds: u32) -> Result<String, Failure> {
    let Places { programs, corpus, work } = places;
    let (seeds, grown) = (corpus.join(target), work.join("corpus").join(target));
    let found = work.join("found").join(target);
    let temporary = temporary(work);
    for folder in [&grown, &found, &temporary] {
        fs::create_dir_all(folder).trying(folder.display())?;
    }
    let log = work.join(format!("{target}.log"));
    let program = |arguments: &[String], log: &Path| -> Result<bool, Failure> {
        let told = fs::File::create(log).trying(log.display())?;
        let mut command = Command::new(programs.join(target));
        command.args(arguments).env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(told);
        Ok(command.status().trying(target)?.success())
    };
    let text = |path: &Path| path.display().to_string();
    let stopwatch = Stopwatch::start();
    let passed = program(
        &[
            text(&grown),
            text(&seeds),
            format!("-dict={}", root().join("fuzz/words.dict").display()),
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            format!("-artifact_prefix={}/", found.display()),
            "-print_final_stats=1".to_owned(),
        ],
        &log,
    )?;
    let took = stopwatch.elapsed();
    // The worlds of programs that have ended.
    fs::remove_dir_all(&temporary).ok();
    let kept = keep(&found, &seeds)?;
    let told = fs::read_to_string(&log).trying(log.display())?;
    if !passed {
        let why = told.lines().find(|line| line.contains("panicked at") || line.contains("ERROR:"));
        let why = why.unwrap_or("it failed");
        let (kept, log) = (kept.join(", "), log.display());
        return Err(Failure::new(format!("{target}: {why}; {kept}; more in {log}")));
    }
    let small = work.join("small").join(target);
    fs::create_dir_all(&small).trying(small.display())?;
    fs::create_dir_all(&temporary).trying(temporary.display())?;
    let arguments = ["-merge=1".to_owned(), text(&small), text(&grown)];
    if program(&arguments, &work.join(format!("{target}.merge.log")))? {
        fs::remove_dir_all(&grown).trying(grown.display())?;
        fs::rename(&small, &grown).trying(grown.display())?;
    }
    fs::remove_dir_all(&temporary).ok();
    Ok(format!("| {target} | {} | {} |", executions(&told), took.as_secs()))
}

/// A folder for the programs' data folders: in memory where there is one, for each request that
/// changes something waits for the disk.
fn temporary(work: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let name = format!("custody-fuzz-{}", std::process::id());
    if memory.is_dir() { memory.join(name) } else { work.join(name) }
}

/// Puts what was found beside the seeds, and names it.
fn keep(found: &Path, seeds: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for file in fs::read_dir(found).trying(found.display())? {
        let path = file.trying(found.display())?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        fs::copy(&path, seeds.join(&name)).trying(path.display())?;
        fs::remove_file(&path).trying(path.display())?;
        names.push(name);
    }
    Ok(names)
}

/// How many inputs were run, by the program's last words.
fn executions(told: &str) -> &str {
    let stat = |line: &'_ str| line.starts_with("stat::number_of_executed_units:");
    let line = told.lines().find(|line| stat(line)).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_tell_the_executions() {
        let told = "INFO: x\nstat::number_of_executed_units: 1234\nstat::peak_rss_mb: 80";
        assert_eq!(executions(told), "1234");
        assert_eq!(executions("nothing"), "");
    }
}
