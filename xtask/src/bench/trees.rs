//! `bench trees`: trees that are hard on a backup: very many files in one folder, folders in folders
//! so deep that no path leads to the bottom, and a sparse file of a terabyte. Each is backed up
//! twice, checked and restored; time and largest memory of every step are printed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::custody_binary;
use crate::bench::measure::measure;
use crate::bench::report::machine;
use crate::failure::{Failure, Trying};
use crate::options::Options;
use crate::packages;
use crate::process::root;

/// A name of which a hundred are longer than `PATH_MAX`.
const LEVEL: &str = "a folder name of some length, so that the path is far too long";
/// What a level is called while those below it are taken away.
const RAISED: &str = "raised";
/// Length of the sparse file, in bytes.
const SPARSE_BYTES: u64 = 1 << 40;

/// A tree to be backed up.
#[derive(Clone, Copy)]
enum Set {
    Wide,
    Deep,
    Sparse,
}

/// Makes the trees, and measures.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["only", "files", "levels", "work", "custody"])?;
    packages::ensure(&[("time", "time")])?;
    let files: u64 = options.value("files", 1_000_000)?;
    let levels: u64 = options.value("levels", 10_000)?;
    let work: PathBuf = options.value("work", root().join("target/bench-trees"))?;
    let custody = custody_binary(options)?;
    fs::create_dir_all(&work).trying(work.display())?;
    println!("{}\n", machine(&work));
    println!("| tree | step | seconds | largest memory, MiB |\n|---|---|---:|---:|");
    for name in options.list("only", &["wide", "deep", "sparse"]) {
        let (set, what) = match name {
            "wide" => (Set::Wide, format!("{files} files in one folder")),
            "deep" => (Set::Deep, format!("{levels} folders in one another")),
            "sparse" => (Set::Sparse, "a sparse file of 1 TiB".to_owned()),
            unknown => return Err(Failure::new(format!("there is no tree {unknown:?}"))),
        };
        let (source, target) = (work.join("source"), work.join("target"));
        clear(&work)?;
        fs::create_dir_all(&source).trying(source.display())?;
        make(set, &source, files, levels)?;
        steps(&custody, &work, &what)?;
        compare(set, &source, &target, files, levels)?;
    }
    clear(&work)
}

fn make(set: Set, source: &Path, files: u64, levels: u64) -> Result<(), Failure> {
    match set {
        Set::Wide => (0..files).try_for_each(|number| {
            let path = source.join(format!("file number {number:08}"));
            fs::write(&path, number.to_string()).trying(path.display())
        }),
        Set::Deep => {
            let back = std::env::current_dir().trying("the working folder")?;
            std::env::set_current_dir(source).trying(source.display())?;
            // Relative steps alone get that deep.
            for _ in 0..levels {
                fs::create_dir(LEVEL).trying(LEVEL)?;
                std::env::set_current_dir(LEVEL).trying(LEVEL)?;
                fs::write("file", "on the way down").trying("file")?;
            }
            std::env::set_current_dir(&back).trying(back.display())
        }
        Set::Sparse => {
            use std::os::unix::fs::FileExt as _;
            let path = source.join("sparse");
            let file = File::create(&path).trying(path.display())?;
            file.set_len(SPARSE_BYTES).trying(path.display())?;
            file.write_all_at(b"in the middle", SPARSE_BYTES / 2).trying(path.display())
        }
    }
}

fn steps(custody: &Path, work: &Path, what: &str) -> Result<(), Failure> {
    let (source, target) = (work.join("source"), work.join("target"));
    let words = |words: &[&str], path: Option<&Path>| {
        let mut command = Command::new(custody);
        command.args(words).args(path).args(["--progress", "none"]);
        command.env("HOME", work).env("XDG_CONFIG_HOME", work.join("config"));
        command.env("CUSTODY_DATA_DIR", work.join("data"));
        command
    };
    let protect = ["protect", "--item", "tree"];
    let restore = ["restore", "tree", "--to"];
    let all = [
        ("first backup", words(&protect, Some(&source))),
        ("unchanged backup", words(&protect, Some(&source))),
        ("check of all data", words(&["verify", "--read-data"], None)),
        ("restore", words(&restore, Some(&target))),
        ("restore again", words(&restore, Some(&target))),
    ];
    for (step, command) in all {
        let sample =
            measure(command, work)?.map_err(|why| Failure::new(format!("{step}: {why}")))?;
        let memory = sample.memory_bytes >> 20;
        println!("| {what} | {step} | {:.1} | {memory} |", sample.wall_s);
    }
    Ok(())
}

/// Whether what was restored is what was there, as far as the shape of the tree tells.
fn compare(set: Set, source: &Path, target: &Path, files: u64, levels: u64) -> Result<(), Failure> {
    let is_same = match set {
        Set::Wide => {
            let count = fs::read_dir(target).trying(target.display())?.count() as u64;
            let last = format!("file number {:08}", files.saturating_sub(1));
            count == files && fs::read(source.join(&last)).ok() == fs::read(target.join(&last)).ok()
        }
        Set::Deep => take_away(target)? == levels,
        Set::Sparse => {
            use std::os::unix::fs::{FileExt as _, MetadataExt as _};
            let path = target.join("sparse");
            let file = File::open(&path).trying(path.display())?;
            let status = file.metadata().trying(path.display())?;
            let mut middle = [0; 13];
            file.read_exact_at(&mut middle, SPARSE_BYTES / 2).trying(path.display())?;
            status.len() == SPARSE_BYTES && status.blocks() < 64 && &middle == b"in the middle"
        }
    };
    if is_same { Ok(()) } else { Err(Failure::new("what was restored is not what was there")) }
}

/// Takes folders that lie in one another away, the upper one first, for a removal from below would
/// need a path; how many there were.
fn take_away(top: &Path) -> Result<u64, Failure> {
    let (level, raised) = (top.join(LEVEL), top.join(RAISED));
    let mut levels = 0;
    while level.exists() {
        levels += 1;
        let has_more = fs::rename(level.join(LEVEL), &raised).is_ok();
        fs::remove_dir_all(&level).trying(level.display())?;
        if has_more {
            fs::rename(&raised, &level).trying(level.display())?;
        }
    }
    Ok(levels)
}

fn clear(work: &Path) -> Result<(), Failure> {
    for top in ["source", "target"] {
        take_away(&work.join(top))?;
    }
    fs::remove_dir_all(work).trying(work.display())?;
    fs::create_dir_all(work).trying(work.display())
}
