//! `rules`: docs/rules.md has a row for every rule that the project covers, and for each one that
//! is done a function that cites it and a test; what it says of scenarios and of complaints names
//! tests.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use crate::failure::{Failure, Trying};
use crate::markdown::table;
use crate::process::root;
use crate::sources::{self, SourceFile};

/// Where the rules stand.
const PAGE: &str = "docs/rules.md";

/// Rules that must have a row.
const COVERED: [RangeInclusive<u32>; 4] = [1..=93, 104..=104, 118..=127, 143..=145];

/// Acceptance scenarios that must have a row.
const SCENARIOS: RangeInclusive<u32> = 1..=15;

/// The columns of the rules, of the scenarios, and of the complaints.
const RULE: [&str; 5] = ["number", "sentence", "function", "test", "state"];
const SCENARIO: [&str; 3] = ["scenario", "what is shown", "test"];
const COMPLAINT: [&str; 3] = ["complaint", "what custody does", "test"];

/// Compares the page with the code.
pub(crate) fn run() -> Result<(), Failure> {
    let page = fs::read_to_string(root().join(PAGE)).trying(PAGE)?;
    let files = sources::product()?;
    let mut all = problems(&page, &COVERED, &files);
    all.extend(unwalked(&page, &files));
    all.extend(unanswered(&page, &files));
    Failure::unless_empty(all)
}

fn problems(page: &str, covered: &[RangeInclusive<u32>], files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut numbers = BTreeSet::new();
    for row in table(page, &RULE) {
        let [number, sentence, function, test, state, ..] = row.as_slice() else { continue };
        let Ok(rule) = number.parse::<u32>() else {
            problems.push(format!("{PAGE}: {number:?} is no number of a rule"));
            continue;
        };
        if !numbers.insert(rule) {
            problems.push(format!("{PAGE}: rule {rule} stands there twice"));
        }
        if sentence.is_empty() {
            problems.push(format!("{PAGE}: rule {rule} has no sentence"));
        }
        match state.as_str() {
            "planned" => {}
            "done" => problems.extend(unkept(rule, function, test, files)),
            "outside" => problems.extend(decided(rule, sentence, [function, test], files)),
            _ => problems
                .push(format!("{PAGE}: rule {rule} is neither done nor planned nor outside")),
        }
    }
    let missing = covered.iter().cloned().flatten().filter(|rule| !numbers.contains(rule));
    problems.extend(missing.map(|rule| format!("{PAGE}: rule {rule} has no row")));
    problems
}

/// Scenarios without a row, and tests of scenarios that are not there.
fn unwalked(page: &str, files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut walked = BTreeSet::new();
    for row in table(page, &SCENARIO) {
        let [scenario, _, test, ..] = row.as_slice() else { continue };
        walked.extend(names(scenario).iter().filter_map(|number| number.parse::<u32>().ok()));
        problems.extend(absent(&format!("scenario {scenario}"), test, files));
    }
    let missing = SCENARIOS.filter(|number| !walked.contains(number));
    problems.extend(missing.map(|number| format!("{PAGE}: scenario {number} has no row")));
    problems
}

/// Complaints without an answer, and tests of answers that are not there.
fn unanswered(page: &str, files: &[SourceFile]) -> Vec<String> {
    let rows = table(page, &COMPLAINT);
    if rows.is_empty() {
        return vec![format!("{PAGE}: there is no table of complaints")];
    }
    let mut problems = Vec::new();
    for row in rows {
        let [complaint, answer, test, ..] = row.as_slice() else { continue };
        if complaint.is_empty() || answer.is_empty() {
            problems.push(format!("{PAGE}: a complaint or its answer is empty: {row:?}"));
        }
        problems.extend(absent(&format!("complaint {complaint:?}"), test, files));
    }
    problems
}

/// What a row names as a test and is none; `of` is what the row is about.
fn absent(of: &str, test: &str, files: &[SourceFile]) -> Vec<String> {
    let absent = names(test).into_iter().filter(|name| !is_test(name, files));
    absent.map(|name| format!("{of}: there is no test {name:?}")).collect()
}

