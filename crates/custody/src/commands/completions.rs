//! `custody completions`: completion scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::output::Outcome;

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody completions bash > \
    ~/.local/share/bash-completion/completions/custody\n  custody completions fish > \
    ~/.config/fish/completions/custody.fish\n\nExit codes: 0.")]
pub(crate) struct Options {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "custody", &mut script);
    let text = String::from_utf8_lossy(&script).into_owned();
    Outcome { text: Some(text), ..Outcome::nothing() }
}
