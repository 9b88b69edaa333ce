//! `crash`: kill -9 at any moment of protect, rotate, rewrap, forget, prune and restore; after each kill
//! all earlier points are there and whole, verification passes without a manual step, and no point
//! is there that is not whole. A restore that was killed is finished by the same command, which leaves
//! what the point holds and nothing else.
//!
//! First each act runs undisturbed and its phases are timed. Then shots are spread over that time,
//! each aimed at a moment of a phase, until enough have hit and every phase was hit ten times.
//! With `--keys` it is a server that is killed, while it changes keys; with `--vaults` while it
//! changes what wraps vaults. With `--states` nothing is killed: a simulated disk gives every state that
//! a power loss may leave; with `--calls` its calls fail.

mod act;
mod keys;
mod progress;
mod schedule;
mod simulated;
mod source;
mod spread;
mod vaults;
mod world;

use std::path::PathBuf;

use crate::bench::custody_binary;
use crate::crash::act::Act;
use crate::crash::progress::Outcome;
use crate::crash::schedule::Schedule;
use crate::crash::world::World;
use crate::failure::Failure;
use crate::options::Options;
use crate::process::root;

/// An act is timed so often before it is shot at; the last time counts.
const TIMED_RUNS: usize = 3;

/// Shots that may miss, for each that must hit.
const SHOTS_PER_KILL_MAX: usize = 6;

/// Shoots, and fails at the first thing found wrong or if a phase was hit too seldom.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let known = ["keys", "vaults", "states", "calls", "rounds", "kills", "seed", "custody", "work"];
    options.allow(&known)?;
    if options.has("states") {
        return simulated::states(options);
    }
    if options.has("calls") {
        return simulated::calls();
    }
    let kills: usize = options.value("kills", 200)?;
    let seed: u64 = options.value("seed", 1)?;
    let work: PathBuf = options.value("work", root().join("target/crash"))?;
    let custody = custody_binary(options)?;
    if options.has("keys") {
        return keys::run(&custody, &work, kills, seed);
    }
    if options.has("vaults") {
        return vaults::run(&custody, &work, kills, seed);
    }
    let mut world = World::set_up(custody, &work, seed)?;

    let mut schedule = Schedule::new(kills, seed);
    for act in Act::ALL {
        for run in 1..=TIMED_RUNS {
            let timeline = time(&mut world, act)?;
            if run == TIMED_RUNS {
                println!("{} undisturbed: {timeline}", act.name());
                schedule.spread(act, &timeline);
            }
        }
    }
    for number in 1..=schedule.wanted() * SHOTS_PER_KILL_MAX {
        let Some(shot) = schedule.next() else { break };
        world.prepare(shot.act)?;
        let outcome = world.perform(shot.act, Some(&shot))?;
        println!("{number}: {shot}: {outcome}");
        if let Outcome::Killed { phase } = &outcome {
            schedule.hit(shot.act, phase);
        }
        world.examine(shot.act, &outcome)?;
    }
    println!("{}", schedule.table());
    schedule.verdict()
}

/// Runs an act undisturbed and says when its phases began.
fn time(world: &mut World, act: Act) -> Result<progress::Timeline, Failure> {
    world.prepare(act)?;
    let outcome = world.perform(act, None)?;
    world.examine(act, &outcome)?;
    match outcome {
        Outcome::Finished { timeline } => Ok(timeline),
        other => Err(Failure::new(format!("{} undisturbed: {other}", act.name()))),
    }
}
