//! `bench index`: the index of a repository of very many chunks, which are synthetic.

use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{command, run as run_command};

/// Index objects of 1,048,576 chunks each.
const OBJECTS: [&str; 2] = ["1", "10"];

/// Fills a repository for each size and measures it in a process of its own.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["objects"])?;
    let folder = target_folder()?.join("bench-index");
    for objects in options.list("objects", &OBJECTS) {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).trying(folder.display())?;
        }
        std::fs::create_dir_all(&folder).trying(folder.display())?;
        for step in ["fill", "measure"] {
            let bench = ["bench", "--locked", "-p", "custody-repository", "--features", "measure"];
            let mut bench = command("cargo", &bench);
            bench.args(["--bench", "index", "--", step]).arg(&folder).arg(objects);
            run_command(&mut bench)?;
        }
    }
    std::fs::remove_dir_all(&folder).trying(folder.display())
}
