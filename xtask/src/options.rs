//! `--name value` and `--name`, after the command.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::failure::{Failure, Trying};

/// What stands behind the command.
#[derive(Debug, Default)]
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads them; an option without a value is kept with an empty one.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                return Err(Failure::new(format!("{argument:?} is no option")));
            };
            let value = arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// Refuses all options but these.
    pub(crate) fn allow(&self, names: &[&str]) -> Result<(), Failure> {
        let unknown = self.0.keys().filter(|name| !names.contains(&name.as_str()));
        Failure::unless_empty(unknown.map(|name| format!("there is no option --{name}")).collect())
    }

    /// Whether the option is there, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The option's value, or `otherwise`.
    pub(crate) fn value<T>(&self, name: &str, otherwise: T) -> Result<T, Failure>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        match self.0.get(name) {
            None => Ok(otherwise),
            Some(text) => text.parse().trying(format!("--{name} {text:?}")),
        }
    }

    /// The option's value, cut at commas, or `otherwise`.
    pub(crate) fn list<'o>(&'o self, name: &str, otherwise: &[&'o str]) -> Vec<&'o str> {
        match self.0.get(name) {
            None => otherwise.to_vec(),
            Some(text) => text.split(',').collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, Failure> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_with_and_without_values() {
        let options = parse("--reps 5 --small --sets tree,large").unwrap();
        assert_eq!(options.value("reps", 3), Ok(5));
        assert_eq!(options.value("seed", 3), Ok(3));
        assert!(options.has("small") && !options.has("large"));
        assert_eq!(options.list("sets", &["tree"]), ["tree", "large"]);
        assert_eq!(options.list("engines", &["custody"]), ["custody"]);
        assert!(options.allow(&["reps", "small", "sets"]).is_ok());
        assert!(options.allow(&["reps", "small"]).is_err());
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert!(parse("5").is_err());
        assert!(parse("--reps five").unwrap().value("reps", 3).is_err());
    }
}
