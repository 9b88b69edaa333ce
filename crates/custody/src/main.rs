//! The custody command.

use std::process::ExitCode;

use custody_cli::exit_code::ExitCode as Ending;

fn main() -> ExitCode {
    let ending = match custody_cli::machine::surroundings() {
        Ok(surroundings) => custody_cli::run(&surroundings),
        Err(error) => custody_cli::say_no_start(&error),
    };
    ExitCode::from(Ending::number(ending))
}
