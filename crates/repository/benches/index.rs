//! What the index of a large repository costs: making its runs, opening it, looking chunks up, memory.
//!
//! `index fill FOLDER OBJECTS` writes index objects of 1,048,576 chunks each, `index measure FOLDER
//! OBJECTS` measures in a process of its own and prints one line. `index log FOLDER POINTS` says how long
//! the log takes to learn of a new keyring. `cargo xtask bench index` runs all three.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement"
)]

mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use custody_repository::Repository;
use custody_repository::log::{EntryHash, KeyringHead, Log};
use custody_repository::measure::{CHUNKS_AN_OBJECT, add_chunks, add_points, open_index};

use world::{parts, peak_kib};

/// Rings of which a log is told.
const RINGS: u64 = 21;
/// Chunks looked up.
const LOOK_UPS: u64 = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str).filter(|one| *one != "--bench");
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some("fill"), Some(folder), Some(objects)) => {
            fill(Path::new(folder), objects.parse().unwrap());
        }
        (Some("measure"), Some(folder), Some(objects)) => {
            measure(Path::new(folder), objects.parse().unwrap());
        }
        (Some("log"), Some(folder), Some(points)) => {
            log(Path::new(folder), points.parse().unwrap());
        }
        _ => println!("index fill|measure FOLDER OBJECTS, index log FOLDER POINTS"),
    }
}

fn fill(folder: &Path, objects: u64) {
    let (parts, ring) = parts(folder, 1);
    let repository = Repository::create(parts, &ring, EntryHash::from_bytes([3; 32])).unwrap();
    add_chunks(&repository, 0..objects).unwrap();
}

fn measure(folder: &Path, objects: u64) {
    let repository = Repository::open(parts(folder, 2).0, None).unwrap();
    let log_mib = peak_kib() >> 10;
    let watch = Instant::now();
    drop(open_index(&repository).unwrap());
    let made = watch.elapsed();
    let watch = Instant::now();
    let index = open_index(&repository).unwrap();
    let opened = watch.elapsed();
    let chunks = objects * CHUNKS_AN_OBJECT;
    // Far apart, so that nothing is at hand from the look-up before.
    let step = chunks / LOOK_UPS;
    // A look-up by the clock, and by the processor alone, which others that run do not slow as much.
    let timed = |first: u64, expected: bool| {
        let (watch, worked) = (Instant::now(), worked());
        for number in 0..LOOK_UPS {
            assert_eq!(index.holds(first + number * step).unwrap(), expected);
        }
        let each = |time: Duration| micros(time / u32::try_from(LOOK_UPS).unwrap_or(u32::MAX));
        format!("{} (CPU {})", each(watch.elapsed()), each(self::worked().saturating_sub(worked)))
    };
    let (absent, present) = (timed(chunks, false), timed(0, true));
    println!(
        "{chunks} chunks: made {}, opened {}, absent {absent}, present {present}, \
         peak memory {} MiB, {log_mib} MiB when the log was read",
        seconds(made),
        seconds(opened),
        peak_kib() >> 10
    );
}

/// A log of so many points, each of which added a pack: reading it whole, and telling it a ring.
fn log(folder: &Path, points: u64) {
    let (parts, ring) = parts(folder, 1);
    let repository =
        Repository::create(parts.clone(), &ring, EntryHash::from_bytes([3; 32])).unwrap();
    add_points(&repository, points).unwrap();
    drop(repository);
    let watch = Instant::now();
    Log::open(parts.log(), None).unwrap();
    let opened = watch.elapsed();
    let log = Log::open(parts.log(), None).unwrap();
    log.checkpoint_if_due().unwrap();
    let (checkpoint, seen) = (log.newest_checkpoint(), log.history().head().unwrap());
    drop(log);
    let watch = Instant::now();
    Log::open_from(parts.log(), checkpoint).unwrap();
    let opened_from = watch.elapsed();
    let mut told: Vec<Duration> = (0..RINGS)
        .map(|number| {
            let head = KeyringHead { number: number + 2, hash: EntryHash::from_bytes([4; 32]) };
            let watch = Instant::now();
            Log::tell_keyring(parts.log(), seen, head).unwrap();
            watch.elapsed()
        })
        .collect();
    told.sort_unstable();
    let median = told.get(told.len() / 2).copied().unwrap_or_default();
    println!(
        "{points} points: log read in {}, from its newest checkpoint in {}, a ring told in {} (median of {RINGS})",
        seconds(opened),
        seconds(opened_from),
        micros(median)
    );
}

/// How long this thread was on a processor.
fn worked() -> Duration {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = status.split(' ').next().unwrap_or_default();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn micros(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}
