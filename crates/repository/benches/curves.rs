//! What one step costs in a repository of so many chunks, each step in a process of its own:
//! `curves STEP FOLDER FILES` prints `NAME VALUE` lines, seconds and MiB. `cargo xtask bench curves` runs
//! all of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement"
)]

mod world;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use custody_blob_store::{BlobName, BlobStore};
use custody_entries::{
    Content, ContentReader, Entry, EntryKind, EntryName, Metadata, Segment, Settlement, Sink,
    Source, SourceError,
};
use custody_repository::log::{EntryHash, ForgetReason, ItemGuid};
use custody_repository::measure::{add_files, file_name, open_index};
use custody_repository::prune_plan::PruneOptions;
use custody_repository::{
    BackupOptions, CheckLevel, CompressionEffort, PointId, Repository, Unwatched,
};

use world::{parts, peak_kib};

/// Points that the files are spread over.
const POINTS: u64 = 10;
/// Files of the small source, and how many of them change.
const SMALL_FILES: u64 = 100;
const SMALL_CHANGES: u64 = 10;
const SMALL_BYTES: u64 = 20_000;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let [step, folder, files] = arguments.as_slice() else {
        println!("curves STEP FOLDER FILES");
        return;
    };
    let (folder, files): (&Path, u64) = (Path::new(folder), files.parse().unwrap());
    let watch = Instant::now();
    if step == "fill" {
        fill(folder, files);
    } else {
        let repository = Repository::open(parts(folder, seed(step)).0, None).unwrap();
        run(step, &repository, folder);
    }
    tell(step, watch.elapsed());
    println!("memory {}", peak_kib() >> 10);
}

/// No two processes draw the same names.
fn seed(step: &str) -> u64 {
    step.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte))
}

fn run(step: &str, repository: &Repository, folder: &Path) {
    match step {
        // The first makes the runs on disk.
        "runs" | "open" => drop(open_index(repository).unwrap()),
        "first" => backup(repository, 0, None),
        "change" => {
            let parent = newest(repository);
            backup(repository, SMALL_CHANGES, Some(parent));
        }
        "restore" => {
            let oldest = oldest(repository);
            let path = file_name(0);
            repository.read_file(oldest, path.as_bytes(), &mut std::io::sink()).unwrap();
        }
        "check" => {
            let report = repository.check(CheckLevel::Structure, THREADS, &Unwatched).unwrap();
            assert_eq!(report.problems, []);
        }
        "prune" => {
            let oldest = oldest(repository);
            repository.log().unwrap().forget(oldest.0, ForgetReason::Requested).unwrap();
            let patience = Duration::from_mins(1);
            let report = repository.prune(&PruneOptions::default(), patience, &Unwatched).unwrap();
            assert!(report.removed_packs > 0, "{report:?}");
        }
        "rebuild" => rebuild(repository, folder),
        other => panic!("there is no step {other}"),
    }
}

fn tell(name: &str, time: Duration) {
    println!("{name} {:.4}", time.as_secs_f64());
}

fn fill(folder: &Path, files: u64) {
    let (parts, ring) = parts(folder, 1);
    let repository = Repository::create(parts, &ring, EntryHash::from_bytes([3; 32])).unwrap();
    for point in 0..POINTS {
        add_files(&repository, files * point / POINTS..files * (point + 1) / POINTS).unwrap();
    }
}

fn oldest(repository: &Repository) -> PointId {
    let history = repository.history().unwrap();
    let oldest = history.points().iter().min_by_key(|(_, point)| point.number);
    PointId(*oldest.unwrap().0)
}

fn newest(repository: &Repository) -> PointId {
    let history = repository.history().unwrap();
    let newest = history.points().iter().max_by_key(|(_, point)| point.number);
    PointId(*newest.unwrap().0)
}

/// Loses every index object, reads every pack for comparison, and has the index made again.
fn rebuild(repository: &Repository, folder: &Path) {
    let store = custody_blob_store::DiskStore::create(&folder.join("store")).unwrap();
    let mut indexes: Vec<BlobName> = Vec::new();
    store.list("index/", &mut |name, _| indexes.push(name)).unwrap();
    for name in &indexes {
        store.delete(name).unwrap();
    }
    let mut packs: Vec<BlobName> = Vec::new();
    store.list("packs/", &mut |name, _| packs.push(name)).unwrap();
    let watch = Instant::now();
    let bytes: usize = packs.iter().map(|name| store.read(name).unwrap().unwrap().len()).sum();
    tell("read-packs", watch.elapsed());
    println!("pack-bytes {bytes}");
    let watch = Instant::now();
    let report = repository.repair(NonZeroUsize::MIN, &Unwatched).unwrap();
    tell("repair", watch.elapsed());
    assert_eq!(report.packs, packs.len() as u64);
}

fn backup(repository: &Repository, changed: u64, parent: Option<PointId>) {
    let options = BackupOptions {
        item: ItemGuid::from_bytes([2; 16]),
        item_name: "small".to_owned(),
        host: "host.example".to_owned(),
        paths: Vec::new(),
        parent,
        keep_until: None,
        compression: CompressionEffort::default(),
        threads: THREADS,
    };
    let made = repository.backup(&mut Small { changed }, &options, &Unwatched).unwrap();
    let unchanged = if parent.is_some() { SMALL_FILES - changed } else { 0 };
    assert_eq!((made.counts.files, made.counts.unchanged_files), (SMALL_FILES, unchanged));
}

/// A folder of small files, the first of which have changed.
struct Small {
    changed: u64,
}

impl Source for Small {
    fn walk(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        for number in 0..SMALL_FILES {
            let generation = u64::from(number < self.changed);
            let mut metadata = Metadata::default();
            metadata.modified.seconds = i64::try_from(generation).unwrap();
            metadata.identity.inode = number + 1;
            let name = EntryName::new(file_name(number)).unwrap();
            let file = Entry { name, kind: EntryKind::File { size: SMALL_BYTES }, metadata };
            let _ = sink.file(file, Box::new(SmallFile(generation << 32 | number)));
        }
        Ok(())
    }
}

struct SmallFile(u64);

impl Content for SmallFile {
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError> {
        Ok(Box::new(SmallReader { seed: self.0, left: SMALL_BYTES }))
    }

    fn path(&self) -> &[u8] {
        b"small"
    }
}

struct SmallReader {
    seed: u64,
    left: u64,
}

impl ContentReader for SmallReader {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError> {
        let length = usize::try_from(self.left).unwrap().min(buffer.len());
        for (at, byte) in buffer.iter_mut().take(length).enumerate() {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = self.seed.to_be_bytes()[0] ^ u8::try_from(at % 251).unwrap();
        }
        self.left -= length as u64;
        Ok(if length == 0 { Segment::End } else { Segment::Data(length) })
    }

    fn settle(&mut self) -> Result<Settlement, SourceError> {
        Ok(Settlement::Steady)
    }
}
