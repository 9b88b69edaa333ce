//! Names that are plain words with a rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InvalidName;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<String, &'static str> = $check;
                check(text).map(Self).map_err(|reason| InvalidName::new($kind, text, reason))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use label;

label!(
/// The name of a protected item (backup instance): 1–120 characters, letters, digits and
/// `- _ . ( )`, beginning with a letter or digit.
ItemName, "item name", |text| {
    length(text, 1, 120)?;
    starts_alphanumeric(text)?;
    only(text, |c| c.is_ascii_alphanumeric() || "-_.()".contains(c),
        "only letters, digits and - _ . ( ) may stand in it")
});
label!(
/// A region in its normal form: lower case without blanks (`West Europe` is `westeurope`).
Location, "location", |text| {
    let normal: String =
        text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()).collect();
    length(&normal, 1, 60)?;
    only(&normal, |c| c.is_ascii_alphanumeric() || c == '-',
        "only letters, digits, blanks and - may stand in it")
});
label!(
/// The name of a resource group: 1–90 letters, digits and `- _ . ( )`, not ending in a dot.
ResourceGroupName, "resource group name", |text| {
    length(text, 1, 90)?;
    if text.ends_with('.') {
        return Err("it may not end in a dot");
    }
    only(text, |c| c.is_alphanumeric() || "-_.()".contains(c),
        "only letters, digits and - _ . ( ) may stand in it")
});
label!(
/// The name of any other resource: 1–260 characters that a URL path segment may hold.
ResourceName, "resource name", |text| {
    length(text, 1, 260)?;
    if text == "." || text == ".." {
        return Err("a dot name leads elsewhere");
    }
    only(text, |c| !c.is_control() && !"/\\?#%&<>*\"".contains(c),
        "control characters and / \\ ? # % & < > * \" may not stand in it")
});

pub(crate) fn length(text: &str, min: usize, max: usize) -> Result<(), &'static str> {
    match text.chars().count() {
        n if n < min => Err("it is too short"),
        n if n > max => Err("it is too long"),
        _ => Ok(()),
    }
}

pub(crate) fn starts_alphanumeric(text: &str) -> Result<(), &'static str> {
    match text.chars().next() {
        Some(c) if c.is_ascii_alphanumeric() => Ok(()),
        _ => Err("it must begin with a letter or digit"),
    }
}

pub(crate) fn only(
    text: &str,
    allowed: fn(char) -> bool,
    reason: &'static str,
) -> Result<String, &'static str> {
    if text.chars().all(allowed) { Ok(text.to_owned()) } else { Err(reason) }
}
