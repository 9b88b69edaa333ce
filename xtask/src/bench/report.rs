//! What was measured, as tables.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::data::Data;
use crate::bench::engine::{Engine, Step};
use crate::bench::measure::Sample;
use crate::failure::Failure;
use crate::process::output;

/// The engines that must not be faster.
const PEERS: [&str; 3] = ["restic", "borg", "rustic"];

/// The engine that is ours.
const OURS: &str = "custody";

/// Data set, engine and step.
type Key = (String, &'static str, Step);

/// All samples of a run.
#[derive(Default)]
pub(crate) struct Figures {
    /// Name and version, or how to get it, in the order they were asked for.
    engines: Vec<(&'static str, Result<String, &'static str>)>,
    /// What each run cost, and the length of the repository after it in bytes.
    samples: BTreeMap<Key, Vec<(Sample, u64)>>,
    failures: Vec<String>,
}

impl Figures {
    /// An engine that is there.
    pub(crate) fn measured(&mut self, engine: &Engine, version: String) {
        self.engines.push((engine.name(), Ok(version)));
    }

    /// An engine that is not installed.
    pub(crate) fn not_measured(&mut self, engine: &Engine) {
        self.engines.push((engine.name(), Err(engine.install())));
    }

    /// A step that went well, and the size of the repository after it.
    pub(crate) fn add(
        &mut self,
        engine: &Engine,
        set: &str,
        step: Step,
        sample: Sample,
        size_bytes: u64,
    ) {
        let key = (set.to_owned(), engine.name(), step);
        self.samples.entry(key).or_default().push((sample, size_bytes));
    }

    /// A step that failed.
    pub(crate) fn failed(&mut self, engine: &Engine, set: &str, step: Step, why: &str) {
        self.failures.push(format!("{} {set} {}: {why}", engine.name(), step.name()));
    }

    /// Fails if a step did.
    pub(crate) fn verdict(self) -> Result<(), Failure> {
        Failure::unless_empty(self.failures)
    }

    /// The whole report in Markdown.
    pub(crate) fn page(&self, work: &Path, data: &Data, repetitions: usize) -> String {
        let mut page = format!(
            "Medians of {repetitions}; data: {}; machine: {}.\n",
            data.description(),
            machine(work)
        );
        let sets: Vec<&String> = self.samples.keys().map(|(set, ..)| set).collect();
        let mut seen = "";
        for set in sets {
            if set != seen {
                seen = set;
                let _ = write!(page, "\n### {set}\n\n{}", self.set(set));
            }
        }
        let slower = self.slower();
        if !slower.is_empty() {
            let _ = write!(page, "\nSlower than a peer: {}.\n", slower.join(", "));
        }
        page
    }

    /// The table of one data set. Behind each figure stands its ratio to custody's.
    fn set(&self, set: &str) -> String {
        let mut table = "| engine |".to_owned();
        let columns = Column::all();
        for column in &columns {
            let _ = write!(table, " {} |", column.title());
        }
        let _ = write!(table, "\n|---|{}\n", "---:|".repeat(columns.len()));
        for (name, version) in &self.engines {
            let Err(install) = version else {
                let _ = write!(table, "| {} |", version.as_deref().unwrap_or(name));
                for column in &columns {
                    let _ = write!(table, " {} |", self.cell(set, name, *column));
                }
                table.push('\n');
                continue;
            };
            let _ = writeln!(
                table,
                "| {name} | not measured ({name}: not installed; {install}) |{}",
                " |".repeat(columns.len() - 1)
            );
        }
        table
    }

    fn cell(&self, set: &str, engine: &'static str, column: Column) -> String {
        let Some(value) = self.value(set, engine, column) else { return "–".to_owned() };
        match self.value(set, OURS, column) {
            Some(ours) if engine != OURS && ours > 0.0 => {
                format!("{} (×{:.2})", column.show(value), value / ours)
            }
            _ => column.show(value),
        }
    }

    /// The median of what a column shows.
    fn value(&self, set: &str, engine: &'static str, column: Column) -> Option<f64> {
        let samples = |step| self.samples.get(&(set.to_owned(), engine, step));
        #[expect(clippy::cast_precision_loss, reason = "sizes are shown to three digits")]
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match column {
            Column::Wall(step) => median(samples(step)?.iter().map(|(s, _)| s.wall_s)),
            Column::Cpu(step) => median(samples(step)?.iter().map(|(s, _)| s.cpu_s)),
            Column::Size(step) => median(samples(step)?.iter().map(|(_, b)| mebibytes(*b))),
            Column::Memory => {
                let peaks = Step::ALL.into_iter().filter_map(|step| {
                    median(samples(step)?.iter().map(|(s, _)| mebibytes(s.memory_bytes)))
                });
                peaks.reduce(f64::max)
            }
        }
    }

    /// The steps in which custody takes longer than a peer.
    fn slower(&self) -> Vec<String> {
        let mut slower = Vec::new();
        let ours = self.samples.keys().filter(|(_, engine, _)| *engine == OURS);
        for (set, _, step) in ours.filter(|(.., step)| *step != Step::Init) {
            let column = Column::Wall(*step);
            for peer in PEERS {
                let (ours, theirs) = (self.value(set, OURS, column), self.value(set, peer, column));
                if let (Some(ours), Some(theirs)) = (ours, theirs)
                    && ours > theirs
                {
                    slower.push(format!("{set} {} (×{:.2} of {peer})", step.name(), ours / theirs));
                }
            }
        }
        slower
    }
}

/// A column of the table.
#[derive(Clone, Copy, Debug)]
enum Column {
    Wall(Step),
    Cpu(Step),
    Size(Step),
    Memory,
}

impl Column {
    fn all() -> Vec<Self> {
        let steps = [Step::First, Step::Unchanged, Step::Incremental, Step::Restore, Step::Check];
        let times = steps.into_iter().flat_map(|step| [Self::Wall(step), Self::Cpu(step)]);
        let rest = [Self::Size(Step::First), Self::Size(Step::Incremental), Self::Memory];
        times.chain(rest).collect()
    }

    fn title(self) -> String {
        match self {
            Self::Wall(step) => format!("{}, s", step.name()),
            Self::Cpu(_) => "CPU, s".to_owned(),
            Self::Size(Step::First) => "size, MiB".to_owned(),
            Self::Size(step) => format!("size after {}, MiB", step.name()),
            Self::Memory => "peak memory, MiB".to_owned(),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Wall(_) | Self::Cpu(_) => format!("{value:.2}"),
            Self::Size(_) | Self::Memory => format!("{value:.0}"),
        }
    }
}

/// The middle value, of an even number of values the lower one of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// Processor, cores, memory, kernel and the file system that was written to.
pub(crate) fn machine(work: &Path) -> String {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text
            .lines()
            .find(|line| line.starts_with(key))
            .and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()));
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let said = |program: &str, arguments: &[&str]| {
        let text = output(Command::new(program).args(arguments).arg(work)).unwrap_or_default();
        text.lines().last().unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores, {} memory, Linux {}, {}",
        line("/proc/cpuinfo", "model name"),
        line("/proc/meminfo", "MemTotal"),
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        said("df", &["--output=fstype"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::engine::OwnPrograms;

    /// Each engine with the seconds that each of its steps took, in two repetitions.
    fn figures(times: &[(&'static str, [f64; 2])]) -> Figures {
        let mut figures = Figures::default();
        for (name, walls) in times {
            let engine = Engine::named(name, &OwnPrograms::default()).unwrap();
            figures.measured(&engine, format!("{name} 1.0"));
            for wall_s in walls {
                let sample = Sample { wall_s: *wall_s, cpu_s: 0.5, memory_bytes: 64 << 20 };
                for step in Step::ALL {
                    figures.add(&engine, "tree", step, sample, 10 << 20);
                }
            }
        }
        figures
    }

    #[test]
    fn figures_stand_beside_ratios() {
        let mut figures = figures(&[("custody", [2.0, 2.5]), ("restic", [3.0, 3.0])]);
        figures.not_measured(&Engine::named("borg", &OwnPrograms::default()).unwrap());
        let table = figures.set("tree");
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[0].starts_with("| engine | first backup, s | CPU, s | unchanged, s |"));
        assert!(rows[2].starts_with("| custody 1.0 | 2.00 | 0.50 |"), "{}", rows[2]);
        assert!(rows[3].starts_with("| restic 1.0 | 3.00 (×1.50) | 0.50 (×1.00) |"), "{}", rows[3]);
        assert!(rows[3].ends_with("| 10 (×1.00) | 10 (×1.00) | 64 (×1.00) |"), "{}", rows[3]);
        let missing = "| borg | not measured (borg: not installed; apt-get install borgbackup) |";
        assert!(rows[4].starts_with(missing), "{}", rows[4]);
        let widths: Vec<usize> = rows.iter().map(|row| row.matches('|').count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
    }

    #[test]
    fn what_is_slower_than_a_peer_is_named() {
        assert!(figures(&[("custody", [2.0, 9.0]), ("restic", [3.0, 3.0])]).slower().is_empty());
        let slower = figures(&[("custody", [4.5, 4.5]), ("restic", [3.0, 3.0])]).slower();
        assert_eq!((slower.len(), slower[0].as_str()), (5, "tree first backup (×1.50 of restic)"));
    }

    #[test]
    fn a_failed_step_fails_the_run() {
        let mut figures = figures(&[("custody", [1.0, 1.0])]);
        let engine = Engine::named("custody", &OwnPrograms::default()).unwrap();
        figures.failed(&engine, "tree", Step::Check, "exit status: 3");
        let failure = figures.verdict().unwrap_err();
        assert_eq!(failure.to_string(), "custody tree check with data: exit status: 3");
    }
}
