//! Answers that come in lines of JSON, the totals last.

use std::io::{self, BufRead as _, BufReader, Read};

use custody_client::{ClientError, SourcePath};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};
use crate::terminal;

/// Longest line, in bytes: two paths and two entries with their names at their longest.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Prints lines as they come: for people, or as they are for scripts that asked for lines. Only
/// where another form is asked for they are collected first.
pub(crate) struct Printer<'p> {
    context: &'p Context<'p>,
    json: bool,
    collected: Option<Vec<Value>>,
}

impl<'p> Printer<'p> {
    /// A printer; with `json` it prints lines of JSON.
    pub(crate) fn new(context: &'p Context<'p>, json: bool) -> Self {
        let another_form = context.format().is_some() || context.global.query.is_some();
        let collected = (another_form && !json).then(Vec::new);
        Self { context, json, collected }
    }

    /// Prints one line, in the words that `text` makes of it for people.
    pub(crate) fn line(
        &mut self,
        line: Value,
        text: impl FnOnce(&Value) -> String,
    ) -> Result<(), CliError> {
        if let Some(collected) = &mut self.collected {
            collected.push(line);
            return Ok(());
        }
        let text = if self.json { format!("{line}\n") } else { text(&line) };
        self.context.print(text.as_bytes())
    }

    /// Prints the totals, which are no line of the data.
    pub(crate) fn summary(
        &self,
        summary: &Value,
        text: impl FnOnce(&Value) -> String,
    ) -> Result<(), CliError> {
        match (&self.collected, self.json) {
            (Some(_), _) => Ok(()),
            (None, true) => {
                self.context.print(format!("{}\n", json!({ "summary": summary })).as_bytes())
            }
            (None, false) => self.context.print(text(summary).as_bytes()),
        }
    }

    /// What is left to print.
    pub(crate) fn finish(self, columns: &'static [Column]) -> Outcome {
        match self.collected {
            Some(lines) => Outcome::data(lines).with_columns(columns),
            None => Outcome::nothing(),
        }
    }
}

/// Hands over every line but the last, which holds the totals: without them something is missing.
pub(crate) fn for_each(
    answer: Box<dyn Read + Send>,
    visit: &mut dyn FnMut(Value) -> Result<(), CliError>,
) -> Result<Value, CliError> {
    let mut reader = BufReader::new(answer);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(broken_off)? == 0 {
            return Err(broken_off(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut value: Value = serde_json::from_slice(&line)
            .map_err(|error| broken_off(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        match value.get_mut("summary").map(Value::take) {
            Some(summary) => return Ok(summary),
            None => visit(value)?,
        }
    }
}

/// The stream ends in an error where the answer does not end: what came of it is not the whole. A
/// transport that knows why says so with an error of its own inside.
pub(crate) fn broken_off(error: io::Error) -> CliError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ClientError>()) {
        Some(reason) => CliError::Server(reason.clone()),
        None => CliError::BrokenOff(error),
    }
}

/// A path of a line as it may be shown, the top as a dot, a folder's with a slash.
pub(crate) fn path(line: &Value, field: &str, is_folder: bool) -> String {
    let path = line.get(field).and_then(SourcePath::from_json);
    let mut shown = path.map(|path| terminal::path(path.as_bytes())).unwrap_or_default();
    if shown.is_empty() {
        shown.push('.');
    }
    if is_folder {
        shown.push('/');
    }
    shown
}

/// Words of a list, parted by commas.
pub(crate) fn words(list: Option<&Value>) -> String {
    let words = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    words.map(terminal::line).collect::<Vec<_>>().join(", ")
}

/// Why a line has no data.
pub(crate) fn error(line: &Value) -> Option<String> {
    let message = line.pointer("/error/message").and_then(Value::as_str);
    message.map(terminal::line)
}

/// More on a line, set off.
pub(crate) fn after(more: Option<String>) -> String {
    more.map(|more| format!("  {more}")).unwrap_or_default()
}
