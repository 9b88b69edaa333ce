//! `bench memory`: the most memory that custody takes in each step, as the data grows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::custody_binary;
use crate::bench::engine::{Engine, OwnPrograms, Place, Step};
use crate::bench::measure::measure;
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{command, run as run_command};

/// The steps that are measured.
const STEPS: [Step; 4] = [Step::First, Step::Unchanged, Step::Check, Step::Restore];

/// Measures, and prints a table of MiB.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["sizes", "sets", "work", "custody"])?;
    let work: PathBuf = options.value("work", target_folder()?.join("bench-memory"))?;
    let own = OwnPrograms { custody: custody_binary(options)?, ..OwnPrograms::default() };
    let engine = Engine::named("custody", &own)?;
    let titles: Vec<&str> = STEPS.into_iter().map(Step::name).collect();
    println!("| set | GiB | {} |\n|---|---:|{}", titles.join(" | "), "---:|".repeat(STEPS.len()));
    for set in options.list("sets", &["tree", "large"]) {
        for size in options.list("sizes", &["1", "4", "16"]) {
            let peaks = peaks(&engine, set, size, &work)?;
            println!("| {set} | {size} | {} |", peaks.join(" | "));
        }
    }
    fs::remove_dir_all(&work).trying(work.display())
}

/// The peak of each step in MiB.
fn peaks(engine: &Engine, set: &str, gib: &str, work: &Path) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(work).trying(work.display())?;
    let (data, place) = (work.join("data"), Place::fresh(work)?);
    generate(&data, set, gib)?;
    let mut peaks = Vec::new();
    for step in [Step::Init].into_iter().chain(STEPS) {
        if step == Step::Restore {
            // Nothing is compared here, and both at once need not fit on the disk.
            fs::remove_dir_all(data.join(set)).trying(set)?;
        }
        let sample = measure(engine.command(step, set, &data, &place), &place.scratch)?;
        let sample = sample.map_err(|why| Failure::new(format!("{set} {}: {why}", step.name())))?;
        if step != Step::Init {
            peaks.push((sample.memory_bytes >> 20).to_string());
        }
    }
    place.clear()?;
    fs::remove_dir_all(&data).trying(data.display())?;
    Ok(peaks)
}

/// Makes one data set of so many GiB, three quarters of `large` a disk image, the rest a dump.
fn generate(data: &Path, set: &str, gib: &str) -> Result<(), Failure> {
    let gib: u64 = gib.parse().map_err(|_| Failure::new(format!("no size in GiB: {gib:?}")))?;
    let (tree, disk, dump) = match set {
        "tree" => (gib << 10, 0, 0),
        _ => (0, gib * 768, gib * 256),
    };
    let mut make = command("python3", &["bench/make-data.py", "gen"]);
    make.arg(data);
    for (option, mebibytes) in [("--tree-mb", tree), ("--vm-mb", disk), ("--dump-mb", dump)] {
        make.args([option, &mebibytes.to_string()]);
    }
    run_command(&mut make)
}
