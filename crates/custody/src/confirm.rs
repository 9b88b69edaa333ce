//! Confirmation of what cannot be undone.

use std::io::{BufRead, Read, Write};

use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Lets people confirm that `consequence` is what they want by typing `name`. `yes` confirms
/// beforehand. Without a terminal to ask on it fails at once.
pub(crate) fn confirm(
    context: &Context<'_>,
    yes: bool,
    consequence: &str,
    name: &str,
) -> Result<(), CliError> {
    context.say(consequence);
    if yes {
        return Ok(());
    }
    let terminals = context.world.terminals;
    if !(terminals.stdin && terminals.stderr) {
        let text = "this needs a confirmation, and there is no terminal to ask on";
        return Err(CliError::ConfirmationMissing(text.to_owned()));
    }
    let prompt = format!("Type {} to go on: ", terminal::line(name));
    let mut stderr = context.world.stderr.borrow_mut();
    stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush()).map_err(CliError::Output)?;
    let mut answer = String::new();
    let mut stdin = context.world.stdin.borrow_mut();
    // An answer that cannot be read is no confirmation.
    let _ = stdin.by_ref().take(ANSWER_BYTES_MAX).read_line(&mut answer);
    if answer.trim() == name {
        return Ok(());
    }
    Err(CliError::ConfirmationMissing("not confirmed; nothing was changed".to_owned()))
}
