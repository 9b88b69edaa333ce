//! `bench serve`: what the server does per second and how long it takes, beside `openssl speed` on
//! the same cores in the same run.
//!
//! The load comes from this process, over loopback alone, and ends after a set time.

mod connection;
pub(crate) mod figures;
mod floor;
mod http;
mod load;
mod measures;
mod openssl;
pub(crate) mod outcome;
mod process_stat;
mod scripts;
mod server;
mod set_up;
mod settings;
mod starts;
mod vaults;

use std::fs;
use std::path::PathBuf;

use crate::bench::report::machine;
use crate::bench::serve::figures::Figures;
use crate::bench::serve::measures::Subject;
use crate::bench::serve::server::{Server, Site};
use crate::bench::serve::set_up::World;
use crate::bench::serve::settings::Settings;
use crate::bench::{binary, built};
use crate::failure::{Failure, Trying};
use crate::metadata::target_folder;
use crate::options::Options;
use crate::packages;

/// The options of `bench serve`.
const OPTIONS: [&str; 10] = [
    "only",
    "seconds",
    "binary",
    "threads",
    "connections",
    "timed",
    "sizes",
    "keys",
    "patient",
    "bare",
];

/// Measures, prints the table and writes it as JSON. Fails if requests failed.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.allow(&OPTIONS)?;
    let settings = Settings::of(options)?;
    packages::ensure(&[("openssl", "openssl")])?;
    let binary: PathBuf = if options.has("binary") { binary(options, "binary")? } else { built()? };
    let work = target_folder()?.join("bench-serve");
    let site = Site::fresh(binary, work.join("site"))?;
    let mut figures = Figures::default();

    if settings.wants("floor") {
        measures::floor(&settings, site.folder(), &mut figures)?;
    }
    let server = Server::start(&site)?;
    eprintln!("custody up is process {}", server.pid());
    served(&settings, &site, &server, &mut figures)?;
    server.stop()?;
    if settings.wants("start") {
        starts::measure(&site, &mut figures)?;
    }

    let machine = format!("{}, {}", machine(&work), openssl::version()?);
    println!("Machine: {machine}.\n\n{}", figures.table());
    let results = work.join("results.json");
    let json = format!("{:#}\n", figures.json(&machine));
    fs::write(&results, json).trying(results.display())?;
    eprintln!("{} holds the same", results.display());
    figures.verdict()
}

/// What is measured on one running server.
fn served(
    settings: &Settings,
    site: &Site,
    server: &Server,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let world = World::make(site, server)?;
    let subject = Subject { settings, server, world: &world };
    if settings.wants("unwrap") {
        for bits in &settings.sizes {
            subject.unwraps(*bits, figures)?;
        }
    }
    if settings.wants("get") {
        subject.get_key(figures)?;
    }
    if settings.wants("token") {
        subject.token(figures)?;
    }
    if settings.wants("pool") {
        subject.get_under_load(figures)?;
    }
    if settings.wants("list") {
        subject.list(figures)?;
    }
    if settings.wants("vaults") {
        subject.vaults(site.folder(), figures)?;
    }
    Ok(())
}
