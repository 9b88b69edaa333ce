//! The `custody` command: a client of custody's REST surface with `az`'s words and flags, and
//! short verbs for the daily work.
//!
//! [`run`] is the whole command for one [`Surroundings`]; `main` hands in those of the process
//! ([`machine`]), a test its own. Data goes to stdout, everything else to stderr, and the
//! [`ExitCode`](exit_code::ExitCode) is from a documented table (`docs/exit-codes.md`).

mod administrator;
mod answers;
mod arguments;
mod commands;
mod config;
mod confirm;
mod context;
mod documentation;
mod error;
pub mod exit_code;
mod hosts;
mod human;
mod in_process;
mod items;
mod jobs;
mod lines;
mod local_socket;
pub mod machine;
mod new_file;
mod output;
mod principal;
mod progress;
mod release_authority;
mod serving;
mod set_up;
mod surroundings;
mod terminal;
mod vaults;
mod verbose;
mod virtual_clock;

use std::fmt::Write as _;
use std::io::Write;

use clap::Parser;

use arguments::Arguments;
use context::Context;
use exit_code::ExitCode;
use output::Outcome;

pub use documentation::{cli_markdown, exit_codes_markdown};
pub use error::CliError;
pub use in_process::{AskPassphrase, Installations, LoneRepository, Machine, Place, SealKind};
pub use surroundings::{AskOnTerminal, OpenStream, ReadVariable, Surroundings, Terminals};

/// Runs the command line in these surroundings and says how the process ends.
pub fn run(world: &Surroundings) -> ExitCode {
    let arguments = match Arguments::try_parse_from(&world.arguments) {
        Ok(arguments) => arguments,
        Err(stop) => return answer_parser(world, &stop),
    };
    let context = match Context::new(world, &arguments) {
        Ok(context) => context,
        Err(error) => return report(world, arguments.global.wants_json_errors(), &error),
    };
    let ended = commands::run(&arguments.command, &context)
        .and_then(|outcome| print(&context, &outcome).map(|()| outcome.exit));
    match ended {
        Ok(exit) => exit,
        Err(error) => report(world, context.wants_json_errors(), &error),
    }
}

/// Says that not even the surroundings could be had.
pub fn say_no_start(error: &std::io::Error) -> ExitCode {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: custody cannot start: {error}");
    ExitCode::Failure
}

/// Help and version go to stdout, usage errors to stderr.
fn answer_parser(world: &Surroundings, stop: &clap::Error) -> ExitCode {
    let wrong = stop.use_stderr();
    let stream = if wrong { &world.stderr } else { &world.stdout };
    // Nobody is left to tell if the stream is closed.
    let _ = write!(stream.borrow_mut(), "{}", stop.render());
    if wrong { ExitCode::Usage } else { ExitCode::Success }
}

fn print(context: &Context<'_>, outcome: &Outcome) -> Result<(), CliError> {
    let colour = context.world.terminals.stdout && !context.no_colour();
    let query = context.global.query.as_deref();
    let is_asked_for = context.format().is_some() || query.is_some();
    if outcome.is_report && context.global.quiet && !is_asked_for {
        return Ok(());
    }
    let text = outcome.render(context.format(), query, colour)?;
    context.print(text.as_bytes())
}

/// Says what failed, why, and what mends it.
fn report(world: &Surroundings, json: bool, error: &CliError) -> ExitCode {
    if let CliError::Output(reason) = error
        && reason.kind() == std::io::ErrorKind::BrokenPipe
    {
        return ExitCode::Success; // the reader has seen enough
    }
    if json {
        progress::print_error_line(world, error);
        return error.exit_code();
    }
    let message = terminal::line(&error.to_string());
    let mut text = format!("error: {message} ({})\n", terminal::line(error.code()));
    if let Some(fix) = error.fix() {
        let _ = writeln!(text, "  to mend it: {}", terminal::line(fix));
    }
    let _ = world.stderr.borrow_mut().write_all(text.as_bytes());
    error.exit_code()
}
