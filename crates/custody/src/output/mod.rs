//! What a command prints on stdout: data, in the form asked for.

mod json;
mod query;
mod table;
mod tsv;
mod yaml;

use serde_json::Value;

use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(crate) use table::{Column, lay_out};

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// JSON in colour.
    Jsonc,
    /// A table for people.
    Table,
    /// Values between tabs, one object a line, for scripts.
    Tsv,
    /// YAML.
    Yaml,
    /// Nothing.
    None,
}

/// What a command brought.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The data, for every format.
    pub value: Option<Value>,
    /// The same in words or lines, for people; shown when no format is asked for.
    pub text: Option<String>,
    /// Whether the text only tells how a job went, which those who want quiet see by the exit code.
    pub is_report: bool,
    /// Which parts of the data a table shows; all plain ones if empty.
    pub columns: &'static [Column],
    /// How the process ends.
    pub exit: ExitCode,
}

impl Outcome {
    /// Nothing to print.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Data alone, as for everything that `az` has too.
    pub(crate) fn data(value: impl Into<Value>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same with the columns of its table.
    #[must_use]
    pub(crate) fn with_columns(self, columns: &'static [Column]) -> Self {
        Self { columns, ..self }
    }

    /// The same with its text for people.
    #[must_use]
    pub(crate) fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// The same with words on how a job went, unless quiet is wanted.
    #[must_use]
    pub(crate) fn with_report(self, text: impl Into<String>) -> Self {
        Self { is_report: true, ..self.with_text(text) }
    }

    /// The same with another end of the process.
    #[must_use]
    pub(crate) fn ending(self, exit: ExitCode) -> Self {
        Self { exit, ..self }
    }

    /// What goes to stdout: in `format` if one was asked for, else the text for people, else JSON.
    pub(crate) fn render(
        &self,
        format: Option<Format>,
        query: Option<&str>,
        colour: bool,
    ) -> Result<String, CliError> {
        let Some(value) = &self.value else {
            return Ok(self.text.clone().unwrap_or_default());
        };
        if let (None, None, Some(text)) = (format, query, &self.text) {
            return Ok(text.clone());
        }
        let (value, columns) = match query {
            Some(query) => (&query::search(query, value)?, [].as_slice()),
            None => (value, self.columns),
        };
        Ok(match format.unwrap_or(Format::Json) {
            Format::Json => json::render(value, false),
            Format::Jsonc => json::render(value, colour),
            Format::Table => table::render(value, columns),
            Format::Tsv => tsv::render(value),
            Format::Yaml => yaml::render(value),
            Format::None => String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vaults() -> Outcome {
        let text = r#"[
            {"name": "zeta", "id": "/v/zeta", "tags": {"a": 1}, "items": 2, "ok": true},
            {"name": "al\u202epha\n", "id": "/v/alpha", "tags": null, "items": null, "ok": false}
        ]"#;
        Outcome::data(serde_json::from_str::<Value>(text).unwrap())
    }

    #[test]
    fn formats() {
        let check = |format: Format, query: Option<&str>, expected: &str| {
            let rendered = vaults().render(Some(format), query, false).unwrap();
            assert_eq!(rendered, expected, "{format:?} {query:?}");
        };
        check(
            Format::Json,
            Some("[0]"),
            "{\n  \"name\": \"zeta\",\n  \"id\": \"/v/zeta\",\n  \"tags\": {\n    \"a\": 1\n  },\n  \
             \"items\": 2,\n  \"ok\": true\n}\n",
        );
        check(Format::Json, Some("[].nothing"), "[]\n");
        check(Format::Json, Some("[1].name"), "\"al\\u202epha\\n\"\n");
        check(
            Format::Table,
            None,
            "Name             Id        Items  Ok\n\
             ---------------- --------- ------ ------\n\
             zeta             /v/zeta   2      true\n\
             al\\u{202e}pha\\n  /v/alpha         false\n",
        );
        check(
            Format::Table,
            Some("[].{z:name, a:items}"),
            "Z                A\n\
             ---------------- --\n\
             zeta             2\n\
             al\\u{202e}pha\\n\n",
        );
        check(
            Format::Tsv,
            None,
            "zeta\t/v/zeta\t\t2\ttrue\nal\\u{202e}pha\\n\t/v/alpha\t\t\tfalse\n",
        );
        check(Format::Tsv, Some("[].items"), "2\n");
        check(Format::Tsv, Some("length(@)"), "2\n");
        check(
            Format::Yaml,
            Some("[].{name: name, count: items}"),
            "- name: zeta\n  count: 2\n- name: \"al\\u202epha\\n\"\n  count: null\n",
        );
        check(Format::None, None, "");
    }

    #[test]
    fn an_empty_list_is_an_empty_list() {
        let empty = Outcome::data(Vec::<Value>::new());
        let check = |format: Option<Format>, expected: &str| {
            assert_eq!(empty.render(format, None, false).unwrap(), expected);
        };
        check(Some(Format::Json), "[]\n");
        check(Some(Format::Yaml), "[]\n");
        check(Some(Format::Table), "");
        check(None, "[]\n");
    }

    #[test]
    fn colour_is_only_where_wanted() {
        let outcome = Outcome::data(Value::from("x"));
        let check = |format, colour, expected: bool| {
            let text = outcome.render(Some(format), None, colour).unwrap();
            assert_eq!(text.contains('\u{1b}'), expected, "{format:?} {colour}");
        };
        check(Format::Jsonc, true, true);
        check(Format::Jsonc, false, false);
        check(Format::Json, true, false);
    }

    #[test]
    fn a_wrong_query_is_a_usage_error() {
        let error = vaults().render(Some(Format::Json), Some("[?"), false).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
    }
}