/// The names in a cell, separated by commas.
fn names(cell: &str) -> Vec<String> {
    cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect()
}

fn is_test(name: &str, files: &[SourceFile]) -> bool {
    let attributed = |item: String| item.contains("#[test]");
    files.iter().any(|file| items(&file.text, name).any(attributed))
}

/// What is missing for a rule that is said to be done.
fn unkept(rule: u32, function: &str, test: &str, files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for name in names(function) {
        if !files.iter().any(|file| items(&file.text, &name).any(|item| cites(&item, rule))) {
            problems.push(format!("rule {rule}: nothing named {name:?} cites it in its comment"));
        }
    }
    problems.extend(absent(&format!("rule {rule}"), test, files));
    problems
}

/// What speaks against a rule that a server has nothing to decide in: a row that does not say why
/// not, in parentheses at its end, or names something that does, or code that cites the rule.
fn decided(
    rule: u32,
    sentence: &str,
    [function, test]: [&String; 2],
    files: &[SourceFile],
) -> Vec<String> {
    let mut problems = Vec::new();
    if !sentence.ends_with(".)") {
        problems.push(format!("{PAGE}: rule {rule} is outside and does not say why"));
    }
    if !function.is_empty() || !test.is_empty() {
        problems.push(format!("{PAGE}: rule {rule} is outside and names a function or a test"));
    }
    let citing = files.iter().filter(|file| comments(&file.text).any(|text| cites(&text, rule)));
    problems.extend(citing.map(|file| {
        format!("rule {rule}: {} cites it, though it is outside", file.path.display())
    }));
    problems
}

/// The comments of a file, each block of lines as one text.
fn comments(text: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let blocks = lines.chunk_by(|one, other| one.starts_with("//") == other.starts_with("//"));
    let kept = blocks.filter(|block| block.first().is_some_and(|line| line.starts_with("//")));
    kept.map(|block| block.join(" ")).collect::<Vec<_>>().into_iter()
}

/// The comments and attributes above each function, type or constant of this name.
fn items<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = String> + 't {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let defined = |line: &str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let keyword = |word| matches!(word, "fn" | "struct" | "enum" | "trait" | "const" | "type");
        !line.starts_with("//") && words.any(keyword) && words.next() == Some(name)
    };
    let above = |line: &&&str| line.starts_with("//") || line.starts_with("#[");
    let found: Vec<String> = (0..lines.len())
        .filter(|at| lines.get(*at).is_some_and(|line| defined(line)))
        .filter_map(|at| {
            let before: Vec<&str> =
                lines.get(..at)?.iter().rev().take_while(above).copied().collect();
            Some(before.into_iter().rev().collect::<Vec<_>>().join(" "))
        })
        .collect();
    found.into_iter()
}

/// Whether a comment cites the rule: `rule 17`, `rules 85 and 86`, `rules 1–5, 11`.
fn cites(comment: &str, rule: u32) -> bool {
    let text = comment.replace("///", " ").to_lowercase();
    text.match_indices("rule").any(|(at, word)| {
        let rest = text.get(at + word.len()..).unwrap_or_default();
        numbers(rest.strip_prefix('s').unwrap_or(rest)).iter().any(|range| range.contains(&rule))
    })
}

