//! Paths and lines as a terminal may be shown them.

use std::fmt::Write as _;

/// A path or name as text that is safe to print: it cannot move the cursor, hide or reverse what
/// follows, or start a new line, and two different paths never look the same by way of escapes.
///
/// Control characters, invisible and direction-changing characters, bytes that are no UTF-8 and
/// the backslash itself come out as `\n`, `\x1b`, `\u{202e}`, `\xff`, `\\`; everything else stays.
pub fn display_path(path: &[u8]) -> String {
    let mut shown = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => shown.push_str("\\\\"),
                _ => push_escaped(&mut shown, character),
            }
        }
        for byte in chunk.invalid() {
            push_byte(&mut shown, u32::from(*byte));
        }
    }
    shown
}

/// One line of text with everything but plain characters escaped. The backslash stays, so that a
/// path which was escaped before is not escaped again.
pub fn display_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| push_escaped(&mut shown, character));
    shown
}

/// A path or name as one word that a POSIX shell reads back, if it holds plain characters alone;
/// else as [`display_path`] shows it, which a shell does not read back but cannot be hurt by.
pub fn shell_word(path: &[u8]) -> String {
    let shown = display_path(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=".contains(c);
    if !shown.is_empty() && shown.chars().all(plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}

/// Whether a terminal shows this character as itself and nothing else happens.
pub fn is_plain(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

fn push_escaped(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        _ if character.is_ascii_control() => push_byte(shown, u32::from(character)),
        _ if is_plain(character) => shown.push(character),
        _ => shown.extend(character.escape_unicode()),
    }
}

fn push_byte(shown: &mut String, byte: u32) {
    // Writing to a String cannot fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

/// Characters without a shape of their own that change how their neighbours look (Unicode
/// TR 36, "visual spoofing").
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let check = |path: &[u8], expected: &str| assert_eq!(display_path(path), expected);
        check(b"", "");
        check(b"photos/2026/a b.jpg", "photos/2026/a b.jpg");
        check("Zo\u{eb}/\u{7530}".as_bytes(), "Zo\u{eb}/\u{7530}");
        check(b"a\nb\tc\rd", "a\\nb\\tc\\rd");
        check(b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07");
        check(b"\x7f\x00", "\\x7f\\x00");
        check(b"caf\xe9", "caf\\xe9");
        check(b"\xff\xfe", "\\xff\\xfe");
        check(b"cut short \xe2\x82", "cut short \\xe2\\x82");
        check("\u{85}\u{9b}31m".as_bytes(), "\\u{85}\\u{9b}31m");
        check("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe");
        check("a\u{200b}b\u{2066}c\u{feff}".as_bytes(), "a\\u{200b}b\\u{2066}c\\u{feff}");
        check("a\u{2028}b".as_bytes(), "a\\u{2028}b");
        check(br"back\slash", r"back\\slash");
        check(br"\x1b", r"\\x1b");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_act() {
        let check = |path: &[u8], expected: &str| assert_eq!(shell_word(path), expected);
        check(b"/srv/custody-1", "/srv/custody-1");
        check(b"", "''");
        check(b"two words", "'two words'");
        check(b"it's $HOME", r"'it'\''s $HOME'");
        check(b"a\nb", r"'a\nb'");
    }

    #[test]
    fn lines_keep_the_backslash() {
        let check = |text: &str, expected: &str| assert_eq!(display_line(text), expected);
        check("file a\\nb changed", "file a\\nb changed");
        check("two\r\nlines \u{1b}[31mred", "two\\r\\nlines \\x1b[31mred");
    }
}
