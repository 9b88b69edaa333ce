//! As much of Markdown as the checks read: tables and links.

/// The rows of the first table whose header begins with these columns (in any case); each row
/// with as many trimmed cells as the header has columns.
pub(crate) fn table(text: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| {
        let header = cells(line);
        let matches =
            header.iter().zip(columns).filter(|(cell, name)| cell.eq_ignore_ascii_case(name));
        matches.count() < columns.len()
    });
    let width = lines.next().map_or(0, |header| cells(header).len());
    let rows = lines.skip(1).map(cells).take_while(|row| !row.is_empty());
    rows.map(|mut row| {
        row.resize(width, String::new());
        row
    })
    .collect()
}

/// The cells of a table's line; none if it is no such line. `\|` stands for a bar in a cell.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
        return Vec::new();
    };
    let kept = inner.replace("\\|", "\u{0}");
    kept.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The targets of all links and images, without those in code.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        let mut rest = line.as_str();
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, behind)) = behind.split_once(')') else { break };
            let target = target.split_whitespace().next().unwrap_or_default();
            targets.push(target.trim_matches(['<', '>']).to_owned());
            rest = behind;
        }
    }
    targets
}

/// The names by which headings can be linked to, as GitHub makes them.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let headings = prose_with_code(text).filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len() && title.starts_with(' ')).then(|| title.trim().to_lowercase())
    });
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// Lines outside code blocks, code spans taken out.
fn prose(text: &str) -> impl Iterator<Item = String> {
    prose_with_code(text).map(|line| line.split('`').step_by(2).collect())
}

/// Lines outside code blocks.
fn prose_with_code(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_columns() {
        let text = "| a | b |\n|---|---|\n| 1 | 2 |\n\ntext\n\n| Floor | crate | line |\n|---|---|--|\n\
                    | 0 | `names` | a \\| b |\n| 1 | x |\n\n| 9 | not part of it | |\n";
        assert_eq!(table(text, &["floor", "crate"]), [["0", "`names`", "a | b"], ["1", "x", ""]]);
        assert!(table(text, &["crate", "floor"]).is_empty());
    }

    #[test]
    fn links_in_code_do_not_count() {
        let text = "[a](b.md) and ![c](d.png \"title\") `[e](f)`\n```\n[g](h)\n```\n[i](<j k.md>)";
        assert_eq!(links(text), ["b.md", "d.png", "j"]);
        assert_eq!(links("[a](#x) [b](https://c.d)"), ["#x", "https://c.d"]);
    }

    #[test]
    fn headings_become_anchors() {
        let text = "# The `ledger`, on disk\n```\n# no heading\n```\n## Write order\n#tag";
        assert_eq!(anchors(text), ["the-ledger-on-disk", "write-order"]);
    }
}
