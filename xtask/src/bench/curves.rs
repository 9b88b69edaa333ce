//! `bench curves`: what a step costs against the number of chunks in the repository, which are
//! synthetic and stand in real packs. Writes plots to `docs/plots` and prints a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::index::{anew, bench_command};
use super::plot::{Series, chart};
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::process::{output, root};

/// Files of a repository, of 1,000 chunks each.
const FILES: [&str; 4] = ["10", "100", "1000", "10000"];
/// Chunks of a file.
const CHUNKS_A_FILE: f64 = 1_000.0;
/// The steps in the order in which they are taken, and what they are called.
const STEPS: [(&str, &str); 9] = [
    ("fill", "filling it"),
    ("runs", "making the runs"),
    ("open", "opening"),
    ("first", "backup of 100 new files"),
    ("change", "backup of 10 changed files of 100"),
    ("restore", "one file of 1,000 chunks"),
    ("check", "check of structure"),
    ("prune", "prune of a tenth"),
    ("rebuild", "rebuilding the index"),
];
/// Those that are plotted.
const PLOTTED: [&str; 5] = ["open", "change", "restore", "check", "prune"];

/// What was measured: by step, at each size, seconds and MiB.
type Figures = BTreeMap<&'static str, Vec<(f64, f64, f64)>>;

/// Measures, writes the plots and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["files", "work", "plots"])?;
    let folder = options.value("work", target_folder()?.join("bench-curves"))?;
    let plots = options.value("plots", root().join("docs/plots"))?;
    let mut figures = Figures::new();
    let mut rebuilt = String::new();
    for files in options.list("files", &FILES) {
        let count: f64 = files.parse().trying("--files")?;
        anew(&folder)?;
        for (step, _) in STEPS {
            let said = said(step, &folder, files)?;
            let of = |name: &str| said.get(name).copied().unwrap_or_default();
            eprintln!("{files} files, {step}: {:.4} s, {} MiB", of(step), of("memory"));
            let point = (count * CHUNKS_A_FILE, of(step), of("memory"));
            figures.entry(step).or_default().push(point);
            if step == "rebuild" {
                let rate = |time: f64| of("pack-bytes") / 1e6 / time.max(1e-9);
                let _ = writeln!(
                    rebuilt,
                    "{} chunks: {:.0} MB of packs read at {:.0} MB/s, their index made again at {:.0} MB/s",
                    count * CHUNKS_A_FILE,
                    of("pack-bytes") / 1e6,
                    rate(of("read-packs")),
                    rate(of("repair"))
                );
            }
        }
    }
    std::fs::remove_dir_all(&folder).trying(folder.display())?;
    draw(&figures, &plots)?;
    println!("{}\n{rebuilt}", table(&figures));
    Ok(())
}

/// What a step prints: names and numbers.
fn said(step: &str, folder: &Path, files: &str) -> Result<BTreeMap<String, f64>, Failure> {
    let printed = output(&mut bench_command("curves", step, folder, files))?;
    let pairs = printed.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

fn draw(figures: &Figures, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).trying(folder.display())?;
    let series = |value: fn(&(f64, f64, f64)) -> (f64, f64)| -> Vec<Series> {
        let plotted = STEPS.iter().filter(|(step, _)| PLOTTED.contains(step));
        let line = |step: &str| figures.get(step).into_iter().flatten().map(value).collect();
        plotted
            .map(|(step, name)| Series { name: (*name).to_owned(), points: line(step) })
            .collect()
    };
    for (file, title, up, lines) in [
        ("time.svg", "Time against chunks in the repository", "seconds", series(|at| (at.0, at.1))),
        ("memory.svg", "Peak memory against chunks", "MiB", series(|at| (at.0, at.2))),
    ] {
        let path = folder.join(file);
        std::fs::write(&path, chart(title, "chunks in the repository", up, &lines))
            .trying(path.display())?;
    }
    Ok(())
}

fn table(figures: &Figures) -> String {
    let sizes = figures.values().next().map(Vec::as_slice).unwrap_or_default();
    let mut table = "| step |".to_owned();
    for (chunks, ..) in sizes {
        let _ = write!(table, " {chunks} chunks |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---:|".repeat(sizes.len()));
    for (step, name) in STEPS {
        let _ = write!(table, "\n| {name} |");
        for (_, seconds, mib) in figures.get(step).into_iter().flatten() {
            let _ = write!(table, " {seconds:.3} s, {mib} MiB |");
        }
    }
    table
}
