//! `bench vaults`: how long what is done to vaults' keyrings takes, on a server of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::bench::report::machine;
use crate::bench::serve::figures::{Bound, Figures};
use crate::bench::serve::outcome::percentile;
use crate::bench::{binary, built};
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::stopwatch::Stopwatch;
use crate::vault_site::{KEYS, Site, item_of};

/// What a rotation must reach all vaults within.
const FOLLOWED: Bound = Bound::Below(60.0, "60 s");
/// What a running job must stop within once its key is disabled.
const STOPPED: Bound = Bound::Below(1.0, "1 s");
/// How much longer a rewrap may take in a vault of many points: what two runs differ by anyway.
const SAME: Bound = Bound::Below(1.25, "the same within noise");
/// Threads that make vaults at once.
const MAKERS: usize = 4;
/// Changes of key that are timed in each vault.
const CHANGES: usize = 20;
/// Jobs that are stopped.
const STOPS: usize = 20;
/// Bytes of the file that a job reads while its key is disabled.
const READ_BYTES: usize = 512 << 20;

/// Measures, and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&["vaults", "points", "binary", "only"])?;
    let only: String = options.value("only", "follow,rewrap,revoke".to_owned())?;
    let wants = |name: &str| only.split(',').any(|one| one == name);
    let binary: PathBuf = if options.has("binary") { binary(options, "binary")? } else { built()? };
    let work = target_folder()?.join("bench-vaults");
    if work.exists() {
        std::fs::remove_dir_all(&work).trying(work.display())?;
    }
    let site = Site::set_up(&binary, &work)?;
    let mut figures = Figures::default();
    if wants("rewrap") {
        rewraps(&site, options.value("points", 1_000)?, &mut figures)?;
    }
    if wants("revoke") {
        revocations(&site, &mut figures)?;
    }
    if wants("follow") {
        follows(&site, options.value("vaults", 1_000)?, &mut figures)?;
    }
    println!("Machine: {}.\n\n{}", machine(&work), figures.table());
    figures.verdict()
}

/// How long a new version of one key takes to wrap many vaults.
fn follows(site: &Site, count: usize, figures: &mut Figures) -> Result<(), Failure> {
    let [_, _, key] = KEYS;
    let given = AtomicUsize::new(0);
    let making = Stopwatch::start();
    std::thread::scope(|scope| {
        let make = || -> Result<(), Failure> {
            loop {
                let number = given.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                site.put_vault(&site.vault(&format!("follows-{number}")), Some(key))?;
            }
        };
        let threads: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| Failure::new("making vaults broke off"))?
        })
    })?;
    let made = making.elapsed();
    let version = site.new_version(key)?;
    let watch = Stopwatch::start();
    site.wait(|site| Ok(site.vaults_under(&version)? == count))?;
    let took = watch.elapsed();
    figures.add(
        format!("a new version of one key wraps {count} vaults that follow it"),
        Some(FOLLOWED),
        took.as_secs_f64(),
        format!("{:.1} s", took.as_secs_f64()),
        "from the answer to `create` until the list of vaults shows it everywhere",
    );
    figures.add(
        format!("making {count} vaults under a customer key"),
        None,
        made.as_secs_f64(),
        format!("{:.1} s", made.as_secs_f64()),
        format!("{MAKERS} at once, each until it has succeeded"),
    );
    Ok(())
}

/// A change to another key vault, in a vault of one recovery point and in one of many.
fn rewraps(site: &Site, points: usize, figures: &mut Figures) -> Result<(), Failure> {
    let vaults = [("few", 1), ("many", points)].map(|(name, points)| (site.vault(name), points));
    for (vault, points) in &vaults {
        site.put_vault(vault, Some(KEYS[0]))?;
        site.protect(vault)?;
        for _ in 1..*points {
            site.job(vault, &item_of(vault), "backup", json!({}))?;
        }
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..CHANGES {
        let key = if round % 2 == 0 { KEYS[1] } else { KEYS[0] };
        for ((vault, _), times) in vaults.iter().zip(&mut times) {
            let watch = Stopwatch::start();
            site.begin(false, vault, key)?;
            site.settle(vault)?;
            times.push(u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
    let [few, many] = times.map(|mut times| {
        times.sort_unstable();
        Duration::from_micros(percentile(&times, 50).unwrap_or_default()).as_secs_f64() * 1e3
    });
    figures.add(
        format!("a change to another key vault, with {points} recovery points beside 1"),
        Some(SAME),
        many / few,
        format!("×{:.2}: {many:.0} ms beside {few:.0} ms", many / few),
        format!("medians of {CHANGES}, in turn, from the request until the vault has succeeded"),
    );
    Ok(())
}

/// How long a running job goes on after its key was disabled, and a new one begins in vain.
fn revocations(site: &Site, figures: &mut Figures) -> Result<(), Failure> {
    let vault = site.vault("revoked");
    site.put_vault(&vault, Some(KEYS[0]))?;
    site.fill(READ_BYTES)?;
    site.protect(&vault)?;
    let (mut running, mut fresh) = (Vec::new(), Vec::new());
    let mut ended_before = 0;
    for _ in 0..STOPS {
        let job = site.start(&vault, "verify", json!({ "readData": true }))?;
        site.wait(|site| Ok(site.phase(&vault, &job)?.as_deref() == Some("check")))?;
        site.enable(KEYS[0], false)?;
        let watch = Stopwatch::start();
        let status = site.end(&vault, &job)?;
        let micros =
            |watch: &Stopwatch| u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        if status == "Failed" {
            running.push(micros(&watch));
        } else {
            ended_before += 1;
        }
        let watch = Stopwatch::start();
        let job = site.start(&item_of(&vault), "backup", json!({}))?;
        let status = site.end(&vault, &job)?;
        fresh.push(micros(&watch));
        if status != "Failed" {
            figures.problem(format!("a backup under a disabled key: {status}"));
        }
        site.enable(KEYS[0], true)?;
    }
    for (name, mut times) in [
        ("a running check stops after its key was disabled", running),
        ("a backup under a disabled key has failed", fresh),
    ] {
        times.sort_unstable();
        let at = |percent| {
            Duration::from_micros(percentile(&times, percent).unwrap_or_default()).as_secs_f64()
        };
        let also = if ended_before > 0 {
            format!("; {ended_before} had ended before")
        } else {
            String::new()
        };
        figures.add(
            name,
            Some(STOPPED),
            at(100),
            format!("longest {:.3} s, median {:.3} s of {}", at(100), at(50), times.len()),
            format!("from the answer to the request until the job has ended, looked at every 10 ms{also}"),
        );
    }
    Ok(())
}
