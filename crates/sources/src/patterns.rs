//! Which entries the operator left out, in gitignore's words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use custody_entries::SourceError;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::source_code;

/// Exclude patterns, and include patterns that make exceptions to them.
pub(crate) struct Patterns {
    matcher: Gitignore,
}

impl Patterns {
    /// Parses patterns as gitignore(5) has them, one each, relative to the top.
    pub(crate) fn parse(exclude: &[String], include: &[String]) -> Result<Self, SourceError> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false); // git lets such a pattern match nothing, unsaid
        let includes = include.iter().map(|pattern| format!("!{pattern}"));
        for pattern in exclude.iter().cloned().chain(includes) {
            let added = builder.add_line(None, &pattern).map(|_| ());
            added.map_err(|error| invalid(&pattern, &error))?;
        }
        let matcher = builder.build().map_err(|error| invalid("(all)", &error))?;
        Ok(Self { matcher })
    }

    /// Whether the entry at `path` below the top is left out. What lies in a folder that is left
    /// out is never asked for.
    pub(crate) fn exclude(&self, path: &[u8], is_folder: bool) -> bool {
        !self.matcher.is_empty()
            && self.matcher.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore()
    }
}

/// One pattern to find entries by, in the words of those that leave entries out.
pub struct PathPattern(Patterns);

impl PathPattern {
    /// Parses a pattern as gitignore(5) has them, relative to the top of what is looked into.
    ///
    /// # Errors
    /// [`source_code::PATTERN_INVALID`], also for what could match nothing: a comment, an exception.
    pub fn parse(pattern: &str) -> Result<Self, SourceError> {
        let patterns = Patterns::parse(&[pattern.to_owned()], &[])?;
        if patterns.matcher.num_ignores() == 0 {
            return Err(SourceError {
                code: source_code::PATTERN_INVALID,
                message: format!("pattern {pattern:?} matches nothing"),
            });
        }
        Ok(Self(patterns))
    }

    /// Whether the entry at `path` below the top is meant. What lies in a folder that is meant is
    /// not, unless the pattern says so too.
    pub fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        self.0.exclude(path, is_folder)
    }
}

fn invalid(pattern: &str, error: &ignore::Error) -> SourceError {
    SourceError {
        code: source_code::PATTERN_INVALID,
        message: format!("pattern {pattern:?} is malformed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(exclude: &[&str], include: &[&str], path: &[u8], is_folder: bool, expected: bool) {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        let patterns = Patterns::parse(&own(exclude), &own(include)).unwrap();
        assert_eq!(patterns.exclude(path, is_folder), expected, "{exclude:?} {include:?} {path:?}");
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        check(&[], &[], b"a", false, false);
        check(&["*.o"], &[], b"x/y/main.o", false, true);
        check(&["*.o"], &[], b"main.c", false, false);
        check(&["/build"], &[], b"build", true, true);
        check(&["/build"], &[], b"src/build", true, false);
        check(&["build/"], &[], b"src/build", true, true);
        check(&["build/"], &[], b"src/build", false, false);
        check(&["src/*.log"], &[], b"src/a.log", false, true);
        check(&["src/*.log"], &[], b"x/src/a.log", false, false);
        check(&["**/cache/**"], &[], b"a/cache/b", false, true);
        check(&["node_modules"], &[], b"a/b/node_modules", true, true);
        check(&["*.log", "!keep.log"], &[], b"keep.log", false, false);
        check(&["*.log"], &["keep.log"], b"x/keep.log", false, false);
        check(&["*.log"], &["keep.log"], b"x/other.log", false, true);
        check(&["# a comment", "", "a"], &[], b"# a comment", false, false);
        check(&[r"\#a"], &[], b"#a", false, true);
        check(&["caf?"], &[], b"caf\xe9", false, true);
        check(&["*"], &[], b"\xff\n\x1b", false, true);
    }

    #[test]
    fn a_pattern_finds_what_it_would_leave_out() {
        let check = |pattern: &str, path: &[u8], is_folder: bool, expected: bool| {
            let found = PathPattern::parse(pattern).unwrap().matches(path, is_folder);
            assert_eq!(found, expected, "{pattern} {path:?}");
        };
        check("*.txt", b"a/b/june.txt", false, true);
        check("letters", b"docs/letters", true, true);
        check("letters", b"docs/letters/june.txt", false, false);
        check("letters/**", b"letters/june.txt", false, true);
        check("/letters", b"docs/letters", true, false);
        check("letters/", b"docs/letters", false, false);
        for nothing in ["", "# a comment", "!june.txt", "a["] {
            let error = PathPattern::parse(nothing).err().unwrap();
            assert_eq!(error.code, source_code::PATTERN_INVALID, "{nothing}");
        }
    }

    #[test]
    fn a_malformed_pattern_is_refused() {
        let error = Patterns::parse(&["a[".to_owned()], &[]).err().unwrap();
        assert_eq!(error.code, source_code::PATTERN_INVALID);
        assert!(error.message.contains("a["), "{error}");
    }
}
