//! The error and warning codes that the code can answer with.

use std::collections::BTreeMap;

use crate::sources::SourceFile;

/// The command line: it knows codes, it does not answer with the documents'.
const COMMAND: &str = "crates/custody";

/// Every code with the file it was found in. A code is a text in CamelCase that stands
/// - in the body of a `fn code`,
/// - in a field `code: "…"` or a constant `CODE` or `MOVED`,
/// - anywhere, if it begins with `UserErrorCMK`,
/// - as the first text that a `Refusal` or `ClientError` is made with, or
/// - in a constant of a file `error.rs`, `errors.rs` or `codes.rs`.
pub(crate) fn in_files(files: &[SourceFile]) -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for file in files {
        let text = file.product_text();
        let mut found: Vec<&str> = Vec::new();
        for (at, _) in text.match_indices("fn code(") {
            found.extend(literals(body(text.get(at..).unwrap_or_default())));
        }
        for (at, field) in text.match_indices("code: \"") {
            found.extend(text.get(at + field.len()..).and_then(|rest| rest.split('"').next()));
        }
        for (at, call) in text.match_indices("::new(") {
            let maker = text.get(..at).unwrap_or_default();
            let own = maker.ends_with("Self") && file.path.ends_with("error.rs");
            if own || maker.ends_with("Refusal") || maker.ends_with("ClientError") {
                // The code is the first or, after the status, the second argument.
                let arguments = text.get(at + call.len()..).unwrap_or_default();
                let near = arguments.split(')').next().unwrap_or_default();
                found.extend(literals(near).take(1));
            }
        }
        for constant in ["const CODE: &'static str = \"", "const MOVED: &'static str = \""] {
            let values = text.split(constant).skip(1);
            found.extend(values.filter_map(|rest| rest.split('"').next()));
        }
        // The documents' own codes stand wherever their rules do.
        if !file.path.starts_with(COMMAND) {
            found.extend(literals(text).filter(|text| text.starts_with("UserErrorCMK")));
        }
        let name = file.path.file_name().and_then(|name| name.to_str());
        if matches!(name, Some("error.rs" | "errors.rs" | "codes.rs")) {
            let constants = text.lines().filter(|line| line.contains("const "));
            found.extend(constants.flat_map(literals));
        }
        let named = found.into_iter().filter(|text| is_code(text));
        codes.extend(named.map(|code| (code.to_owned(), file.path.display().to_string())));
    }
    codes
}

/// The text from the first brace to the one that closes it.
fn body(text: &str) -> &str {
    let mut depth = 0_u32;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth <= 1 => return text.get(..at).unwrap_or(text),
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// What stands between quotation marks.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Two words or more in CamelCase.
fn is_code(text: &str) -> bool {
    let capitals = text.chars().filter(char::is_ascii_uppercase).count();
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
        && capitals >= 2
        && text.chars().any(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_stand() {
        let check = |path: &str, text: &str, expected: &[&str]| {
            let file = SourceFile { path: path.into(), text: text.to_owned() };
            let codes = in_files(&[file]);
            assert_eq!(codes.keys().collect::<Vec<_>>(), expected, "{text}");
        };
        let body = "pub fn code(&self) -> &'static str {\n match self {\n Self::A { .. } => \
                    \"KeyDisabled\",\n Self::B(e) => e.code(),\n _ => \"Full\" }\n }\n\
                    fn other() { \"NotFound\" }";
        check("crates/x/src/lib.rs", body, &["KeyDisabled"]);
        check(
            "crates/x/src/a.rs",
            "Warning { code: \"SourceFileChanged\", path }",
            &["SourceFileChanged"],
        );
        check("crates/x/src/c.rs", "Refusal::new(404, \"NotHere\", text)", &["NotHere"]);
        check("crates/x/src/c.rs", "ClientError::new(\"NotSent\", text)", &["NotSent"]);
        check("crates/x/src/c.rs", "const CODE: &'static str = \"NotMet\";", &["NotMet"]);
        check("crates/x/src/c.rs", "const MOVED: &'static str = \"IsFixed\";", &["IsFixed"]);
        let constant = "pub const FULL: &str = \"TargetFull\";\nconst SALT: &str = \"salt\";";
        check("crates/x/src/error.rs", constant, &["TargetFull"]);
        check("crates/x/src/lib.rs", constant, &[]);
        check("crates/x/tests/it/error.rs", constant, &[]);
        check("crates/test-world/src/error.rs", constant, &[]);
        check("crates/x/src/b.rs", "#[cfg(test)]\nmod tests { code: \"NotReal\" }", &[]);
    }
}
