//! Every input of the corpus once through its target: targets cannot rot, and what once crashed
//! stays mended.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use custody_fuzz_targets::{TARGETS, World};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn every_target_has_a_corpus_and_takes_all_of_it() {
    let world = World::default();
    for (name, target) in TARGETS {
        let mut files: Vec<PathBuf> =
            fs::read_dir(corpus().join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            // Shown if it panics.
            println!("{}", file.display());
            target(&world, &fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_corpus_and_every_program_has_a_target() {
    let names = |folder: PathBuf| -> BTreeSet<String> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(corpus()), targets);
    assert_eq!(names(corpus().with_file_name("targets")), targets);
}
