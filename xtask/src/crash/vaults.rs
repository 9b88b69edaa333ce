//! `crash --vaults`: kill -9 of a running server at any moment of what makes or changes a vault's
//! keyring. After each kill a new server opens the vault with no manual step, everything restores, and
//! the same request brings it under the key that was wanted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::crash::spread;
use crate::failure::{Failure, Trying};
use crate::stopwatch::Stopwatch;
use crate::vault_site::{KEYS, Site, item_of, key_uri};

/// An act is timed so often before it is shot at; the last time counts.
const ROUNDS_TIMED: usize = 3;

/// What makes or changes a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Create,
    Enable,
    Change,
    Follow,
}

/// A vault that an act is about to reach, and the key that it is to be under.
struct Aim {
    vault: String,
    /// The backup instance in it, if there is one.
    item: Option<String>,
    key: &'static str,
    before: Vec<String>,
}

impl Act {
    const ALL: [Self; 4] = [Self::Create, Self::Enable, Self::Change, Self::Follow];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create under a customer key",
            Self::Enable => "enable a customer key",
            Self::Change => "change to another key vault",
            Self::Follow => "follow a new version",
        }
    }

    /// Brings a vault to where the act begins.
    fn prepare(self, site: &mut Site) -> Result<Aim, Failure> {
        let [first, second, followed] = KEYS;
        let number = site.next_number();
        match self {
            Self::Create => {
                let vault = site.vault(&format!("created-{number}"));
                Ok(Aim { vault, item: None, key: first, before: Vec::new() })
            }
            Self::Enable => {
                let vault = site.vault(&format!("enabled-{number}"));
                site.put_vault(&vault, None)?;
                let item = site.protect(&vault)?;
                let before = site.wraps(&vault)?;
                Ok(Aim { vault, item: Some(item), key: first, before })
            }
            Self::Change | Self::Follow => {
                let (name, key) =
                    if self == Self::Change { ("changed", first) } else { ("followed", followed) };
                let vault = site.vault(name);
                if site.settings(&vault)?.is_none() {
                    site.put_vault(&vault, Some(key))?;
                    site.protect(&vault)?;
                }
                let before = site.wraps(&vault)?;
                let under = |key: &str| before.iter().all(|wrap| wrap.starts_with(&key_uri(key)));
                let key = if self == Self::Change && under(first) { second } else { key };
                Ok(Aim { item: Some(item_of(&vault)), vault, key, before })
            }
        }
    }

    /// Whether the vault is where the act leads.
    fn is_done(self, aim: &Aim, site: &Site) -> Result<bool, Failure> {
        let Some(settings) = site.settings(&aim.vault)? else { return Ok(false) };
        let wraps = site.wraps(&aim.vault)?;
        let key = key_uri(aim.key);
        let under = !wraps.is_empty() && wraps.iter().all(|wrap| wrap.starts_with(&key));
        let named = settings.get("keyUri").and_then(Value::as_str) == Some(&key)
            && settings.get("state").and_then(Value::as_str) == Some("Enabled");
        Ok(under && named && (self != Self::Follow || wraps != aim.before))
    }
}

/// Shoots `kills` times, and fails at the first thing found wrong.
pub(crate) fn run(custody: &Path, work: &Path, kills: usize, seed: u64) -> Result<(), Failure> {
    let folder: PathBuf = work.join("vaults");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).trying(folder.display())?;
    }
    let mut site = Site::set_up(custody, &folder)?;
    let mut times = [Duration::ZERO; Act::ALL.len()];
    for (act, time) in Act::ALL.into_iter().zip(&mut times) {
        for _ in 0..ROUNDS_TIMED {
            *time = undisturbed(&mut site, act)?;
        }
        println!("{} undisturbed: {:.0} ms", act.name(), time.as_secs_f64() * 1e3);
    }
    // How many were shot at, and how many of those were in force afterwards.
    let mut tallies = [(0, 0); Act::ALL.len()];
    for number in 0..kills {
        let place = number % Act::ALL.len();
        let (Some(act), Some(time), Some((all, done))) =
            (Act::ALL.get(place), times.get(place), tallies.get_mut(place))
        else {
            continue;
        };
        let delay = spread::delay(*time, number, seed);
        let in_force = shoot(&mut site, *act, delay).map_err(|fault| {
            Failure::new(format!("{number}: {} after {delay:?}: {fault}", act.name()))
        })?;
        *all += 1;
        *done += usize::from(in_force);
    }
    println!("| act | kills | in force after the kill | not in force |");
    println!("|---|---:|---:|---:|");
    for (act, (all, done)) in Act::ALL.into_iter().zip(tallies) {
        println!("| {} | {all} | {done} | {} |", act.name(), all - done);
    }
    Ok(())
}

/// Lets an act happen, and says how long it took.
fn undisturbed(site: &mut Site, act: Act) -> Result<Duration, Failure> {
    let aim = act.prepare(site)?;
    let stopwatch = Stopwatch::start();
    site.begin(act == Act::Follow, &aim.vault, aim.key)?;
    site.wait(|site| act.is_done(&aim, site))?;
    let took = stopwatch.elapsed();
    site.settle(&aim.vault)?;
    Ok(took)
}

/// Kills the server so long after the request, and looks at what a new one makes of it: whether the
/// act was in force.
fn shoot(site: &mut Site, act: Act, delay: Duration) -> Result<bool, Failure> {
    let aim = act.prepare(site)?;
    let follows = act == Act::Follow;
    let stream = site.send(follows, &aim.vault, aim.key)?;
    std::thread::sleep(delay);
    site.kill_and_start()?;
    drop(stream);
    let in_force = act.is_done(&aim, site)?;
    if let Some(item) = &aim.item {
        site.settle(&aim.vault)?;
        site.restores(&aim.vault, item)?;
    }
    if !follows {
        site.begin(false, &aim.vault, aim.key)?;
    } else if site.wraps(&aim.vault)? == aim.before {
        // The new version may not have been made when the server was killed.
        site.begin(true, &aim.vault, aim.key)?;
    }
    site.wait(|site| act.is_done(&aim, site))?;
    site.settle(&aim.vault)?;
    match &aim.item {
        Some(item) => site.restores(&aim.vault, item)?,
        None => drop(site.protect(&aim.vault)?),
    }
    site.ledger_verifies()?;
    Ok(in_force)
}