/// The numbers and ranges at the beginning of `text`.
fn numbers(text: &str) -> Vec<RangeInclusive<u32>> {
    let words = text.replace([',', '(', ')', ':', ';'], " ").replace("–", "-").replace('.', " ");
    words
        .split_whitespace()
        .filter(|word| *word != "and")
        .map_while(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "| number | sentence | function | test | state |\n|--|--|--|--|--|\n";

    #[test]
    fn citations() {
        let check = |comment: &str, cited: &[u32]| {
            let found: Vec<u32> = (1..=130).filter(|rule| cites(comment, *rule)).collect();
            assert_eq!(found, cited, "{comment}");
        };
        check("/// Refuses what is disabled (rule 17).", &[17]);
        check("/// Rules 85 and 86: pinned or not.", &[85, 86]);
        check("/// rules 1–3, 11 and the rest, see rule 42", &[1, 2, 3, 11, 42]);
        check("/// as a rule it holds in 3 cases", &[]);
    }

    #[test]
    fn scenarios_are_held_against_the_tests() {
        let files = [SourceFile {
            path: "crates/x/tests/it/main.rs".into(),
            text: "#[test]\nfn walks() {}\nfn helps() {}\n".to_owned(),
        }];
        let page = "| scenario | what is shown | test |\n|--|--|--|\n| 1, 2 | x | `walks` |\n\
                    | 3 | y | `helps` |\n";
        let found = unwalked(page, &files);
        assert_eq!(found.first().unwrap(), "scenario 3: there is no test \"helps\"");
        assert_eq!(found.len(), 1 + SCENARIOS.count() - 3, "{found:?}");
    }

    #[test]
    fn complaints_are_held_against_the_tests() {
        let text = "#[test]\nfn answers() {}\n".to_owned();
        let files = [SourceFile { path: "crates/x/tests/it/main.rs".into(), text }];
        let check = |rows: &str, expected: &[&str]| {
            let page = format!("| complaint | what custody does | test |\n|--|--|--|\n{rows}");
            assert_eq!(unanswered(&page, &files), expected, "{rows}");
        };
        check("| it is slow | it is fast | `answers` |", &[]);
        check("| slow | fast | |", &["complaint \"slow\": there is no test \"\""]);
        check("| slow | fast | `gone` |", &["complaint \"slow\": there is no test \"gone\""]);
        let empty =
            r#"docs/rules.md: a complaint or its answer is empty: ["slow", "", "`answers`"]"#;
        check("| slow | | `answers` |", &[empty]);
        check("", &["docs/rules.md: there is no table of complaints"]);
    }

    #[test]
    fn rows_are_held_against_the_code() {
        let code = "/// Whether a key may be used (rules 17 and 18).\npub fn usable(key: &Key) {}\n\
                    /// Follows the newest (rule\n/// 86).\n#[derive(Debug)]\nstruct Follow;\n\
                    #[test]\nfn keys() {}\nfn not_a_test() {}\n";
        let files = [SourceFile { path: "crates/x/src/lib.rs".into(), text: code.to_owned() }];
        let check = |rows: &str, expected: &[&str]| {
            let found = problems(&format!("{HEADER}{rows}"), &[17..=17], &files);
            assert_eq!(found, expected, "{rows}");
        };
        check(
            "| 17 | valid | `usable` | `keys` | done |\n| 18 | active | `usable` | `keys` | done |",
            &[],
        );
        check("| 17 | a | | | planned |\n| 86 | b | `Follow` | `keys` | done |", &[]);
        check("| 18 | a | | | planned |", &["docs/rules.md: rule 17 has no row"]);
        check("| 17 | a | | | planned |\n| 9 | b (Why.) | | | outside |", &[]);
        check(
            "| 17 | a | `usable` | | outside |",
            &[
                "docs/rules.md: rule 17 is outside and does not say why",
                "docs/rules.md: rule 17 is outside and names a function or a test",
                "rule 17: crates/x/src/lib.rs cites it, though it is outside",
            ],
        );
        check(
            "| 17 | a | `Follow` | `not_a_test`, `gone` | done |",
            &[
                "rule 17: nothing named \"Follow\" cites it in its comment",
                "rule 17: there is no test \"not_a_test\"",
                "rule 17: there is no test \"gone\"",
            ],
        );
        check(
            "| 17 | | | | planned |\n| 17 | a | | | soon |\n| x | | | | |",
            &[
                "docs/rules.md: rule 17 has no sentence",
                "docs/rules.md: rule 17 stands there twice",
                "docs/rules.md: rule 17 is neither done nor planned nor outside",
                "docs/rules.md: \"x\" is no number of a rule",
            ],
        );
    }
}
