//! What was measured, as a table for docs/performance.md and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::bench::serve::outcome::Outcome;
use crate::failure::Failure;

/// A figure beside the bound that it must hold.
pub(crate) struct Figure {
    name: String,
    bound: Option<Bound>,
    value: f64,
    /// How the value is shown, more figures of the same run included.
    shown: String,
    how: String,
}

/// What a figure must not cross.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64, &'static str),
    Below(f64, &'static str),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound, _) => value >= bound,
            Self::Below(bound, _) => value < bound,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::AtLeast(_, text) | Self::Below(_, text) => text,
        }
    }
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Figures {
    figures: Vec<Figure>,
    problems: Vec<String>,
}

impl Figures {
    /// Adds a figure; one that crosses its bound is shown in bold.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        bound: Option<Bound>,
        value: f64,
        shown: impl Into<String>,
        how: impl Into<String>,
    ) {
        let (name, shown, how) = (name.into(), shown.into(), how.into());
        eprintln!("{name}: {shown}");
        self.figures.push(Figure { name, bound, value, shown, how });
    }

    /// Adds what should not have happened while `what` was measured.
    pub(crate) fn note(&mut self, what: &str, outcome: &Outcome) {
        self.problems.extend(outcome.problems(what));
    }

    /// Adds what should not have happened.
    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Fails if requests failed. A crossed bound fails nothing: it is a figure.
    pub(crate) fn verdict(self) -> Result<(), Failure> {
        Failure::unless_empty(self.problems)
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = "| figure | bound | measured | how |\n|---|---|---|---|\n".to_owned();
        for Figure { name, bound, value, shown, how } in &self.figures {
            let emphasis = if bound.is_none_or(|bound| bound.holds(*value)) { "" } else { "**" };
            let bound = bound.map_or("", Bound::text);
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {name} | {bound} | {emphasis}{shown}{emphasis} | {how} |");
        }
        table
    }

    /// The same for programs.
    pub(crate) fn json(&self, machine: &str) -> Value {
        let figures = self.figures.iter().map(|figure| {
            json!({
                "figure": figure.name,
                "value": figure.value,
                "shown": figure.shown,
                "bound": figure.bound.map(Bound::text),
                "holds": figure.bound.map(|bound| bound.holds(figure.value)),
                "how": figure.how,
            })
        });
        let figures: Vec<Value> = figures.collect();
        json!({ "machine": machine, "figures": figures, "problems": self.problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_bounds() {
        let mut figures = Figures::default();
        figures.add("rate", Some(Bound::AtLeast(0.85, "0.85")), 0.5, "0.50", "x");
        figures.add("start", Some(Bound::Below(150.0, "150 ms")), 79.0, "79 ms", "y");
        figures.add("size", None, 22.0, "22 MB", "z");
        let rows = figures.table();
        let rows: Vec<&str> = rows.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| rate | 0.85 | **0.50** | x |",
                "| start | 150 ms | 79 ms | y |",
                "| size |  | 22 MB | z |"
            ]
        );
        let json = figures.json("this machine");
        let holds: Vec<_> = (0..3).map(|row| json["figures"][row]["holds"].clone()).collect();
        assert_eq!(holds, [json!(false), json!(true), Value::Null]);
        assert!(figures.verdict().is_ok());
    }

    #[test]
    fn a_run_without_answers_fails() {
        let mut figures = Figures::default();
        figures.note("rate", &Outcome::default());
        let failure = figures.verdict().unwrap_err().to_string();
        assert_eq!(failure, "rate: no request was answered with 200");
    }
}
