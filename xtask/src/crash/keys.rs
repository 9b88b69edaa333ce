//! `crash --keys`: kill -9 of a running server at any moment of what changes keys. After each kill a
//! new server must find what was acknowledged, and what was not wholly there or wholly absent; every
//! version that there is must sign, and the ledger verify.

mod act;
mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crash::keys::act::{Act, ROUNDS_TIMED};
use crate::crash::keys::state::{State, World};
use crate::crash::spread;
use crate::failure::{Failure, Trying};
use crate::served::hear;
use crate::stopwatch::Stopwatch;

/// How the acts of one kind ended.
#[derive(Clone, Copy, Default)]
struct Tally {
    acknowledged: usize,
    done: usize,
    undone: usize,
}

/// Shoots `kills` times, and fails at the first thing found wrong.
pub(crate) fn run(custody: &Path, work: &Path, kills: usize, seed: u64) -> Result<(), Failure> {
    let folder: PathBuf = work.join("keys");
    if folder.exists() {
        fs::remove_dir_all(&folder).trying(folder.display())?;
    }
    fs::create_dir_all(folder.join("home")).trying(folder.display())?;
    let mut world = World::set_up(custody, &folder)?;
    let mut times = [Duration::ZERO; Act::ALL.len()];
    for (act, time) in Act::ALL.into_iter().zip(&mut times) {
        for _ in 0..ROUNDS_TIMED {
            *time = undisturbed(&mut world, act)?;
        }
        println!("{} undisturbed: {:.1} ms", act.name(), time.as_secs_f64() * 1e3);
    }
    let mut tallies = [Tally::default(); Act::ALL.len()];
    for number in 0..kills {
        let place = number % Act::ALL.len();
        let (Some(act), Some(time), Some(tally)) =
            (Act::ALL.get(place), times.get(place), tallies.get_mut(place))
        else {
            continue;
        };
        shoot(&mut world, *act, spread::delay(*time, number, seed), tally)?;
    }
    println!("| act | kills | acknowledged | not acknowledged, but done | not done |");
    println!("|---|---:|---:|---:|---:|");
    for (act, Tally { acknowledged, done, undone }) in Act::ALL.into_iter().zip(tallies) {
        let all = acknowledged + done + undone;
        println!("| {} | {all} | {acknowledged} | {done} | {undone} |", act.name());
    }
    Ok(())
}

/// Lets an act happen, and says how long it took.
fn undisturbed(world: &mut World, act: Act) -> Result<Duration, Failure> {
    let before = world.prepare(act)?;
    let stopwatch = Stopwatch::start();
    let answered = world.served()?.ask(&world.asked(act))?;
    let took = stopwatch.elapsed();
    let after = world.state()?;
    if answered.status >= 300 || !act.leads(&before, &after, Some(&answered.body)) {
        let (status, body) = (answered.status, answered.body);
        return Err(Failure::new(format!("{} undisturbed: {status} {body}", act.name())));
    }
    Ok(took)
}

/// Kills the server so long after the request, and looks at what a new one finds.
fn shoot(world: &mut World, act: Act, delay: Duration, tally: &mut Tally) -> Result<(), Failure> {
    let before = world.prepare(act)?;
    let stream = world.served()?.send(&world.asked(act)).trying(act.name())?;
    std::thread::sleep(delay);
    world.kill_and_start()?;
    let answered = hear(stream);
    let after = world.state()?;
    let wrong = |what: &str| {
        Failure::new(format!("{}: {what}\nbefore {before:?}\nafter {after:?}", act.name()))
    };
    match answered {
        Some(answered) if answered.status >= 300 => {
            return Err(wrong(&format!("refused: {}", answered.body)));
        }
        Some(answered) if act.leads(&before, &after, Some(&answered.body)) => {
            tally.acknowledged += 1;
        }
        Some(_) => return Err(wrong("acknowledged, and not there")),
        None if after == before => tally.undone += 1,
        None if act.leads(&before, &after, None) => tally.done += 1,
        None => return Err(wrong("neither wholly there nor wholly absent")),
    }
    if let State::Live { versions, .. } = &after {
        world.signs(versions)?;
    }
    world.ledger_verifies()
}
