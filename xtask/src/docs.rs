//! `docs`: links lead somewhere, every error code is explained, the command reference is what the
//! command itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Trying};
use crate::markdown::{anchors, links, table};
use crate::process::{command, output, root};
use crate::{sources, tree};

mod codes;

/// The page of error codes.
const ERRORS_PAGE: &str = "docs/errors.md";

/// The generated command reference.
pub(crate) const CLI_PAGE: &str = "docs/cli.md";

/// Folders whose pages are not ours.
const SKIPPED_FOLDERS: [&str; 3] = ["target", ".git", "golden"];

/// Checks all pages.
pub(crate) fn run() -> Result<(), Failure> {
    let mut problems = broken_links()?;
    let page = fs::read_to_string(root().join(ERRORS_PAGE)).trying(ERRORS_PAGE)?;
    problems.extend(unexplained(&page, &codes::in_files(&sources::product()?)));
    let reference = fs::read_to_string(root().join(CLI_PAGE)).unwrap_or_default();
    match command_reference() {
        Ok(said) if said == reference => {}
        Ok(_) => {
            problems.push(format!("{CLI_PAGE} is not what the command says: cargo xtask golden"));
        }
        Err(failure) => problems.push(failure.to_string()),
    }
    Failure::unless_empty(problems)
}

/// The command reference as the command prints it.
pub(crate) fn command_reference() -> Result<String, Failure> {
    let arguments = ["run", "--quiet", "--locked", "--package", "custody", "--", "help-markdown"];
    output(&mut command("cargo", &arguments))
}

fn broken_links() -> Result<Vec<String>, Failure> {
    let root = root();
    let mut problems = Vec::new();
    for path in tree::files(&root, &SKIPPED_FOLDERS).trying("pages")? {
        if path.extension().is_some_and(|end| end == "md") {
            let text = fs::read_to_string(&path).trying(path.display())?;
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let broken = links(&text).into_iter().filter(|link| !leads_somewhere(&path, link));
            problems.extend(broken.map(|link| format!("{name}: {link} leads nowhere")));
        }
    }
    Ok(problems)
}

/// Whether a link on the page `from` has a target. Other sites are not asked.
fn leads_somewhere(from: &Path, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => from.to_owned(),
        file => from.parent().unwrap_or(from).join(file),
    };
    if anchor.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| anchors(&text).iter().any(|name| name == anchor))
}

/// Codes without a row, and rows without a code.
fn unexplained(page: &str, codes: &BTreeMap<String, String>) -> Vec<String> {
    let rows = table(page, &["code"]);
    let explained: BTreeSet<&str> =
        rows.iter().filter_map(|row| row.first()).map(|code| code.trim_matches('`')).collect();
    let missing = codes.iter().filter(|(code, _)| !explained.contains(code.as_str()));
    let missing = missing.map(|(code, file)| format!("{ERRORS_PAGE}: {code} ({file}) is missing"));
    let stale = explained.iter().filter(|code| !codes.contains_key(**code));
    missing.chain(stale.map(|code| format!("{ERRORS_PAGE}: nothing answers {code}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page.md");
        fs::write(&page, "# One heading\n").unwrap();
        fs::write(folder.path().join("other.md"), "# Another\n").unwrap();
        let check = |link: &str, expected: bool| {
            assert_eq!(leads_somewhere(&page, link), expected, "{link}");
        };
        check("other.md", true);
        check("other.md#another", true);
        check("other.md#one-heading", false);
        check("#one-heading", true);
        check("gone.md", false);
        check("https://example.org/gone", true);
    }

    #[test]
    fn codes_and_rows_are_the_same() {
        let codes = BTreeMap::from(["A", "B"].map(|code| (code.to_owned(), "a.rs".to_owned())));
        let page = "| code | who |\n|--|--|\n| `A` | us |\n| `C` | us |\n";
        assert_eq!(
            unexplained(page, &codes),
            ["docs/errors.md: B (a.rs) is missing", "docs/errors.md: nothing answers C"]
        );
    }
}
