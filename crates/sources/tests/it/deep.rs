//! Trees deeper than the stack, the descriptor limit and `PATH_MAX`.

use std::path::Path;

use custody_entries::{Flow, Sink, Source};
use custody_sources::{FolderOptions, FolderSource, FolderTarget, TargetOptions};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};

use crate::bridge::Bridge;

const LEVELS: usize = 3_000;
const NAME: &str = "a folder name of some length, so that the path is far too long";

fn open(folder: impl rustix::fd::AsFd, name: &str) -> OwnedFd {
    openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// Makes a chain of folders with a file before and after each step down.
fn make(top: &Path) {
    let mut at = open(CWD, top.to_str().unwrap());
    for _ in 0..LEVELS {
        for file in ["A", "z"] {
            openat(&at, file, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        }
        mkdirat(&at, NAME, Mode::RWXU).unwrap();
        at = open(&at, NAME);
    }
}

/// Counts the levels of a chain and removes it, which other tools may not manage.
fn measure_and_remove(top: &Path) -> usize {
    let at = &open(CWD, top.to_str().unwrap());
    let mut levels = 0;
    loop {
        for file in ["A", "z"] {
            let _ = unlinkat(at, file, AtFlags::empty());
        }
        let Ok(next) = openat(at, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
            break;
        };
        levels += 1;
        // Flatten while going down: move the grandchild up, so that no path grows.
        if rustix::fs::renameat(&next, NAME, at, "up").is_ok() {
            for file in ["A", "z"] {
                let _ = unlinkat(&next, file, AtFlags::empty());
            }
            unlinkat(at, NAME, AtFlags::REMOVEDIR).unwrap();
            rustix::fs::renameat(at, "up", at, NAME).unwrap();
        } else {
            unlinkat(at, NAME, AtFlags::REMOVEDIR).unwrap();
            break;
        }
    }
    levels
}

#[test]
fn a_deep_tree_is_read_and_restored_with_few_descriptors() {
    let temporary = tempfile::tempdir().unwrap();
    let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    make(&from);
    let before = descriptors();
    let mut source =
        FolderSource::new(std::slice::from_ref(&from), FolderOptions::default()).unwrap();
    let mut target = FolderTarget::open(&to, TargetOptions::default()).unwrap();
    let mut probe = Probe { bridge: Bridge::new(&mut target), descriptors_max: 0 };
    source.walk(&mut probe).unwrap();
    assert!(probe.descriptors_max < before + 300, "{} open", probe.descriptors_max);
    assert_eq!(probe.bridge.warnings, []);
    assert_eq!(target.complete(), []);
    drop(target);
    assert_eq!(source.summary().folders, LEVELS as u64);
    assert_eq!(source.summary().files, 2 * LEVELS as u64);
    assert_eq!(measure_and_remove(&to), LEVELS);
    assert_eq!(measure_and_remove(&from), LEVELS);
}

#[test]
fn letting_go_of_a_deep_tree_halfway_does_not_exhaust_the_stack() {
    let temporary = tempfile::tempdir().unwrap();
    let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    make(&from);
    let mut source =
        FolderSource::new(std::slice::from_ref(&from), FolderOptions::default()).unwrap();
    let mut target = FolderTarget::open(&to, TargetOptions::default()).unwrap();
    let mut bridge = Bridge::new(&mut target);
    source.walk(&mut StopAtTheBottom { bridge: &mut bridge, levels: 0 }).unwrap();
    drop(target);
    assert_eq!(measure_and_remove(&to), LEVELS);
    assert_eq!(measure_and_remove(&from), LEVELS);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Passes everything on and looks at the descriptors now and then.
struct Probe<'a> {
    bridge: Bridge<'a>,
    descriptors_max: usize,
}

impl Sink for Probe<'_> {
    fn root(&mut self, metadata: custody_entries::Metadata) -> Flow {
        self.bridge.root(metadata)
    }

    fn folder(&mut self, folder: custody_entries::Entry) -> Flow {
        self.bridge.folder(folder)
    }

    fn leave(&mut self) -> Flow {
        self.descriptors_max = self.descriptors_max.max(descriptors());
        self.bridge.leave()
    }

    fn file(
        &mut self,
        file: custody_entries::Entry,
        content: Box<dyn custody_entries::Content>,
    ) -> Flow {
        self.bridge.file(file, content)
    }

    fn other(&mut self, entry: custody_entries::Entry) -> Flow {
        self.bridge.other(entry)
    }

    fn warn(&mut self, warning: custody_entries::Warning) {
        self.bridge.warn(warning);
    }
}

/// Goes down and stops there, as a cancelled job does.
struct StopAtTheBottom<'a, 'b> {
    bridge: &'a mut Bridge<'b>,
    levels: usize,
}

impl Sink for StopAtTheBottom<'_, '_> {
    fn folder(&mut self, folder: custody_entries::Entry) -> Flow {
        self.levels += 1;
        self.bridge.folder(folder);
        if self.levels < LEVELS { Flow::Continue } else { Flow::Stop }
    }

    fn leave(&mut self) -> Flow {
        unreachable!("the walk was to stop")
    }

    fn file(&mut self, _: custody_entries::Entry, _: Box<dyn custody_entries::Content>) -> Flow {
        Flow::Continue
    }

    fn other(&mut self, _: custody_entries::Entry) -> Flow {
        Flow::Continue
    }

    fn warn(&mut self, warning: custody_entries::Warning) {
        panic!("{warning:?}");
    }
}
