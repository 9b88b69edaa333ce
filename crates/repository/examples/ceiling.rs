//! `ceiling SOURCE STORE`: reads every file below SOURCE, skips holes, and does to its bytes what a
//! backup does to them, on all cores, into packs in STORE. `cargo xtask bench` runs it beside
//! custody: what custody needs beyond it is what the engine around the pipeline costs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measurement"
)]

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{available_parallelism, scope};

use custody_ambient::Clock;
use custody_blob_store::DiskStore;
use custody_envelope::{Failover, KeyAccess, KeyTarget, VaultKeys, WrapAlgorithm, WrapKey, create};
use custody_names::VaultGuid;
use custody_repository::measure::ceiling::{Ceiling, CeilingThread};
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};
use rustix::fs::{SeekFrom, seek};

/// A large file is given to the threads in parts of this many bytes, read at once.
const PART_BYTES: u64 = 4 << 20;

/// A file, or a part of one.
struct Part {
    path: PathBuf,
    size: u64,
    start: u64,
}

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(source), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("ceiling SOURCE STORE");
        std::process::exit(2);
    };
    let mut parts = Vec::new();
    collect(&source, &mut parts);
    let (keys, entropy) = (keys(), SeededEntropy::new(1));
    let store = DiskStore::create(&folder).unwrap();
    let ceiling = Ceiling::new(&keys, &entropy, &store).unwrap();
    let next = AtomicUsize::new(0);
    scope(|scope| {
        for _ in 0..available_parallelism().unwrap().get() {
            scope.spawn(|| {
                let mut thread = ceiling.thread().unwrap();
                let mut buffer = Vec::new();
                while let Some(part) = parts.get(next.fetch_add(1, Relaxed)) {
                    read(part, &mut buffer, &mut thread);
                }
                thread.finish().unwrap();
            });
        }
    });
    ceiling.finish().unwrap();
}

/// All files below a folder, in the order of their paths.
fn collect(folder: &Path, parts: &mut Vec<Part>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    for path in paths {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            collect(&path, parts);
        } else if found.is_file() {
            let size = found.len();
            let starts = (0..size).step_by(usize::try_from(PART_BYTES).unwrap());
            parts.extend(starts.map(|start| Part { path: path.clone(), size, start }));
        }
    }
}

/// Reads the data of a part and hands it on.
fn read(part: &Part, buffer: &mut Vec<u8>, thread: &mut CeilingThread<'_, '_>) {
    let file = File::open(&part.path).unwrap();
    let name = part.path.file_name().unwrap_or_default().as_bytes();
    let end = part.size.min(part.start + PART_BYTES);
    let mut at = part.start;
    // `SEEK_DATA` fails where only a hole is left.
    while let Ok(data) = seek(&file, SeekFrom::Data(at)).map(|data| data.min(end))
        && data < end
    {
        let hole = seek(&file, SeekFrom::Hole(data)).unwrap().min(end);
        buffer.resize(usize::try_from(hole - data).unwrap(), 0);
        file.read_exact_at(buffer, data).unwrap();
        thread.take(name, part.size, data, buffer).unwrap();
        at = hole;
    }
}

fn keys() -> VaultKeys {
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
    let keks = MemoryKeks::new();
    let key = keks.add_version("kv1", "k1");
    let target = KeyTarget {
        keys: vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }],
        infrastructure: Vec::new(),
        failover: Failover::Stop,
    };
    let access = KeyAccess { keys: &keks, allowed: &|_| true, clock: &clock };
    create(VaultGuid::from_bytes([7; 16]), &target, &access, &SeededEntropy::new(7)).unwrap().1
}
