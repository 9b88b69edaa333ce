//! Every state that a power loss may leave: before, after and in the middle of each write, sync,
//! rename and folder sync, with unsynced bytes dropped, torn or zero and unsynced names there or not
//! in any order. Each opens without a manual step, holds what was answered for, whole, and goes on.
//! Of those that differ in temporary files alone the store is opened, which removes them, and no more.
//!
//! `cargo xtask crash --states` runs many rounds of all states, `cargo test` one of some of them.

mod act;
mod disk;
mod examine;
mod rewrap;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use act::{ACTS, Act, Stage};
use examine::{examine, open};

/// Threads that share the states of one act out.
const WORKERS: usize = 2;

/// In the environment: how many rounds there are, each of other trees.
const ROUNDS: &str = "CUSTODY_CRASH_ROUNDS";
/// And which states are tried: every so-manieth.
const STRIDE: &str = "CUSTODY_CRASH_STRIDE";
/// And the seed of the first round.
const SEED: &str = "CUSTODY_CRASH_SEED";

/// Of one round in `cargo test`.
const STRIDE_IN_TESTS: usize = 9;

/// What was tried of one kind of act.
#[derive(Default)]
struct Tally {
    steps: usize,
    states: usize,
    /// How many of them differ in objects, and not only in temporary files or the reserve.
    objects: usize,
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var_os(name).map_or(default, |value| value.to_str().unwrap().parse().unwrap())
}

#[test]
fn whatever_a_crash_leaves_opens_and_goes_on() {
    let rounds = setting(ROUNDS, 1);
    let stride = setting(STRIDE, STRIDE_IN_TESTS);
    let seed = setting(SEED, 1);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for round in 0..rounds {
        let mut stage = Stage::new((seed + round) as u64);
        for (name, perform) in ACTS {
            let act = perform(&mut stage);
            let tally = tallies.entry(name).or_default();
            try_states(name, &act, stride, tally);
        }
    }
    println!("| act | changes and syncs | states | of them other objects |\n|---|---:|---:|---:|");
    let mut all = Tally::default();
    for (name, Tally { steps, states, objects }) in &tallies {
        println!("| {name} | {steps} | {states} | {objects} |");
        all.steps += steps;
        all.states += states;
        all.objects += objects;
    }
    let Tally { steps, states, objects } = all;
    println!("| all | {steps} | {states} | {objects} |");
    assert!(states > 100 * rounds && objects > 10 * rounds, "too little was tried");
}

fn try_states(name: &str, act: &Act, stride: usize, tally: &mut Tally) {
    let mut states = Vec::new();
    let mut crash_states = act.recording.states();
    let mut objects = BTreeSet::new();
    let mut number = 0;
    while let Some((image, marks)) = crash_states.next_state() {
        if number % stride == 0 {
            // Marks count: what must be there may be more while the objects are the same.
            let digest = image.digest_of(|path| !path.starts_with('.'));
            let is_new = objects.insert((digest, marks.len()));
            states.push((number, image, marks.len(), is_new));
        }
        number += 1;
    }
    let distinct: BTreeSet<u64> = objects.into_iter().map(|(digest, _)| digest).collect();
    let marks = act.recording.marks();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (states, marks) = (&states, &marks);
            scope.spawn(move || {
                for (number, image, marked, is_new) in states.iter().skip(worker).step_by(WORKERS) {
                    let what = format!("{name}, state {number}");
                    let store = open(&what, act, image, &marks[..*marked]);
                    if *is_new {
                        examine(&what, act, store, &marks[..*marked]);
                    }
                }
            });
        }
    });
    tally.steps += act.recording.steps();
    tally.states += states.len();
    tally.objects += distinct.len();
}
