//! `bench index`: the index and the log of repositories of very many chunks and points, which are
//! synthetic.

use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{command, run as run_command};

/// Index objects of 1,048,576 chunks each.
const OBJECTS: [&str; 2] = ["1", "10"];
/// Points in a log.
const POINTS: [&str; 2] = ["1", "100000"];

/// Fills a repository for each size and measures it in a process of its own.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["objects", "points", "work"])?;
    let folder = options.value("work", target_folder()?.join("bench-index"))?;
    for objects in options.list("objects", &OBJECTS) {
        anew(&folder)?;
        bench("fill", &folder, objects)?;
        bench("measure", &folder, objects)?;
    }
    for points in options.list("points", &POINTS) {
        anew(&folder)?;
        bench("log", &folder, points)?;
    }
    std::fs::remove_dir_all(&folder).trying(folder.display())
}

/// An empty folder in the place of whatever stood there.
pub(super) fn anew(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).trying(folder.display())?;
    }
    std::fs::create_dir_all(folder).trying(folder.display())
}

fn bench(step: &str, folder: &Path, size: &str) -> Result<(), Failure> {
    run_command(&mut bench_command("index", step, folder, size))
}

/// A step of a benchmark of the engine, in a process of its own.
pub(super) fn bench_command(name: &str, step: &str, folder: &Path, size: &str) -> Command {
    let bench = ["bench", "--locked", "-p", "custody-repository", "--features", "measure"];
    let mut bench = command("cargo", &bench);
    bench.args(["--quiet", "--bench", name, "--", step]).arg(folder).arg(size);
    bench
}
