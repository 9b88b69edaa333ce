//! `bench`: custody beside restic, borg and rustic, on the same data in the same run.
//!
//! For each engine, data set and repetition: initialise, first backup, unchanged backup, edits,
//! incremental backup, check of every byte, full restore compared with the source.

pub(crate) mod curves;
mod data;
mod engine;
pub(crate) mod index;
mod measure;
pub(crate) mod memory;
mod plot;
mod report;
pub(crate) mod serve;
pub(crate) mod trees;
pub(crate) mod vaults;

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::data::Data;
use crate::bench::engine::{Engine, OwnPrograms, Place, Step};
use crate::bench::measure::measure;
use crate::bench::report::Figures;
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::packages;
use crate::process::{command, root, run as run_command};
use crate::tree;

/// Measures, and prints the tables. Fails if a step failed or a restore is not the source.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["reps", "sets", "engines", "seed", "small", "work", "custody"])?;
    packages::ensure(&[("time", "time"), ("python3", "python3"), ("diff", "diffutils")])?;
    let small = options.has("small");
    let repetitions: usize = options.value("reps", if small { 1 } else { 3 })?;
    let work: PathBuf = options.value("work", root().join("target/bench"))?;
    let engines = options.list("engines", &["custody", "ceiling", "restic", "borg", "rustic"]);
    let mut own = OwnPrograms::default();
    if engines.contains(&"custody") {
        own.custody = custody_binary(options)?;
    }
    if engines.contains(&"ceiling") {
        own.ceiling = ceiling()?;
    }
    let engines: Vec<Engine> =
        engines.into_iter().map(|name| Engine::named(name, &own)).collect::<Result<_, _>>()?;

    fs::create_dir_all(&work).trying(work.display())?;
    let data = Data::generate(&work.join("data"), options.value("seed", 1)?, small)?;
    let mut figures = Figures::default();
    for engine in &engines {
        let Some(version) = engine.version() else {
            figures.not_measured(engine);
            continue;
        };
        figures.measured(engine, version);
        for set in options.list("sets", &["tree", "large"]) {
            for repetition in 1..=repetitions {
                eprintln!("{} {set} {repetition}/{repetitions}", engine.name());
                series(engine, set, &data, &work, &mut figures)?;
            }
        }
    }
    println!("{}", figures.page(&work, &data, repetitions));
    figures.verdict()
}

/// The release build of custody, or the one that `--custody` names.
pub(crate) fn custody_binary(options: &Options) -> Result<PathBuf, Failure> {
    if options.has("custody") { binary(options, "custody") } else { built() }
}

/// The program that this option names.
fn binary(options: &Options, option: &str) -> Result<PathBuf, Failure> {
    let named: PathBuf = options.value(option, PathBuf::new())?;
    named.canonicalize().trying(named.display())
}

/// The release build of custody, after making sure that it is of today.
fn built() -> Result<PathBuf, Failure> {
    run_command(&mut command(
        "cargo",
        &["build", "--release", "--locked", "--package", "custody"],
    ))?;
    Ok(target_folder()?.join("release/custody"))
}

/// The program that does to bytes what a backup does, without the engine around it.
fn ceiling() -> Result<PathBuf, Failure> {
    let build = ["build", "--release", "--locked", "--package", "custody-repository"];
    let mut build = command("cargo", &build);
    run_command(build.args(["--features", "measure", "--example", "ceiling"]))?;
    Ok(target_folder()?.join("release/examples/ceiling"))
}

/// All steps of one engine on one data set, once.
fn series(
    engine: &Engine,
    set: &str,
    data: &Data,
    work: &Path,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let place = Place::fresh(work)?;
    data.revert()?;
    for step in Step::ALL.into_iter().filter(|step| engine.does(*step)) {
        if step == Step::Incremental {
            data.apply()?;
        }
        data.warm(set)?;
        let command = engine.command(step, set, data.folder(), &place);
        match measure(command, &place.scratch)? {
            Ok(sample) => {
                let size_bytes = tree::size_bytes(&place.repository).unwrap_or_default();
                figures.add(engine, set, step, sample, size_bytes);
            }
            Err(why) => {
                figures.failed(engine, set, step, &why);
                break;
            }
        }
    }
    if place.restored.exists() {
        let source = data.folder().join(set);
        let restored = tree::restored_top(&source, &place.restored).trying("restored files")?;
        if !is_same(&source, &restored)? {
            figures.failed(engine, set, Step::Restore, "the restored files are not the source");
        }
    }
    data.revert()?;
    place.clear()
}

/// Whether two trees hold the same names, links and contents.
fn is_same(source: &Path, restored: &Path) -> Result<bool, Failure> {
    let mut diff = command("diff", &["--recursive", "--brief", "--no-dereference"]);
    let output = diff.arg(source).arg(restored).output().trying("diff")?;
    Ok(output.status.success())
}
