//! The project's own commands, the same on a developer's machine and in CI: `cargo xtask NAME`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line tool")]

mod banned;
mod bench;
mod check;
mod ci;
mod clients;
mod crash;
mod docs;
mod failure;
mod flood;
mod fuzz;
mod golden;
mod layers;
mod markdown;
mod metadata;
mod options;
mod packages;
mod process;
mod rules;
mod served;
mod sources;
mod steps;
mod stopwatch;
mod test;
mod tree;
mod vault_site;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::options::Options;

/// What `cargo xtask` alone prints.
const USAGE: &str = "\
cargo xtask COMMAND

  check    everything that needs no test run: fmt, clippy, layers, rules, docs, banned
  layers   dependencies go down the floors of ARCHITECTURE.md
  rules    docs/rules.md names a function and a test for every rule that is done
  docs     links, error codes and the command reference are what the code says
  banned   no banned crate, no licence outside deny.toml
  test     the Debian packages and clients that tests need, then all tests
  ci       check, then test
  golden   writes golden outputs anew: review the difference
  bench    [--reps N] [--sets tree,large] [--engines custody,ceiling,restic,borg,rustic] [--seed N]
           [--small] [--work DIR] [--custody FILE]: custody beside its peers
  bench serve
           [--only floor,unwrap,get,token,pool,list,vaults,start] [--seconds N] [--binary FILE]
           [--sizes 2048,3072,4096] [--keys N] [--threads N] [--connections N] [--timed N]
           [--patient] [--bare]: rates and times of the server, beside `openssl speed`;
           --patient obeys Retry-After, --bare leaves openssl out
  bench vaults
           [--only follow,rewrap,revoke] [--vaults N] [--points N] [--binary FILE]: changes of keys
  bench index
           [--objects 1,10] [--points 1,100000] [--work DIR]: an index of so many times 1,048,576
           synthetic chunks, a log of so many points
  bench curves
           [--files 10,100,1000,10000] [--work DIR] [--plots DIR]: what a step costs in a repository of
           so many files of 1,000 synthetic chunks; plots to docs/plots
  bench memory
           [--sizes 1,4,16] [--sets tree,large] [--work DIR] [--custody FILE]: the most memory that each
           step takes, by GiB of data
  bench trees
           [--only wide,deep,sparse] [--files N] [--levels N] [--work DIR] [--custody FILE]: very
           many files in one folder, very deep folders, a sparse terabyte
  crash    [--keys|--vaults] [--kills N] [--seed N] [--custody FILE] [--work DIR]: kill -9 in every
           phase; with --keys of a server that changes keys, with --vaults what wraps vaults
  crash --states [--rounds N] [--seed N]: every state that a power loss may leave, on a simulated
           disk
  crash --calls: each call of a simulated disk fails, once and for ever
  flood    [--connections N] [--custody FILE] [--work DIR]: so many idle TLS connections at once
  fuzz     [--seconds N] [--targets NAME,…]: every target so long, and its corpus kept small
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut arguments = arguments.peekable();
    let parts = ["curves", "index", "memory", "serve", "trees", "vaults"];
    let part = parts.into_iter().find(|part| {
        command == "bench" && arguments.next_if(|argument| argument == part).is_some()
    });
    let command = part.map_or(command, |part| format!("bench {part}"));
    match Options::parse(arguments).and_then(|options| run(&command, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, options: &Options) -> Result<(), Failure> {
    match command {
        "bench" => return bench::run(options),
        "bench curves" => return bench::curves::run(options),
        "bench index" => return bench::index::run(options),
        "bench memory" => return bench::memory::run(options),
        "bench serve" => return bench::serve::run(options),
        "bench trees" => return bench::trees::run(options),
        "bench vaults" => return bench::vaults::run(options),
        "crash" => return crash::run(options),
        "flood" => return flood::run(options),
        "fuzz" => return fuzz::run(options),
        _ => options.allow(&[])?,
    }
    match command {
        "banned" => banned::run(),
        "check" => check::run(),
        "ci" => ci::run(),
        "docs" => docs::run(),
        "golden" => golden::run(),
        "layers" => layers::run(),
        "rules" => rules::run(),
        "test" => test::run(),
        "" | "help" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        unknown => Err(Failure::new(format!("there is no command {unknown:?}\n\n{USAGE}"))),
    }
}
