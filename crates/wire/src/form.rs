//! `application/x-www-form-urlencoded`, as token endpoints take it and queries are written.

use zeroize::Zeroizing;

/// Largest form, in bytes.
pub(crate) const FORM_BYTES_MAX: usize = 64 << 10;
/// Most fields.
const FIELDS_MAX: usize = 64;

/// The fields of a form, decoded. They hold secrets and are zeroed when dropped.
pub(crate) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a form; none if it is malformed, too large, or names a field twice.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FORM_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = unescape(name)?;
            if fields.len() == FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
                return None;
            }
            fields.push((name, Zeroizing::new(unescape(value)?)));
        }
        Some(Self(fields))
    }

    /// A field that is there and not empty.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Decodes `+` and percent escapes.
pub(crate) fn unescape(text: &str) -> Option<String> {
    // As large as it can get: growing would leave copies of a secret behind.
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail.get(2..).unwrap_or_default();
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |text: &str, name: &str, expected: Option<&str>| {
            let form = Form::read(text.as_bytes());
            assert_eq!(form.as_ref().and_then(|form| form.field(name)), expected, "{text}");
        };
        check("a=1&b=x+y%2Fz", "b", Some("x y/z"));
        check("a=1", "b", None);
        check("a=", "a", None);
        check("a=1&a=2", "a", None);
        check("a=%zz", "a", None);
        check("a=%+1", "a", None);
        check("a=%ff", "a", None);
        check("a=%e2%82%ac", "a", Some("€"));
    }
}
